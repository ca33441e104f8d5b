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
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// More than any client's request head; a longer one is cut off.
const HEAD_BYTES_MAX: u64 = 16 << 10;
/// More than the lab uploads.
const BODY_BYTES_MAX: u64 = 1 << 20;
/// Links of a page.
const LINKS_MAX: u32 = 100_000;

/// Serves on a free port of the loopback interface until the process is stopped.
///
/// The first line it prints is its address.
pub(crate) fn serve(delay_ms: u64) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen")?;
    let address = listener.local_addr().context("cannot read the port")?;
    println!("http://{address}/");
    std::io::stdout().flush().context("cannot print the address")?;
    let delay = Duration::from_millis(delay_ms);
    for stream in listener.incoming() {
        // One failed connection (a client that went away, too many files) must not end the service.
        let Ok(stream) = stream else { continue };
        let started = thread::Builder::new().name("http".to_owned()).stack_size(64 << 10).spawn(move || answer(&stream, delay));
        if let Err(error) = started {
            eprintln!("cannot answer a request: {error}");
        }
    }
    Ok(())
}

/// Reads one request, waits, and answers; whatever fails is the client's loss alone.
fn answer(mut stream: &TcpStream, delay: Duration) {
    if let Some(body) = answer_to(BufReader::new(stream.take(HEAD_BYTES_MAX + BODY_BYTES_MAX))) {
        thread::sleep(delay);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        let _ = stream.write_all((head + &body).as_bytes());
    }
}

/// The body of the answer, once the request is there as a whole; none if it ends before.
fn answer_to(mut request: impl BufRead) -> Option<String> {
    let first = line(&mut request)?;
    let mut body_bytes = 0;
    loop {
        let header = line(&mut request)?;
        match header.split_once(':') {
            None if header.is_empty() => break,
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                body_bytes = value.trim().parse().ok().filter(|bytes| *bytes <= BODY_BYTES_MAX)?;
            }
            _ => {}
        }
    }
    let mut body = Vec::new();
    if request.take(body_bytes).read_to_end(&mut body).ok()? as u64 != body_bytes {
        return None;
    }
    if first.starts_with("POST ") {
        return Some(format!("{:x}\n", Sha256::digest(&body)));
    }
    Some(links_wanted(&first).map_or_else(|| "hello from the lab\n".to_owned(), page_with))
}

/// How many links a page is to have, by the request's first line.
fn links_wanted(first: &str) -> Option<u32> {
    let links = first.strip_prefix("GET /links/")?.split(' ').next()?.parse().ok()?;
    (links <= LINKS_MAX).then_some(links)
}

/// The next line without its end; none if there is no further one.
fn line(request: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    request.read_line(&mut line).ok()?;
    line.strip_suffix('\n').map(|line| line.trim_end_matches('\r').to_owned())
}

/// A page with that many links.
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
        let answer = |request: &str| answer_to(request.as_bytes());
        assert_eq!(answer("GET / HTTP/1.1\r\n\r\n").as_deref(), Some("hello from the lab\n"));
        let page = answer("GET /links/3 HTTP/1.0\r\nHost: lab\r\n\r\n");
        assert_eq!(page.map(|page| page.matches(r#"<a href="/item/"#).count()), Some(3));
        // The example of FIPS 180-2.
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n";
        assert_eq!(answer("POST / HTTP/1.1\r\nContent-length: 3\r\n\r\nabc").as_deref(), Some(digest));
    }

    #[test]
    fn what_is_not_whole_gets_no_answer() {
        for request in ["", "GET / HTTP/1.1\r\nHost: lab\r\n", "POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nabc"] {
            assert_eq!(answer_to(request.as_bytes()), None, "{request:?}");
        }
        let huge = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", BODY_BYTES_MAX + 1);
        assert_eq!(answer_to(huge.as_bytes()), None);
    }
}
