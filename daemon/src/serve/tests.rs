use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

async fn get(address: SocketAddr, path: &str) -> String {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await
}

async fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Serves on the test's own runtime.
pub(super) async fn serve_here(listener: Listener, gate: Gate, web: Web) {
    serve(TcpListener::from_std(listener.socket).unwrap(), listener.is_local, gate, web).await;
}

/// A server whose loop answers every request at once.
fn start(metrics: Result<&'static str, &'static str>) -> (SocketAddr, Gate) {
    start_with(metrics, false)
}

fn start_with(metrics: Result<&'static str, &'static str>, allow_remote: bool) -> (SocketAddr, Gate) {
    let (gate, mut requests) = Gate::new();
    let listener = listen("127.0.0.1:0".parse().unwrap(), allow_remote, &Web::default()).unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve_here(listener, gate.clone(), Web::default()));
    tokio::spawn(async move {
        while let Some(request) = requests.recv().await {
            match request {
                Request::Metrics(reply) => reply.send(metrics.map(Arc::from).map_err(str::to_owned)).unwrap(),
                Request::History(position, reply) => {
                    let answer = history::Answer { next: position.next + 1, ..history::Answer::default() };
                    assert!(reply.send(answer).is_ok());
                }
                Request::Status(reply) => {
                    let status = Status { failure: metrics.err().map(str::to_owned), ..Status::default() };
                    assert!(reply.send(status).is_ok());
                }
            }
        }
    });
    (address, gate)
}

#[tokio::test]
async fn every_page_has_its_type() {
    let (address, _) = start(Ok("up 1\n"));
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
    let (address, _) = start(Err("no counters"));
    for path in ["/metrics", "/healthz"] {
        let answer = get(address, path).await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.ends_with("no counters\n"), "{answer}");
    }
    assert!(get(address, "/status").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn clients_that_say_nothing_delay_nobody_and_are_limited() {
    let (address, gate) = start(Ok("up 1\n"));
    let mut silent = Vec::new();
    for _ in 0..MAX_CONNECTIONS - 1 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let begun = Instant::now();
    assert!(get(address, "/metrics").await.starts_with("HTTP/1.1 200"));
    assert!(begun.elapsed() < HEADER_TIMEOUT / 2);
    silent.push(TcpStream::connect(address).await.unwrap());
    let mut refused = TcpStream::connect(address).await.unwrap();
    let mut answer = String::new();
    refused.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert_eq!(gate.refused(), [1, 0]);
    // Once they are cut off, there is room again.
    let mut rest = Vec::new();
    silent[0].read_to_end(&mut rest).await.unwrap();
    assert!(begun.elapsed() < HEADER_TIMEOUT * 3);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(get(address, "/metrics").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn who_asks_by_another_name_reads_nothing() {
    let (address, gate) = start(Ok("up 1\n"));
    for path in ["/", "/metrics", "/api/history", "/nothing"] {
        let answer = ask(address, &format!("GET {path} HTTP/1.1\r\nHost: rebound.example.org:{}\r\n\r\n", address.port())).await;
        assert!(answer.starts_with("HTTP/1.1 421 Misdirected Request"), "{answer}");
        assert!(
            answer.contains("--allow-remote") && answer.contains("content-security-policy") && !answer.contains("up 1"),
            "{answer}"
        );
    }
    assert_eq!(gate.refused(), [0, 4]);
    for request in [format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\n\r\n"), "GET /metrics HTTP/1.0\r\n\r\n".to_owned()] {
        assert!(ask(address, &request).await.ends_with("\r\n\r\nup 1\n"), "{request}");
    }
    let (address, gate) = start_with(Ok("up 1\n"), true);
    let answer = ask(address, "GET /metrics HTTP/1.1\r\nHost: lab.example.org\r\n\r\n").await;
    assert!(answer.ends_with("\r\n\r\nup 1\n"), "{answer}");
    assert_eq!(gate.refused(), [0, 0]);
}

#[test]
fn a_port_that_is_taken_is_named_with_the_remedy() {
    let first = listen("127.0.0.1:0".parse().unwrap(), false, &Web::default()).unwrap();
    let address = first.local_addr().unwrap();
    let error = listen(address, false, &Web::default()).unwrap_err().to_string();
    assert!(error.contains(&address.to_string()) && error.contains("--listen"), "{error}");
    assert!(!error.contains('\n'));
}

#[test]
fn other_hosts_are_shut_out_unless_allowed() {
    for address in ["0.0.0.0:0", "[::]:0"] {
        let error = listen(address.parse().unwrap(), false, &Web::default()).unwrap_err().to_string();
        assert!(error.contains("--allow-remote"), "{error}");
    }
    listen("0.0.0.0:0".parse().unwrap(), true, &Web::default()).unwrap();
}
