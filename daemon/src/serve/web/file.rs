//! The format of the file.

use std::{
    collections::BTreeMap,
    fmt::Display,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Error, Result, anyhow};
use serde::Deserialize;

/// A web configuration.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WebFile {
    #[serde(skip)]
    pub(super) path: PathBuf,
    pub(super) tls_server_config: Option<TlsSection>,
    #[serde(default)]
    pub(super) http_server_config: HttpSection,
    #[serde(default)]
    pub(super) basic_auth_users: BTreeMap<String, String>,
    pub(super) rate_limit: Option<serde_yaml_ng::Value>,
}

/// `http_server_config`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HttpSection {
    /// The server speaks HTTP/1.1 only, which every client can.
    #[serde(default, rename = "http2")]
    _http2: Option<bool>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
}

/// `tls_server_config`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TlsSection {
    /// Path of the web configuration, for messages.
    #[serde(skip)]
    path: PathBuf,
    pub(super) cert: Option<String>,
    pub(super) cert_file: Option<PathBuf>,
    pub(super) key: Option<String>,
    pub(super) key_file: Option<PathBuf>,
    pub(super) client_auth_type: Option<String>,
    pub(super) client_ca: Option<String>,
    pub(super) client_ca_file: Option<PathBuf>,
    pub(super) min_version: Option<String>,
    pub(super) max_version: Option<String>,
    #[serde(default)]
    pub(super) cipher_suites: Vec<String>,
    #[serde(default)]
    pub(super) curve_preferences: Vec<String>,
    pub(super) prefer_server_cipher_suites: Option<bool>,
    pub(super) client_allowed_sans: Option<Vec<String>>,
}

impl WebFile {
    /// Reads a file; nothing that it names is read yet. Relative names begin in its directory.
    pub(super) fn read(path: &Path) -> Result<WebFile> {
        let file: Option<WebFile> = serde_yaml_ng::from_slice(&read(path)?).with_context(|| place(path))?;
        let mut file = WebFile { path: path.to_owned(), ..file.unwrap_or_default() };
        let dir = path.parent().unwrap_or(Path::new(""));
        if let Some(tls) = &mut file.tls_server_config {
            path.clone_into(&mut tls.path);
            for named in [&mut tls.cert_file, &mut tls.key_file, &mut tls.client_ca_file].into_iter().flatten() {
                *named = dir.join(&*named);
            }
        }
        Ok(file)
    }

    /// Files that it names.
    pub(super) fn named_files(&self) -> impl Iterator<Item = PathBuf> {
        let named = self.tls_server_config.iter().flat_map(|tls| [&tls.cert_file, &tls.key_file, &tls.client_ca_file]);
        named.flatten().cloned()
    }

    /// A value that cannot be used.
    pub(super) fn error(&self, key: &str, what: impl Display) -> Error {
        value_error(&self.path, key, what)
    }
}

impl TlsSection {
    /// A value of this section that cannot be used.
    pub(super) fn error(&self, key: &str, what: impl Display) -> Error {
        value_error(&self.path, &format!("tls_server_config.{key}"), what)
    }
}

/// Reads the file or one that it names.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("web configuration: cannot read {}", path.display()))
}

/// A value that cannot be used, with what would be right.
pub(super) fn value_error(path: &Path, key: &str, what: impl Display) -> Error {
    anyhow!("{}, {key}: {what}", place(path))
}

fn place(path: &Path) -> String {
    format!("web configuration {}", path.display())
}
