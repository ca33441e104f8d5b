//! Which threads wait for a pipe that only their own program has. Nothing outside of it can end such a wait, so where all threads wait like
//! this, or for each other, the program hangs: both sides of a pipe wait for the other one, or a parent waits for the end of a child whose
//! output it does not read.
//!
//! To know who has a pipe takes a look at the files of every process, so it is done once in each standstill only. The names of links are
//! read; nothing of the processes' is opened. Processes that may not be looked at are passed over: a program has its pipes from itself or
//! from who started it, and that is this program, or one of the same user.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use super::snapshot::{Snapshot, Tgid, Thread, Tid};

/// How long nothing has to run before it is looked; half of what is told of a standstill.
const AFTER_NS: u64 = 150_000_000;
/// A program that runs for less than one part in so many stands still.
const STILL: u64 = 1000;
/// Threads looked at, and files of all processes together: some milliseconds.
const THREADS: usize = 256;
const FILES: usize = 32_768;

/// A pipe, by its inode on the kernel's own file system for them.
type Pipe = u64;

/// Looks at the program while it runs.
#[derive(Debug, Default)]
pub(super) struct OwnPipes {
    /// When it began to stand still, how much it had run by then, and by the last snapshot.
    still_since_ns: u64,
    on_cpu_ns: u64,
    seen_ns: u64,
    has_looked: bool,
    waiting: HashSet<(Tid, u64)>,
}

impl OwnPipes {
    pub(super) fn update(&mut self, snapshot: &Snapshot) {
        let on_cpu_ns: u64 = snapshot.live().map(|thread| thread.times(snapshot.taken_ns).on_cpu_ns).sum();
        // Who ends takes its time along; that too is something that goes on.
        let ran_ns = on_cpu_ns.abs_diff(self.on_cpu_ns);
        let is_first = self.seen_ns == 0;
        if is_first || ran_ns * STILL > snapshot.taken_ns.saturating_sub(self.seen_ns) {
            self.still_since_ns = snapshot.taken_ns;
            self.has_looked = false;
        }
        (self.on_cpu_ns, self.seen_ns) = (on_cpu_ns, snapshot.taken_ns);
        if !self.has_looked && snapshot.taken_ns >= self.still_since_ns + AFTER_NS {
            self.has_looked = true;
            // Of each thread the last look counts: what it waited for in a standstill before says nothing of this one.
            let live: Vec<&Thread> = snapshot.live().collect();
            for thread in &live {
                self.waiting.remove(&thread.key());
            }
            self.waiting.extend(waiting_for_own(&live));
        }
    }

    /// Threads that waited so, by [`Thread::key`].
    pub(super) fn finish(self) -> HashSet<(Tid, u64)> {
        self.waiting
    }
}

/// Of a program's threads those that wait so; nobody if there are too many files to know.
fn waiting_for_own(threads: &[&Thread]) -> Vec<(Tid, u64)> {
    let mut waits = HashMap::<Pipe, Vec<(Tid, u64)>>::new();
    for thread in threads.iter().take(THREADS) {
        if let Some(pipe) = pipe_waited_for(thread.tgid(), thread.tid()) {
            waits.entry(pipe).or_default().push(thread.key());
        }
    }
    if waits.is_empty() {
        return Vec::new();
    }
    let members: HashSet<Tgid> = threads.iter().map(|thread| thread.tgid()).collect();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let others =
        processes.filter_map(|entry| entry.file_name().to_str()?.parse().map(Tgid).ok()).filter(|tgid| !members.contains(tgid));
    let mut left = FILES;
    for file in others.flat_map(|process| fs::read_dir(format!("/proc/{}/fd", process.0)).into_iter().flatten().flatten()) {
        let Some(less) = left.checked_sub(1) else { return Vec::new() };
        left = less;
        if let Some(pipe) = pipe(&file.path()) {
            waits.remove(&pipe);
        }
    }
    waits.into_values().flatten().collect()
}

/// The pipe that a thread reads or writes, if it is blocked in that.
fn pipe_waited_for(process: Tgid, thread: Tid) -> Option<Pipe> {
    let call = fs::read_to_string(format!("/proc/{}/task/{}/syscall", process.0, thread.0)).ok()?;
    pipe(Path::new(&format!("/proc/{}/fd/{}", process.0, file_of(&call)?)))
}

/// The file that a system call reads or writes, by the kernel's line of its number and arguments.
fn file_of(call: &str) -> Option<u64> {
    let mut words = call.split_whitespace();
    let number: libc::c_long = words.next()?.parse().ok()?;
    let is_one = [libc::SYS_read, libc::SYS_write, libc::SYS_readv, libc::SYS_writev].contains(&number);
    u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok().filter(|_| is_one)
}

/// The pipe that a link names, if it names one: `pipe:[inode]`.
fn pipe(link: &Path) -> Option<Pipe> {
    fs::read_link(link).ok()?.to_str()?.strip_prefix("pipe:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};
    use std::thread::sleep;
    use std::time::Duration;

    use super::*;
    use crate::capture::snapshot::tests::thread;
    use schedscope_ebpf::task_clock::Phase;

    #[test]
    fn the_file_is_the_first_argument_of_a_read_or_write() {
        let call = |number: libc::c_long| format!("{number} 0x1f 0x7ffd 0x1000 0x0 0x0 0x0 0x7ffe 0x7f00\n");
        assert_eq!(file_of(&call(libc::SYS_read)), Some(31));
        assert_eq!(file_of(&call(libc::SYS_futex)), None);
        assert_eq!(file_of("running\n"), None);
        assert_eq!(file_of("-1 0x7ffd 0x7f00\n"), None);
        assert_eq!(file_of(""), None);
    }

    #[test]
    fn a_pipe_that_somebody_else_has_is_not_its_own() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let (own, its) = (Tid(std::process::id()), Tid(child.id()));
        // Until it has executed the program and waits for its input.
        while pipe_waited_for(Tgid(its.0), its).is_none() {
            sleep(Duration::from_millis(1));
        }
        let [mut parent, mut reader] = [own, its].map(|tid| thread(tid.0, Phase::Blocked));
        (parent.record.tgid, reader.record.tgid) = (own.0, its.0);
        assert_eq!(waiting_for_own(&[&parent, &reader]), [reader.key()]);
        assert_eq!(waiting_for_own(&[&reader]), [], "we could write to it");
        // Looked at once nothing has run for a while, and anew in the next standstill.
        let mut looks = OwnPipes::default();
        let mut at = |taken_ns, threads: &[&Thread]| {
            let threads = threads.iter().map(|thread| (*thread).clone()).collect();
            looks.update(&Snapshot { taken_ns, threads, ..Snapshot::default() });
            looks.waiting.clone()
        };
        let none = HashSet::new();
        assert_eq!(at(AFTER_NS, &[&parent, &reader]), none, "the first snapshot begins a standstill and ends none");
        assert_eq!(at(2 * AFTER_NS, &[&parent, &reader]), HashSet::from([reader.key()]));
        reader.record.on_cpu_ns += AFTER_NS;
        assert_eq!(at(3 * AFTER_NS, &[&reader]), HashSet::from([reader.key()]), "it goes on");
        assert_eq!(at(4 * AFTER_NS, &[&reader]), none, "now somebody else has the pipe");
        child.stdin.take().unwrap().write_all(b"so it ends").unwrap();
        child.wait().unwrap();
    }
}
