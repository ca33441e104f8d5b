//! Clients of the daemon that mean no good.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fs, thread};

use schedscope::lab::daemon::free_address;
use tempfile::TempDir;

use super::daemon::HASH;
use super::host::{self, Guarded, comes_true, privileged};
use super::served::{Daemon, request};

/// Does the same again in so many threads, until the rest is done.
fn beside<T>(threads: usize, again: impl Fn() + Sync, rest: impl FnOnce() -> T) -> T {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    again();
                }
            });
        }
        thread::sleep(Duration::from_secs(1));
        let result = rest();
        stop.store(true, Ordering::Relaxed);
        result
    })
}

/// Sends a request that never ends, byte by byte.
fn trickle(address: SocketAddr) {
    let Ok(mut stream) = TcpStream::connect(address) else { return };
    for _ in 0..100 {
        if stream.write_all(b"G").is_err() {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Status of the answer to somebody with these credentials.
fn status(address: SocketAddr, credentials: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {credentials}\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}

#[test]
fn clients_that_trickle_keep_no_scraper_out() {
    let Some(()) = privileged() else { return };
    let daemon = Daemon::start("");
    let scrape = || request(daemon.address, "/metrics", "localhost").map(|(status, _)| status);
    let statuses: Vec<_> = beside(40, || trickle(daemon.address), || (0..40).map(|_| scrape()).collect());
    assert_eq!(statuses, [Some(200); 40]);
}

#[test]
fn clients_that_guess_keep_no_password_out() {
    let Some(()) = privileged() else { return };
    let dir = TempDir::new().unwrap();
    let web = dir.path().join("web.yml");
    fs::write(&web, format!("basic_auth_users:\n  prometheus: {HASH}\n")).unwrap();
    let address = free_address().unwrap();
    let mut command = Command::new(host::schedscope());
    command.args(["daemon", "--listen", &address.to_string(), "--web-config"]).arg(&web);
    let _daemon = Guarded(command.stderr(Stdio::null()).spawn().unwrap());
    // "prometheus:close sesame" and "prometheus:open sesame".
    let [wrong, right] = ["cHJvbWV0aGV1czpjbG9zZSBzZXNhbWU=", "cHJvbWV0aGV1czpvcGVuIHNlc2FtZQ=="];
    assert!(comes_true(20, || status(address, wrong) == Some(401)));
    let answer = beside(20, || assert_eq!(status(address, wrong), Some(401)), || status(address, right));
    assert_eq!(answer, Some(200));
}
