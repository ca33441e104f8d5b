//! A local HTTP server that answers after a fixed delay: a remote service whose latency is known.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

/// More than any client's request head; a longer one is cut off.
const REQUEST_BYTES_MAX: u64 = 16 << 10;
const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 19\r\nConnection: close\r\n\r\nhello from the lab\n";

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

/// Reads one request head, waits, and answers; whatever fails is the client's loss alone.
fn answer(mut stream: &TcpStream, delay: Duration) {
    let mut head = BufReader::new(stream.take(REQUEST_BYTES_MAX)).lines();
    if head.by_ref().map_while(Result::ok).any(|line| line.is_empty()) {
        thread::sleep(delay);
        let _ = stream.write_all(ANSWER);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed call is a failed test")]
    use super::*;

    #[test]
    fn length_of_the_answer_is_what_it_says() {
        let text = std::str::from_utf8(ANSWER).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())));
    }
}
