//! What this host has, and whether it may be used. Whoever asks for what is not there gets `None`, and the reason is printed.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{env, fs};

use schedscope::capture::kernel::host_programs;
use schedscope_ebpf::abi::program;
use tempfile::TempDir;

/// Set by whoever wants these tests run.
const PRIVILEGED: &str = "SCHEDSCOPE_PRIVILEGED";
/// Set where time is emulated, as in the machines of `cargo xtask vm`.
const EMULATED: &str = "SCHEDSCOPE_EMULATED";
/// Set where tests may take away CPUs and process ids.
const OWN_MACHINE: &str = "SCHEDSCOPE_OWN_MACHINE";

/// Prints why a test is left out unless a condition holds.
fn unless(holds: bool, why: impl FnOnce() -> String) -> Option<()> {
    if !holds {
        println!("skipped: {}", why());
    }
    holds.then_some(())
}

fn is_set(variable: &str) -> bool {
    env::var_os(variable).is_some_and(|value| value == "1")
}

/// Permission to load BPF programs.
pub(crate) fn privileged() -> Option<()> {
    // Counts from here.
    super::exact::steal_seconds();
    unless(is_set(PRIVILEGED), || format!("loads BPF programs, which needs root and {PRIVILEGED}=1"))
}

/// A machine that is fast enough; `instead` says what stands in for the test elsewhere.
pub(crate) fn fast(instead: &str) -> Option<()> {
    unless(!is_set(EMULATED), || format!("takes an emulated machine more than ten minutes; {instead}"))
}

/// Time that is the machine's own: a host takes an emulated CPU away at any place, and its clocks go on.
pub(crate) fn own_time(what: &str) -> Option<()> {
    unless(!is_set(EMULATED), || format!("{what}: the time of emulated CPUs holds the host's"))
}

/// A machine that nobody else uses, CPUs and process ids included.
pub(crate) fn own_machine() -> Option<()> {
    privileged()?;
    let why = "takes CPUs or process ids from the whole machine; `cargo xtask vm` runs it on one that has nothing else";
    unless(is_set(OWN_MACHINE), || why.to_owned())
}

/// Whether the kernel tells which system call a thread is in.
pub(crate) fn tells_system_calls() -> bool {
    let types = fs::read("/sys/kernel/btf/vmlinux").unwrap();
    let name = b"BPF_FUNC_task_pt_regs\0";
    types.windows(name.len()).any(|bytes| bytes == name)
}

/// That many CPUs to use.
pub(crate) fn cpus(count: usize) -> Option<()> {
    let usable = std::thread::available_parallelism().unwrap().get();
    unless(usable >= count, || format!("needs {count} CPUs and may use {usable}"))
}

/// The interpreter itself, not a launcher that starts it.
pub(crate) fn python() -> Option<String> {
    let output = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().ok();
    let path = output.filter(|output| output.status.success()).map(|output| String::from_utf8(output.stdout).unwrap());
    unless(path.is_some(), || "no python3".to_owned())?;
    path.map(|path| path.trim().to_owned())
}

/// The first of these programs that is installed; `package` has them.
pub(crate) fn installed(names: &[&'static str], package: &str) -> Option<&'static str> {
    let is_there =
        |name: &&&str| env::split_paths(&env::var_os("PATH").unwrap_or_default()).any(|dir| dir.join(OsStr::new(name)).is_file());
    let found = names.iter().find(is_there).copied();
    unless(found.is_some(), || format!("no {}; the package {package} has it", names[0]))?;
    found
}

pub(crate) fn schedscope() -> PathBuf {
    built("schedscope")
}

/// A copy of it that any user may execute: nobody may not enter the directories above the real one.
pub(crate) fn schedscope_for_all() -> Option<(TempDir, PathBuf)> {
    let dir = TempDir::new().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = dir.path().join("schedscope");
    let is_copied = fs::copy(schedscope(), &copy).is_ok();
    unless(is_copied, || format!("the program is not at {}", schedscope().display()))?;
    Some((dir, copy))
}

/// The generators of known workloads; `cargo build --workspace --bins` makes them.
pub(crate) fn workloads() -> String {
    built("schedscope-workloads").into_os_string().into_string().unwrap()
}

/// The shell under a name of its own in this directory, by which a rule can tell it. It has the name from its exec on: a daemon that
/// looked at it before it gave itself one would not look again for a minute.
pub(crate) fn shell_called(name: &str, dir: &Path) -> PathBuf {
    let link = dir.join(name);
    symlink(fs::canonicalize("/bin/sh").unwrap(), &link).unwrap();
    link
}

/// Where cargo built it, else by its name alone: a virtual machine has it on its path.
fn built(name: &str) -> PathBuf {
    let built = Path::new(env!("CARGO_BIN_EXE_schedscope")).with_file_name(name);
    if built.exists() { built } else { name.into() }
}

/// A process that does not outlive the test, however that ends.
pub(crate) struct Guarded(pub(crate) Child);

impl Guarded {
    pub(crate) fn start(program: impl AsRef<OsStr>, arguments: &[&str]) -> Guarded {
        Guarded(Command::new(program).args(arguments).stdout(Stdio::null()).spawn().unwrap())
    }

    pub(crate) fn shell(script: &str) -> Guarded {
        Guarded::start("sh", &["-c", script])
    }

    /// One of our workloads, its arguments separated by blanks.
    pub(crate) fn workload(arguments: &str) -> Guarded {
        Guarded::start(workloads(), &arguments.split(' ').collect::<Vec<_>>())
    }

    pub(crate) fn end(&mut self) {
        // It may have ended long since, as it should.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.end();
    }
}

impl Deref for Guarded {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Guarded {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

pub(crate) fn send(pid: u32, signal: i32) {
    // SAFETY: takes numbers only; the caller's child is not reaped yet, so the id is its own.
    assert_eq!(unsafe { libc::kill(pid.cast_signed(), signal) }, 0, "cannot send signal {signal} to {pid}");
}

/// Asks until the answer is yes, for at most `seconds`. Whether it came.
pub(crate) fn comes_true(seconds: u64, mut question: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + Duration::from_secs(seconds);
    loop {
        if question() {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        sleep(Duration::from_millis(5));
    }
}

/// Ids of the programs that a process holds or has attached.
fn programs_of(pid: u32) -> BTreeSet<u32> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fdinfo")) else { return BTreeSet::new() };
    let texts = entries.flatten().filter_map(|entry| fs::read_to_string(entry.path()).ok());
    texts.filter_map(|text| text.lines().find_map(|line| line.strip_prefix("prog_id:")?.trim().parse().ok())).collect()
}

/// Waits until a tracer has attached its programs, and returns their ids.
pub(crate) fn wait_for_programs(pid: u32) -> BTreeSet<u32> {
    let mut programs = BTreeSet::new();
    let complete = comes_true(20, || {
        programs = programs_of(pid);
        programs.len() >= program::HOOKS.len()
    });
    assert!(complete, "the tracer {pid} has attached {programs:?} only");
    programs
}

/// Fails if any of the programs is still in the kernel. Links are freed a moment after their last user has gone.
pub(crate) fn assert_gone(programs: &BTreeSet<u32>) {
    assert!(programs.len() >= program::HOOKS.len(), "{programs:?}");
    // Asked again if one goes away while it is looked at.
    let left = || host_programs().map(|all| all.into_iter().filter(|left| programs.contains(&left.id)).collect::<Vec<_>>());
    assert!(comes_true(5, || left().is_ok_and(|left| left.is_empty())), "these programs stay in the kernel: {:?}", left());
}
