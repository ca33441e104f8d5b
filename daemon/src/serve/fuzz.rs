//! What must hold for any bytes that a client sends, and for any web configuration. See [`crate::fuzz`].

use std::fs::File;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use axum::body::Bytes;
use flate2::read::GzDecoder;
use rustix::fs::{MemfdFlags, memfd_create};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::runtime::Runtime;

use super::handle::{LoopHandle, Request, Status};
use super::history::Answer;
use super::page;
use super::server::{Shared, http as serve_one};
use super::web::WebConfig;
use crate::fuzz::repeated;

/// What only some clients may read; long enough to be compressed for who asks for that.
const METRICS: &str = "secret{of=\"those who may read it\"} 1\nsecret{of=\"others\"} 2\n";
/// Name `s` and password `p`, as a client sends them.
const CREDENTIALS: &str = "czpw";
/// The largest answer is a file of the page.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// More than a client can make us keep of its request.
const REQUEST_BYTES_MAX: u64 = 1 << 20;

/// A configuration of these bytes in a file, and its name.
fn configured(text: &[u8]) -> Option<(File, PathBuf)> {
    let mut file = File::from(memfd_create(c"web", MemfdFlags::CLOEXEC).ok()?);
    file.write_all(text).ok()?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    Some((file, path))
}

/// Reads a web configuration. One that is taken has headers that may be set; why one is not is said, with the file's name.
pub(crate) fn web(data: &[u8]) {
    let text = repeated(data, 1 << 20);
    // It can name files to read, and some files act when they are opened.
    if text.windows(2).any(|pair| pair == b"/d" || pair == b"\\x") {
        return;
    }
    let Some((_file, path)) = configured(&text) else { return };
    match WebConfig::read(&path) {
        Ok(web) => {
            let settings = web.settings();
            let mut headers = settings.headers.iter().map(|(name, _)| name.as_str());
            assert!(
                headers
                    .all(|name| name.starts_with("x-") || name == "content-security-policy" || name == "strict-transport-security")
            );
            assert!(!settings.is_guarded() || settings.tls.is_some());
        }
        Err(error) => {
            let told = format!("{error:#}");
            assert!(told.contains("web configuration") && told.contains("/proc/self/fd/"), "{told}");
        }
    }
}

/// A server of two kinds, without a socket: one for this host, and one for those who know a password.
struct Servers {
    runtime: Runtime,
    local: Shared,
    guarded: Shared,
}

thread_local! {
    static SERVERS: Servers = Servers::start();
}

impl Servers {
    fn start() -> Servers {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { panic!("no runtime") };
        let (handle, mut requests) = LoopHandle::new();
        runtime.spawn(async move {
            while let Some(request) = requests.recv().await {
                // A client may be gone before its answer.
                let _ = match request {
                    Request::Metrics(reply) => reply.send(Ok(Bytes::from_static(METRICS.as_bytes()))).is_ok(),
                    Request::History(position, reply) => reply.send(Answer { next: position.next, ..Answer::default() }).is_ok(),
                    Request::Status(reply) => reply.send(Status::default()).is_ok(),
                    Request::Health(reply) => reply.send(None).is_ok(),
                };
            }
        });
        let hash = bcrypt::hash_with_salt("p", 4, *b"sixteen bytes it");
        let users = hash.map(|hash| format!("basic_auth_users:\n  s: {hash}\n")).unwrap_or_default();
        let Some(Ok(web)) = configured(users.as_bytes()).map(|(_file, path)| WebConfig::read(&path)) else { panic!("no users") };
        let local = Shared::new(handle.clone(), true, WebConfig::default());
        Servers { runtime, local, guarded: Shared::new(handle, false, web) }
    }

