//! The web configuration: encryption and passwords, in the file format that Prometheus and its exporters share.
//!
//! Every connection checks whether the files have changed, and reads them again if so: a renewed certificate or a changed password
//! takes effect at once. Files that cannot be used are logged, and the old settings stay in force.

mod auth;
mod file;
mod tls;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use anyhow::Result;
use auth::Authenticator;
use axum::http::HeaderValue;
use file::{Settings, WebFile, value_error};

use super::clients::Peer;

#[derive(Debug, Default)]
pub(crate) struct WebConfig {
    source: Option<Source>,
    authenticator: Authenticator,
}

#[derive(Debug)]
struct Source {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    settings: Arc<Settings>,
    /// The files as they were when last read, usable or not.
    seen: Vec<(PathBuf, Stamp)>,
    /// Other hosts can connect, so the guards must stay.
    must_guard: bool,
}

/// Differs once a file was written or replaced; `None` if there is no file.
type Stamp = Option<(SystemTime, u64, u64, u64)>;

impl WebConfig {
    /// Reads and checks the file and those that it names.
    pub(crate) fn read(path: &Path) -> Result<WebConfig> {
        let (settings, seen) = load(path);
        let state = State { settings: Arc::new(settings?), seen, must_guard: false };
        Ok(WebConfig {
            source: Some(Source { path: path.to_owned(), state: Mutex::new(state) }),
            authenticator: Authenticator::default(),
        })
    }

    pub(crate) fn path(&self) -> Option<&Path> {
        self.source.as_ref().map(|source| source.path.as_path())
    }

    /// Whether clients have to prove who they are.
    pub(crate) fn is_guarded(&self) -> bool {
        self.settings().is_guarded()
    }

    pub(crate) fn scheme(&self) -> &'static str {
        if self.settings().tls.is_some() { "https" } else { "http" }
    }

    pub(super) fn must_guard(&self) {
        if let Some(source) = &self.source {
            source.state.lock().unwrap_or_else(PoisonError::into_inner).must_guard = true;
        }
    }

    pub(super) fn settings(&self) -> Arc<Settings> {
        let Some(source) = &self.source else { return Arc::default() };
        let mut state = source.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.seen.iter().any(|(path, seen)| stamp(path) != *seen) {
            match reload(&source.path, &mut state) {
                Ok(()) => tracing::info!("the web configuration {} has changed and is in force", source.path.display()),
                Err(error) => tracing::error!("{error:#}; the old settings stay in force"),
            }
        }
        Arc::clone(&state.settings)
    }

    /// Whether to let a client with this `Authorization` header in.
    pub(super) async fn authorize(&self, authorization: Option<&HeaderValue>, peer: Peer) -> bool {
        self.authenticator.check(&self.settings().users, authorization, peer).await
    }
}

/// What the files say, and their stamps from just before: a change during the reading is noticed next time.
fn load(path: &Path) -> (Result<Settings>, Vec<(PathBuf, Stamp)>) {
    let mut seen = vec![(path.to_owned(), stamp(path))];
    let settings = WebFile::read(path).and_then(|file| {
        seen.extend(file.named_files().map(|named| (named.clone(), stamp(&named))));
        Settings::check(file)
    });
    (settings, seen)
}

fn reload(path: &Path, state: &mut State) -> Result<()> {
    let (settings, seen) = load(path);
    state.seen = seen;
    let settings = settings?;
    if settings.tls.is_some() != state.settings.tls.is_some() {
        return Err(value_error(path, "tls_server_config", "turning encryption on or off needs a restart"));
    }
    if state.must_guard && !settings.is_guarded() {
        let what = "other hosts can connect, so passwords or client certificates are needed";
        return Err(value_error(path, "basic_auth_users", what));
    }
    state.settings = Arc::new(settings);
    Ok(())
}

fn stamp(path: &Path) -> Stamp {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests;
