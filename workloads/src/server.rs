//! A local HTTP server that answers after a fixed delay: a remote service whose latency is known.
//!
//! | request | answer |
//! |---|---|
//! | `GET /links/N` | a page with N links, to `/item/0`, `/item/1` and so on |
//! | any other GET | a line of text |
//! | POST | the SHA-256 of the body, in hexadecimal |
//!
//! `python/server.py` answers the same.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Bytes;
use axum::http::header::CONNECTION;
use axum::http::{Method, Uri};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::task::spawn_blocking;

const LINKS_MAX: u32 = 100_000;

/// Serves on a free port of the loopback interface until the process is stopped.
///
/// The first line it prints is its address.
pub(crate) fn serve(delay_ms: u64) -> Result<()> {
    runtime::Builder::new_current_thread().enable_io().build().context("cannot start")?.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("cannot listen")?;
        println!("http://{}/", listener.local_addr().context("cannot read the port")?);
        Ok(axum::serve(listener, late_answers(Duration::from_millis(delay_ms))).await?)
    })
}

/// Answers every request after the delay.
pub fn late_answers(delay: Duration) -> Router {
    let answer = move |method: Method, uri: Uri, body: Bytes| async move {
        let body = answer_to(&method, uri.path(), &body);
        // A thread of its own, as the runtime's timers count whole milliseconds.
        let _ = spawn_blocking(move || thread::sleep(delay)).await;
        ([(CONNECTION, "close")], body)
    };
    Router::new().fallback(answer)
}

fn answer_to(method: &Method, path: &str, body: &[u8]) -> String {
    if method == Method::POST {
        return format!("{:x}\n", Sha256::digest(body));
    }
    let links = path.strip_prefix("/links/").and_then(|links| links.parse().ok()).filter(|links| *links <= LINKS_MAX);
    links.map_or_else(|| "hello from the lab\n".to_owned(), page_with)
}

fn page_with(links: u32) -> String {
    let mut page = "<!doctype html>\n<html><head><title>The lab</title></head>\n<body>\n<ul>\n".to_owned();
    for number in 0..links {
        let _ = writeln!(page, r#"<li class="item"><a href="/item/{number}">Item {number}</a> &ndash; one of <b>many</b></li>"#);
    }
    page + "</ul>\n</body></html>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_what_was_asked_for() {
        assert_eq!(answer_to(&Method::GET, "/", b""), "hello from the lab\n");
        assert_eq!(answer_to(&Method::GET, "/links/3", b"").matches(r#"<a href="/item/"#).count(), 3);
        // The example of FIPS 180-2.
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n";
        assert_eq!(answer_to(&Method::POST, "/", b"abc"), digest);
    }
}
