//! Asking a server over HTTP.

use std::fmt::Display;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(10);

/// A server by its address.
#[derive(Clone, Debug)]
pub struct Http {
    /// Address for a browser, without a slash at its end.
    url: String,
    agent: ureq::Agent,
}

impl Http {
    /// The server at this address: `HOST:PORT`.
    pub fn new(address: impl Display) -> Http {
        // The text of an error is in the body, so a status alone is not an error. What is asked is on this host or near it: no proxy.
        let config = ureq::Agent::config_builder().timeout_global(Some(LIMIT)).http_status_as_error(false).proxy(None).build();
        Http { url: format!("http://{address}"), agent: config.into() }
    }

    /// Its address for a browser.
    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    /// The body of a page; an error if its status is not 200.
    pub fn text(&self, path: &str) -> Result<String> {
        self.get(path, &[])
    }

    pub(crate) fn json(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value> {
        let text = self.get(path, parameters)?;
        serde_json::from_str(&text).with_context(|| format!("{}{path} is not JSON", self.url))
    }

    fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Result<String> {
        let (status, text) = self.answer(path, parameters)?;
        if status != 200 {
            bail!("{}{path} answers {status}: {}", self.url, text.trim());
        }
        Ok(text)
    }

    /// Status and body.
    pub(crate) fn answer(&self, path: &str, parameters: &[(&str, &str)]) -> Result<(u16, String)> {
        let url = format!("{}{path}", self.url);
        let mut answer =
            self.agent.get(&url).query_pairs(parameters.iter().copied()).call().with_context(|| format!("cannot ask {url}"))?;
        let text = answer.body_mut().read_to_string().with_context(|| format!("cannot read {url}"))?;
        Ok((answer.status().as_u16(), text))
    }
}
