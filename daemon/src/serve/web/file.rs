//! The format of the file, and its settings, checked and ready to use.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context, Error, Result, anyhow};
use axum::http::{HeaderName, HeaderValue};
use bcrypt::HashParts;
use serde::Deserialize;
use tokio_rustls::rustls::ServerConfig;

use super::tls;
use crate::files::read_file;

/// One more would make a check take ten seconds or so, and connections are cut off after fifteen.
const MAX_COST: u32 = 15;
const HEADERS: [&str; 5] =
    ["Content-Security-Policy", "X-Frame-Options", "X-Content-Type-Options", "X-XSS-Protection", "Strict-Transport-Security"];

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WebFile {
    #[serde(skip)]
    path: PathBuf,
    tls_server_config: Option<TlsSection>,
    #[serde(default)]
    http_server_config: HttpSection,
    #[serde(default)]
    basic_auth_users: BTreeMap<String, String>,
    rate_limit: Option<serde_yaml_ng::Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct HttpSection {
    /// The server speaks HTTP/1.1 only, which every client can.
    #[serde(default, rename = "http2")]
    _http2: Option<bool>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

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

    pub(super) fn named_files(&self) -> impl Iterator<Item = PathBuf> {
        let named = self.tls_server_config.iter().flat_map(|tls| [&tls.cert_file, &tls.key_file, &tls.client_ca_file]);
        named.flatten().cloned()
    }

    pub(super) fn error(&self, key: &str, what: impl Display) -> Error {
        value_error(&self.path, key, what)
    }
}

impl TlsSection {
    pub(super) fn error(&self, key: &str, what: impl Display) -> Error {
        value_error(&self.path, &format!("tls_server_config.{key}"), what)
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    read_file(path).with_context(|| format!("web configuration: cannot read {}", path.display()))
}

/// A value that cannot be used, with what would be right.
pub(super) fn value_error(path: &Path, key: &str, what: impl Display) -> Error {
    anyhow!("{}, {key}: {what}", place(path))
}

fn place(path: &Path) -> String {
    format!("web configuration {}", path.display())
}

#[derive(Debug, Default)]
pub(in crate::serve) struct Settings {
    /// Encryption; `None` for plain HTTP.
    pub(in crate::serve) tls: Option<Arc<ServerConfig>>,
    /// A client without a certificate of the configured authority is turned away.
    requires_certificate: bool,
    /// Names with the bcrypt hash of their passwords; empty if everyone is let in.
    pub(super) users: BTreeMap<String, String>,
    /// Headers for every answer.
    pub(in crate::serve) headers: Vec<(HeaderName, HeaderValue)>,
}

impl Settings {
    /// Reads the files that `file` names and checks everything.
    pub(super) fn check(file: WebFile) -> Result<Settings> {
        if file.rate_limit.is_some() {
            return Err(file.error("rate_limit", "not supported: clients are limited anyway. Remove it"));
        }
        for (name, hash) in &file.basic_auth_users {
            check_user(name, hash).map_err(|what| file.error(&format!("basic_auth_users.{name}"), what))?;
        }
        let tls = file.tls_server_config.as_ref().map(tls::server_config).transpose()?;
        let headers = file.http_server_config.headers.iter().map(|(name, value)| {
            header(name, value).map_err(|what| file.error(&format!("http_server_config.headers.{name}"), what))
        });
        Ok(Settings {
            headers: headers.collect::<Result<_>>()?,
            requires_certificate: tls.as_ref().is_some_and(|(_, requires_certificate)| *requires_certificate),
            tls: tls.map(|(config, _)| config),
            users: file.basic_auth_users,
        })
    }

    /// Whether only known clients can read, and nobody on the way.
    pub(in crate::serve) fn is_guarded(&self) -> bool {
        self.tls.is_some() && (self.requires_certificate || !self.users.is_empty())
    }
}

fn check_user(name: &str, hash: &str) -> std::result::Result<(), String> {
    let parts = HashParts::from_str(hash)
        .map_err(|_| "not a bcrypt hash, which begins with $2y$. Make one with: htpasswd -nBC 10 NAME".to_owned())?;
    if parts.get_cost() > MAX_COST {
        return Err(format!("cost {} makes a check take too long: use at most {MAX_COST}, 10 as a rule", parts.get_cost()));
    }
    if name.contains(':') {
        return Err("a name cannot contain a colon, which ends it on the wire".to_owned());
    }
    Ok(())
}

fn header(name: &str, value: &str) -> std::result::Result<(HeaderName, HeaderValue), String> {
    if !HEADERS.contains(&name) {
        return Err(format!("this header cannot be set: use {}", HEADERS.join(", ")));
    }
    let parsed = HeaderName::from_str(name).ok().zip(HeaderValue::from_str(value).ok());
    parsed.ok_or_else(|| "not a value that a header can have".to_owned())
}