    /// Sends bytes, and returns all that is answered until the server closes the connection.
    fn answer(&self, shared: &Shared, sent: &[u8]) -> Vec<u8> {
        self.runtime.block_on(async {
            let (mut client, server) = duplex(64 << 10);
            let address: SocketAddr = ([127, 0, 0, 1], 1).into();
            let Some(place) = shared.clients.seat(address.into()).await else { panic!("no other client is there") };
            let mut answer = Vec::new();
            let asked = async {
                let (mut answers, mut requests) = tokio::io::split(&mut client);
                let send_all = async {
                    // The server need not read all.
                    let _ = requests.write_all(sent).await;
                    let _ = requests.shutdown().await;
                };
                let ((), read) = tokio::join!(send_all, answers.read_to_end(&mut answer));
                assert!(read.is_ok());
            };
            tokio::join!(serve_one(server, &place, shared), asked);
            answer
        })
    }
}

/// Sends bytes to the server. There is one complete answer or none; whatever was asked for, the browser's guards are on it; and nobody
/// reads metrics by a foreign name, or without the password.
pub(crate) fn http(data: &[u8]) {
    let sent = repeated(data, REQUEST_BYTES_MAX);
    SERVERS.with(|servers| {
        let answer = servers.answer(&servers.local, &sent);
        if check(&answer).contains(METRICS) {
            // Of the first request: no other is answered.
            let text = String::from_utf8_lossy(&sent).to_lowercase();
            let head = text.trim_start().lines().take_while(|line| !line.trim().is_empty());
            for host in head.filter_map(|line| line.strip_prefix("host:")) {
                assert!(["localhost", "127.", "[", "::"].iter().any(|part| host.contains(part)), "{host}");
            }
        }
        let answer = servers.answer(&servers.guarded, &sent);
        if check(&answer).contains(METRICS) {
            assert!(sent.windows(CREDENTIALS.len()).any(|part| part == CREDENTIALS.as_bytes()));
        }
    });
}

/// Checks one answer, and returns its body.
fn check(answer: &[u8]) -> String {
    assert!(answer.len() <= ANSWER_BYTES_MAX);
    if answer.is_empty() {
        return String::new();
    }
    let text = String::from_utf8_lossy(answer);
    let Some(end) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { panic!("no end of the headers: {text}") };
    let (head, body) = (String::from_utf8_lossy(&answer[..end]), &answer[end + 4..]);
    let Some((status, headers)) = head.split_once("\r\n") else { panic!("no headers: {text}") };
    let code = status.strip_prefix("HTTP/1.1 ").or_else(|| status.strip_prefix("HTTP/1.0 ")).and_then(|rest| rest.get(..3));
    assert!(
        code.is_some_and(|code| ["200", "400", "401", "404", "405", "408", "414", "421", "431", "503"].contains(&code)),
        "{status}"
    );
    let header = |wanted: &str| {
        headers
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value)
    };
    let length = header("content-length").and_then(|length| length.parse::<usize>().ok());
    let is_chunked = header("transfer-encoding") == Some("chunked");
    assert!(body.is_empty() || is_chunked || length == Some(body.len()), "{text}");
    let body = if is_chunked { joined(body) } else { body.to_vec() };
    let body = if header("content-encoding") == Some("gzip") { unzipped(&body) } else { body };
    // What is no request is answered before our part.
    let is_no_request = body.is_empty() && code.is_some_and(|code| code.starts_with('4')) || header("retry-after").is_some();
    assert!(is_no_request || page::HEADERS.iter().all(|(name, _)| header(name.as_str()).is_some()), "{text}");
    String::from_utf8_lossy(&body).into_owned()
}

/// The chunks of a body, of which the last one is empty and there is nothing after it.
fn joined(mut chunks: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let Some(end) = chunks.windows(2).position(|bytes| bytes == b"\r\n") else { panic!("no length of a chunk") };
        let Ok(length) = usize::from_str_radix(&String::from_utf8_lossy(&chunks[..end]), 16) else { panic!("no number") };
        let chunk = &chunks[end + 2..];
        assert!(chunk.len() >= length + 2 && chunk[length..].starts_with(b"\r\n"), "a chunk that is cut off");
        body.extend(&chunk[..length]);
        chunks = &chunk[length + 2..];
        if length == 0 {
            assert!(chunks.is_empty(), "something after the last chunk");
            return body;
        }
    }
}

fn unzipped(body: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    assert!(GzDecoder::new(body).read_to_end(&mut text).is_ok(), "not what gzip makes");
    text
}
