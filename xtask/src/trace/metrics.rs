//! The daemon's metrics while cells run.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{
    cell::Cell,
    child::{self, Service, Stop},
    host::Programs,
};

/// What the daemon may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(10);
/// What the cell that runs meanwhile may take.
const CELL_LIMIT: Duration = Duration::from_secs(60);
/// Cells worth looking at from outside, the best first.
const SHOWN: [&str; 3] = ["hash-threads", "arithmetic-threads", "native-hash-threads"];

/// Starts the daemon, runs a cell beside it, and returns the text of `/metrics`.
pub(crate) fn scrape(programs: &Programs, cells: &[Cell], stop: &Stop) -> Result<String> {
    let runnable = || cells.iter().filter(|cell| cell.skipped.is_none());
    let cell = SHOWN.iter().find_map(|id| runnable().find(|cell| cell.id == *id)).or_else(|| runnable().next());
    let cell = cell.context("there is no cell to look at")?;
    let address = free_address()?;
    let mut daemon = Service::start(Command::new(&programs.schedscope).args(["daemon", "--listen", &address.to_string()]))?;
    let began = Instant::now();
    while get_metrics(address).is_err() {
        if daemon.has_ended() {
            bail!("`schedscope daemon` did not start: {}", daemon.last_words());
        }
        if began.elapsed() > START_LIMIT || stop.is_requested() {
            bail!("`schedscope daemon` does not answer on {address}");
        }
        thread::sleep(Duration::from_millis(50));
    }
    child::output(Command::new(&cell.program).args(&cell.arguments), CELL_LIMIT, stop)?;
    get_metrics(address)
}

/// An address that nobody listens on; whoever takes it before the daemon does makes it fail, which it reports.
pub(crate) fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot find a free port")?;
    listener.local_addr().context("cannot find a free port")
}

fn get_metrics(address: SocketAddr) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(START_LIMIT))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    body(&answer)
}

/// The body of an answer that has its length given and came in one piece.
fn body(answer: &str) -> Result<String> {
    let (head, body) = answer.split_once("\r\n\r\n").context("the daemon's answer is no HTTP")?;
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        bail!("the daemon answered {status}");
    }
    if head.to_ascii_lowercase().contains("transfer-encoding") {
        bail!("the daemon's answer comes in chunks");
    }
    Ok(body.to_owned())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn only_a_whole_answer_counts() {
        assert_eq!(body("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\na 1\n").unwrap(), "a 1\n");
        for answer in
            ["", "HTTP/1.1 503 Busy\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\na 1\n\r\n0\r\n\r\n"]
        {
            assert!(body(answer).is_err(), "{answer:?}");
        }
    }
}
