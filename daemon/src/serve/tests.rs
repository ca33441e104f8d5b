use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use flate2::read::GzDecoder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::handle::{LastReading, MAX_CONNECTIONS, Status};
use super::history::Answer;
use super::server::{HEADER_TIMEOUT, serve};
use super::web::WebConfig;
use super::*;

async fn get(address: SocketAddr, path: &str) -> String {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await
}

pub(super) async fn ask(address: SocketAddr, request: &str) -> String {
    ask_from(Ipv4Addr::LOCALHOST, address, request).await
}

pub(super) async fn ask_from(from: Ipv4Addr, address: SocketAddr, request: &str) -> String {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn who_takes_compressed_text_gets_it_compressed() {
    const TEXT: &str = "many of these differ in a label's value only\nmany of these differ in a label's value only\n";
    let (address, _) = start_plain(Ok(TEXT));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let body = 4 + answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..body].to_vec()).unwrap();
    assert!(head.contains("content-encoding: gzip\r\n") && head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    let mut text = String::new();
    GzDecoder::new(&answer[body..]).read_to_string(&mut text).unwrap();
    assert_eq!(text, TEXT);
    let plain = get(address, "/metrics").await;
    assert!(!plain.contains("content-encoding") && plain.ends_with(TEXT), "{plain}");
}

/// Serves on the test's own runtime, with a loop that answers every request at once.
pub(super) fn start(web: WebConfig, allow_remote: bool, metrics: Result<&'static str, &'static str>) -> (SocketAddr, LoopHandle) {
    let (handle, mut requests) = LoopHandle::new();
    let listener = listen("127.0.0.1:0".parse().unwrap(), allow_remote, &web).unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, handle.clone(), web));
    tokio::spawn(async move {
        let failure = metrics.err().map(str::to_owned);
        while let Some(request) = requests.recv().await {
            let is_awaited = match request {
                Request::Metrics(reply) => {
                    reply.send(metrics.map(|text| Bytes::from_static(text.as_bytes())).map_err(str::to_owned)).is_ok()
                }
                Request::History(position, reply) => reply.send(Answer { next: position.next + 1, ..Answer::default() }).is_ok(),
                Request::Status(reply) => reply.send(Status { failure: failure.clone(), ..Status::default() }).is_ok(),
                Request::Health(reply) => {
                    let at = Instant::now().checked_sub(Duration::from_millis(1200)).unwrap();
                    reply.send(Some(LastReading { at, failure: failure.clone() })).is_ok()
                }
            };
            assert!(is_awaited);
        }
    });
    (address, handle)
}

fn start_plain(metrics: Result<&'static str, &'static str>) -> (SocketAddr, LoopHandle) {
    start(WebConfig::default(), false, metrics)
}

#[tokio::test]
async fn every_page_has_its_type() {
    let (address, _) = start_plain(Ok("up 1\n"));
    let metrics = get(address, "/metrics").await;
    assert!(metrics.starts_with("HTTP/1.1 200") && metrics.ends_with("\r\n\r\nup 1\n"), "{metrics}");
    assert!(metrics.to_lowercase().contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{metrics}");
    assert!(get(address, "/healthz").await.ends_with("ok\n"));
    assert!(get(address, "/status").await.contains("\"failure\":null"));
    let landing = get(address, "/").await;
    assert!(landing.contains("text/html") && landing.contains("metrics"), "{landing}");
    assert!(landing.contains("content-security-policy: default-src 'none'; script-src 'self'"), "{landing}");
    assert!(get(address, "/page/main.js").await.contains("content-type: text/javascript"));
    assert!(get(address, "/page/index.html").await.starts_with("HTTP/1.1 404"));
    assert!(get(address, "/api/history?epoch=1&next=41").await.contains("\"next\":42"));
    assert!(get(address, "/api/history?next=all").await.starts_with("HTTP/1.1 400"));
    assert!(get(address, "/nothing").await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn a_failure_is_said_and_not_served_as_data() {
    let (address, _) = start_plain(Err("no counters"));
    for (path, body) in [("/metrics", "no counters\n"), ("/healthz", "no counters (1.2 s ago)\n")] {
        let answer = get(address, path).await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.ends_with(body), "{answer}");
    }
    assert!(get(address, "/status").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn the_slowest_make_room_and_are_told_so() {
    let (address, handle) = start_plain(Ok("up 1\n"));
    let mut slow = Vec::new();
    for _ in 0..MAX_CONNECTIONS + 8 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: lo").await.unwrap();
        slow.push(stream);
    }
    for _ in 0..40 {
        let begun = Instant::now();
        assert!(get(address, "/metrics").await.starts_with("HTTP/1.1 200"));
        assert!(begun.elapsed() < HEADER_TIMEOUT / 2);
    }
    // One for each that was more than fit, and one for the first scrape.
    assert_eq!(handle.refused(), [9, 0]);
    let (last, first) = (slow.len() - 1, 0);
    for (which, status, body) in [(first, "503", "send the request at once\n"), (last, "408", "within 5 seconds\n")] {
        let mut answer = String::new();
        slow[which].read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.ends_with(body), "{answer}");
    }
}

#[tokio::test]
async fn who_finds_no_place_can_read_that() {
    let (handle, _requests) = LoopHandle::new();
    let web = WebConfig::default();
    let listener = listen("127.0.0.1:0".parse().unwrap(), false, &web).unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, handle.clone(), web));
    // Nobody answers these, and it is not their fault.
    let mut waiting = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        waiting.push(stream);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    for _ in 0..40 {
        let answer = get(address, "/metrics").await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.ends_with("at once\n"), "{answer}");
    }
    assert_eq!(handle.refused(), [40, 0]);
}

#[tokio::test]
async fn who_asks_by_another_name_reads_nothing() {
    let (address, handle) = start_plain(Ok("up 1\n"));
    for path in ["/", "/metrics", "/api/history", "/nothing"] {
        let answer = ask(address, &format!("GET {path} HTTP/1.1\r\nHost: rebound.example.org:{}\r\n\r\n", address.port())).await;
        assert!(answer.starts_with("HTTP/1.1 421 Misdirected Request"), "{answer}");
        assert!(
            answer.contains("--allow-remote") && answer.contains("content-security-policy") && !answer.contains("up 1"),
            "{answer}"
        );
    }
    assert_eq!(handle.refused(), [0, 4]);
    for request in [format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\n\r\n"), "GET /metrics HTTP/1.0\r\n\r\n".to_owned()] {
        assert!(ask(address, &request).await.ends_with("\r\n\r\nup 1\n"), "{request}");
    }
    let (address, handle) = start(WebConfig::default(), true, Ok("up 1\n"));
    let answer = ask(address, "GET /metrics HTTP/1.1\r\nHost: lab.example.org\r\n\r\n").await;
    assert!(answer.ends_with("\r\n\r\nup 1\n"), "{answer}");
    assert_eq!(handle.refused(), [0, 0]);
}

#[test]
fn a_port_that_is_taken_is_named_with_the_remedy() {
    let first = listen("127.0.0.1:0".parse().unwrap(), false, &WebConfig::default()).unwrap();
    let address = first.local_addr().unwrap();
    let error = listen(address, false, &WebConfig::default()).unwrap_err().to_string();
    assert!(error.contains(&address.to_string()) && error.contains("--listen"), "{error}");
    assert!(!error.contains('\n'));
}
