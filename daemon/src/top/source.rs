//! Who tells what is drawn: a daemon over HTTP, or this very process.

use std::str::FromStr;

use anyhow::{Context, Result, bail};

use super::wire::{Answer, SCHEMA};
use crate::http::Http;
use crate::serve::LoopHandle;
use crate::serve::history::Position;

/// `HOST:PORT` of a daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Authority(String);

impl FromStr for Authority {
    type Err = String;

    fn from_str(text: &str) -> Result<Authority, String> {
        if text.starts_with("https://") {
            return Err(
                "`top` cannot speak TLS: run it on the daemon's host without --connect, where it traces by itself".to_owned()
            );
        }
        let rest = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
        if rest.contains('@') {
            return Err(
                "`top` cannot give a password: run it on the daemon's host without --connect, where it traces by itself".to_owned()
            );
        }
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
        let port = rest.rsplit_once(':').filter(|(host, _)| !host.is_empty()).and_then(|(_, port)| port.parse::<u16>().ok());
        if port.is_none() || !rest.chars().all(is_plain) {
            return Err("give the address of a daemon, such as http://127.0.0.1:9752".to_owned());
        }
        Ok(Authority(rest.to_owned()))
    }
}

/// Tells what its daemon has not told yet.
pub(super) trait Source: Send {
    /// What came after `position`.
    fn ask(&self, position: Position) -> Result<Answer>;
    /// How it is called on the screen.
    fn name(&self) -> String;
    /// Whether it may answer again after it has failed.
    fn may_come_back(&self) -> bool;
}

/// A daemon that serves.
pub(super) struct Remote {
    http: Http,
    authority: String,
}

impl Remote {
    pub(super) fn new(Authority(authority): Authority) -> Remote {
        Remote { http: Http::new(&authority), authority }
    }
}

impl Source for Remote {
    fn ask(&self, Position { epoch, next }: Position) -> Result<Answer> {
        let (epoch, next) = (epoch.to_string(), next.to_string());
        let (status, text) = self.http.answer("/api/history", &[("epoch", &epoch), ("next", &next)])?;
        match status {
            200 => {}
            401 => bail!(
                "the daemon at {} asks for a name and a password, which `top` cannot give: run it there without --connect, where it \
                 traces by itself",
                self.authority
            ),
            _ => bail!("{} answers {status}: {}", self.authority, text.trim()),
        }
        read(&text).with_context(|| format!("what answers at {} is no schedscope daemon that this version knows", self.authority))
    }

    fn name(&self) -> String {
        format!("daemon at {}", self.authority)
    }

    fn may_come_back(&self) -> bool {
        true
    }
}

/// The daemon's loop in this process, which nobody else can ask.
pub(super) struct Own(pub(super) LoopHandle);

impl Source for Own {
    /// Through the same text as from elsewhere, so that both mean the same.
    fn ask(&self, position: Position) -> Result<Answer> {
        let answer = self.0.history(position).context("tracing has ended")?;
        read(&serde_json::to_string(&answer)?)
    }

    fn name(&self) -> String {
        "traced here".to_owned()
    }

    fn may_come_back(&self) -> bool {
        false
    }
}

fn read(text: &str) -> Result<Answer> {
    let answer: Answer = serde_json::from_str(text)?;
    if answer.schema != SCHEMA {
        bail!("its schema is not {SCHEMA}");
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn addresses_are_read_and_what_is_not_supported_is_said() {
        for (text, authority) in [
            ("http://127.0.0.1:9752", "127.0.0.1:9752"),
            ("http://host-1.example/", ""),
            ("[::1]:80", "[::1]:80"),
            ("http://localhost:1/", "localhost:1"),
            ("http://localhost:1/metrics", ""),
            (":80", ""),
            ("http://a b:80", ""),
            ("localhost:65536", ""),
        ] {
            assert_eq!(text.parse::<Authority>().map(|Authority(found)| found).unwrap_or_default(), authority, "{text}");
        }
        assert!("https://localhost:1".parse::<Authority>().unwrap_err().contains("TLS"));
        assert!("http://me:secret@localhost:1".parse::<Authority>().unwrap_err().contains("password"));
    }

    /// What a server answers with becomes this error.
    fn error(answer: &'static str) -> String {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let error = format!("{:#}", Remote::new(Authority(address.to_string())).ask(Position::default()).unwrap_err());
        server.join().unwrap();
        error
    }

    #[test]
    fn what_is_wrong_with_an_answer_is_said() {
        let password = error("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        assert!(password.contains("password"), "{password}");
        let other = error("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}");
        assert!(other.contains("no schedscope daemon"), "{other}");
        let encrypted = error("HTTP/1.1 400 Bad Request\r\nContent-Length: 11\r\nConnection: close\r\n\r\nHTTPS only\n");
        assert!(encrypted.contains("answers 400: HTTPS only"), "{encrypted}");
    }
}
