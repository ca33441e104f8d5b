//! The file's settings, checked and ready to use.

use std::{collections::BTreeMap, str::FromStr, sync::Arc};

use anyhow::Result;
use axum::http::{HeaderName, HeaderValue};
use bcrypt::HashParts;
use tokio_rustls::rustls::ServerConfig;

use super::{file::WebFile, tls};

/// One more would make a check take ten seconds or so, and connections are cut off after fifteen.
const MAX_COST: u32 = 15;
/// Headers that the format allows.
const HEADERS: [&str; 5] =
    ["Content-Security-Policy", "X-Frame-Options", "X-Content-Type-Options", "X-XSS-Protection", "Strict-Transport-Security"];

/// The settings in force.
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
