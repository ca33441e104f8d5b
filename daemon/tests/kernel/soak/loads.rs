//! What comes and goes beside a daemon. Each load has its pause, so that the CPUs are not short and a slow answer is the daemon's.

use std::fs::{self, File};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio, id};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::Duration;
use std::{array, fmt};

use tempfile::TempDir;

use crate::kernel::host::{comes_true, workloads};

/// A name, the pause between two, and one of it.
type Load = (&'static str, Duration, fn(&Place));

const LOADS: [Load; 6] = [
    ("processes", Duration::from_millis(40), |_| run(&mut Command::new("true"))),
    ("crowds of threads", Duration::from_secs(1), |_| {
        run(Command::new(workloads()).args(["many-threads", "--count", "60", "--seconds", "0.1"]));
    }),
    ("new programs", Duration::from_millis(200), Place::run_a_new_program),
    ("new cgroups", Duration::from_millis(300), Place::run_in_a_new_cgroup),
    ("slow clients", Duration::from_millis(50), |place| place.ask(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", 40)),
    ("clients that leave", Duration::from_millis(50), |place| place.ask(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", 0)),
];

/// What the loads need.
struct Place {
    daemon: SocketAddr,
    programs: TempDir,
    /// So many were done of each.
    done: [AtomicU64; LOADS.len()],
    is_paused: AtomicBool,
    is_over: AtomicBool,
    /// Loads that do one just now.
    busy: AtomicU64,
}

/// Until they are dropped.
pub(super) struct Loads {
    place: Arc<Place>,
    threads: Vec<JoinHandle<()>>,
}

impl Loads {
    pub(super) fn start(daemon: SocketAddr) -> Loads {
        let place = Arc::new(Place {
            daemon,
            programs: TempDir::new().unwrap(),
            done: array::from_fn(|_| AtomicU64::new(0)),
            is_paused: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            busy: AtomicU64::new(0),
        });
        let start = |index: usize| {
            let place = Arc::clone(&place);
            thread::spawn(move || place.go_on(index))
        };
        Loads { threads: (0..LOADS.len()).map(start).collect(), place }
    }

    /// Does something while none goes on.
    pub(super) fn paused<T>(&self, action: impl FnOnce() -> T) -> T {
        self.place.is_paused.store(true, Ordering::SeqCst);
        assert!(comes_true(20, || self.place.busy.load(Ordering::SeqCst) == 0));
        let result = action();
        self.place.is_paused.store(false, Ordering::SeqCst);
        result
    }
}

impl Drop for Loads {
    fn drop(&mut self) {
        self.place.is_over.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            // The test may be failing already.
            let _ = thread.join();
        }
    }
}

impl fmt::Display for Loads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done = LOADS.iter().zip(&self.place.done);
        done.into_iter().try_for_each(|((name, ..), done)| write!(f, "{name}: {}; ", done.load(Ordering::SeqCst)))
    }
}

impl Place {
    fn go_on(&self, index: usize) {
        let (_, pause, one) = LOADS[index];
        while !self.is_over.load(Ordering::SeqCst) {
            self.busy.fetch_add(1, Ordering::SeqCst);
            if !self.is_paused.load(Ordering::SeqCst) {
                one(self);
                self.done[index].fetch_add(1, Ordering::SeqCst);
            }
            self.busy.fetch_sub(1, Ordering::SeqCst);
            sleep(pause);
        }
    }

    /// A file that no process has had before, under a name that none had.
    fn run_a_new_program(&self) {
        let program = self.programs.path().join(format!("passing-{}", self.done[2].load(Ordering::SeqCst)));
        fs::copy("/bin/true", &program).unwrap();
        run(&mut Command::new(&program));
        fs::remove_file(&program).unwrap();
    }

    fn run_in_a_new_cgroup(&self) {
        let name = format!("schedscope-{}-{}.service", id(), self.done[3].load(Ordering::SeqCst));
        let Some(group) = Group::new(&["/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup"], &name) else {
            return;
        };
        run(group.take(&mut Command::new("true")));
    }

    /// Sends the beginning of a request, then bytes one by one, and leaves without taking the answer.
    fn ask(&self, begin: &[u8], bytes: u32) {
        let Ok(mut stream) = TcpStream::connect(self.daemon) else { return };
        let mut is_there = stream.write_all(begin).is_ok();
        for _ in 0..bytes {
            is_there = is_there && stream.write_all(b"x").is_ok();
            sleep(Duration::from_millis(if is_there { 20 } else { 0 }));
        }
    }
}

/// Runs a command to its end. It may fail to start: a program that was just copied is open for writing in whoever forked meanwhile.
fn run(command: &mut Command) {
    let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
}

/// A cgroup that is removed when it is dropped.
pub(super) struct Group(PathBuf);

impl Group {
    /// In the first of these hierarchies that is mounted and may be written.
    fn new(hierarchies: &[&str], name: &str) -> Option<Group> {
        let mounted = hierarchies.iter().map(Path::new).find(|hierarchy| hierarchy.join("cgroup.procs").exists())?;
        let path = mounted.join(name);
        fs::create_dir(&path).ok().map(|()| Group(path))
    }

    /// Whose processes have so many bytes of memory together.
    pub(super) fn limited(bytes: u64) -> Option<Group> {
        let group = Group::new(&["/sys/fs/cgroup/memory", "/sys/fs/cgroup"], &format!("schedscope-{}", id()));
        let files = ["memory.limit_in_bytes", "memory.max"];
        let limited = group.filter(|group| files.iter().any(|file| fs::write(group.0.join(file), bytes.to_string()).is_ok()));
        if limited.is_none() {
            println!("without a limit of memory: this host has no memory cgroups that may be written");
        }
        limited
    }

    /// Makes the command a member before its exec: a second one, from a shell, would count as a start in another workload.
    pub(super) fn take<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let members = File::options().write(true).open(self.0.join("cgroup.procs")).unwrap();
        // SAFETY: the closure makes a system call only.
        unsafe {
            command.pre_exec(move || {
                // Whoever writes it.
                (&members).write_all(b"0")
            })
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A process that has ended leaves it a moment later.
        if !comes_true(5, || fs::remove_dir(&self.0).is_ok()) {
            eprintln!("{} is left", self.0.display());
        }
    }
}
