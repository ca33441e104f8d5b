//! `/proc/PID/task/TID/syscall`: what a blocked thread waits for, with the address of its futex.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use schedscope::capture::snapshot::Tgid;

/// The address that a thread waits on, if it waits in a futex call.
fn address(line: &str) -> Option<u64> {
    let mut words = line.split(' ');
    let is_futex = words.next()?.parse() == Ok(libc::SYS_futex);
    let address = u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?;
    is_futex.then_some(address)
}

/// Futex waits of all threads of a process, looked at again and again until `enough` were seen or `patience` is over.
pub(crate) fn sample(tgid: Tgid, enough: usize, patience: Duration) -> Vec<u64> {
    let start = Instant::now();
    let mut addresses = Vec::new();
    while addresses.len() < enough && start.elapsed() < patience {
        let tasks = fs::read_dir(format!("/proc/{}/task", tgid.0)).unwrap();
        let lines = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("syscall")).ok());
        addresses.extend(lines.filter_map(|line| address(&line)));
        // Not a divisor of the switch interval.
        sleep(Duration::from_micros(3300));
    }
    addresses
}
