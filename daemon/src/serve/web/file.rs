//! The file: what it may say, and what of it we can do.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    str::FromStr,
};

use axum::http::{HeaderName, HeaderValue};
use bcrypt::HashParts;
use serde::Deserialize;

use super::{Settings, tls};

/// A check of one more takes ten seconds or so, and a connection is cut off after fifteen.
const MAX_COST: u32 = 15;
/// Headers that the format allows.
const HEADERS: [&str; 5] =
    ["Content-Security-Policy", "X-Frame-Options", "X-Content-Type-Options", "X-XSS-Protection", "Strict-Transport-Security"];

/// Why a web configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// The file, or one that it names, cannot be read.
    #[error("web configuration: cannot read {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not YAML, or has a key or a type that is not known.
    #[error("web configuration {path}: {source}", path = path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why; it names the place.
        source: serde_yaml_ng::Error,
    },
    /// A value cannot be used.
    #[error("web configuration {path}, {key}: {what}", path = path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// What is wrong and what would be right.
        what: String,
    },
}

impl WebError {
    pub(super) fn value(path: &Path, key: impl Into<String>, what: impl Into<String>) -> WebError {
        WebError::Value { path: path.to_owned(), key: key.into(), what: what.into() }
    }
}

/// A web configuration.
#[derive(Debug)]
pub struct WebFile {
    path: PathBuf,
    content: Content,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
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

/// `tls_server_config`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TlsSection {
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
    client_allowed_sans: Option<Vec<String>>,
}

impl WebFile {
    /// Reads a file; nothing that it names is read yet.
    pub fn read(path: &Path) -> Result<WebFile, WebError> {
        let text = fs::read_to_string(path).map_err(|source| WebError::Read { path: path.to_owned(), source })?;
        WebFile::parse(path, &text)
    }

    /// Parses the text of a file; `path` is for the messages, and its directory is where relative names begin.
    pub fn parse(path: &Path, text: &str) -> Result<WebFile, WebError> {
        let content: Option<Content> =
            serde_yaml_ng::from_str(text).map_err(|source| WebError::Parse { path: path.to_owned(), source })?;
        let mut content = content.unwrap_or_default();
        let dir = path.parent().unwrap_or(Path::new(""));
        if let Some(tls) = &mut content.tls_server_config {
            for file in [&mut tls.cert_file, &mut tls.key_file, &mut tls.client_ca_file].into_iter().flatten() {
                *file = dir.join(&*file);
            }
        }
        Ok(WebFile { path: path.to_owned(), content })
    }

    /// Files that it names.
    pub(super) fn paths(&self) -> impl Iterator<Item = PathBuf> {
        let named = self.content.tls_server_config.iter().flat_map(|tls| [&tls.cert_file, &tls.key_file, &tls.client_ca_file]);
        named.flatten().cloned()
    }

    /// Reads the files that it names and checks everything.
    pub(super) fn settings(self) -> Result<Settings, WebError> {
        let WebFile { path, content } = self;
        if content.rate_limit.is_some() {
            return Err(WebError::value(
                &path,
                "rate_limit",
                "not supported: what one client can cost is limited anyway. Remove it",
            ));
        }
        for (name, hash) in &content.basic_auth_users {
            check_user(&path, name, hash)?;
        }
        let (tls, requires_certificate) = match &content.tls_server_config {
            Some(section) => {
                if section.client_allowed_sans.is_some() {
                    let what = "not supported: name an authority in client_ca_file that signs the right clients only. Remove it";
                    return Err(WebError::value(&path, "tls_server_config.client_allowed_sans", what));
                }
                let (config, requires_certificate) = tls::server_config(&path, section)?;
                (Some(config), requires_certificate)
            }
            None => (None, false),
        };
        let headers = headers(&path, &content.http_server_config.headers)?;
        Ok(Settings { tls, requires_certificate, users: content.basic_auth_users, headers })
    }
}

fn check_user(path: &Path, name: &str, hash: &str) -> Result<(), WebError> {
    let key = || format!("basic_auth_users.{name}");
    let parts = HashParts::from_str(hash).map_err(|_| {
        WebError::value(path, key(), "not a bcrypt hash, which begins with $2y$. Make one with: htpasswd -nBC 10 NAME")
    })?;
    if parts.get_cost() > MAX_COST {
        let what = format!("cost {} makes a check take too long: use at most {MAX_COST}, 10 as a rule", parts.get_cost());
        return Err(WebError::value(path, key(), what));
    }
    if name.contains(':') {
        return Err(WebError::value(path, key(), "a name cannot have a colon, for it ends there on the wire"));
    }
    Ok(())
}

fn headers(path: &Path, headers: &BTreeMap<String, String>) -> Result<Vec<(HeaderName, HeaderValue)>, WebError> {
    let mut checked = Vec::new();
    for (name, value) in headers {
        let key = format!("http_server_config.headers.{name}");
        if !HEADERS.contains(&name.as_str()) {
            return Err(WebError::value(path, key, format!("this header cannot be set: use one of {}", HEADERS.join(", "))));
        }
        let parsed = HeaderName::from_str(name).ok().zip(HeaderValue::from_str(value).ok());
        checked.push(parsed.ok_or_else(|| WebError::value(path, key, "not a value that a header can have"))?);
    }
    Ok(checked)
}
