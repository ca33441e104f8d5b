//! What this host has, and whether it may be used.

use std::{
    env,
    ffi::OsStr,
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
    process::{Child, Command},
    thread::sleep,
    time::{Duration, Instant},
};

/// Set by whoever wants these tests run.
const PRIVILEGED: &str = "SCHEDSCOPE_PRIVILEGED";

/// Set where time is emulated, as in the machines of `cargo xtask vm`.
const EMULATED: &str = "SCHEDSCOPE_EMULATED";

/// Whether tests may load BPF programs; if not, says that this one is left out.
pub(crate) fn is_privileged() -> bool {
    let is_privileged = env::var_os(PRIVILEGED).is_some_and(|value| value == "1");
    // Counts from here.
    super::exact::steal_seconds();
    if !is_privileged {
        println!("skipped: loads BPF programs, which needs root and {PRIVILEGED}=1");
    }
    is_privileged
}

/// Whether the machine is emulated, where this takes too long; if so, says that the test is left out and what is there in its place.
pub(crate) fn is_too_slow(instead: &str) -> bool {
    let is_emulated = env::var_os(EMULATED).is_some_and(|value| value == "1");
    if is_emulated {
        println!("skipped: takes an emulated machine more than ten minutes; {instead}");
    }
    is_emulated
}

/// Whether there are that many CPUs to use; if not, says that the test is left out.
pub(crate) fn has_cpus(count: usize) -> bool {
    let usable = std::thread::available_parallelism().unwrap().get();
    if usable < count {
        println!("skipped: needs {count} CPUs and may use {usable}");
    }
    usable >= count
}

/// A process that does not outlive the test, however that ends.
pub(crate) struct Guarded(pub(crate) Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        // It may have ended long since, as it should.
        let _ = self.0.kill();
        let _ = self.0.wait();
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

/// The program under test.
pub(crate) fn schedscope() -> PathBuf {
    program("schedscope")
}

/// The generators of known workloads; `cargo build --workspace --bins` makes them.
pub(crate) fn workloads() -> String {
    program("schedscope-workloads").into_os_string().into_string().unwrap()
}

/// Where cargo built it, else by its name alone: a virtual machine has it on its path.
fn program(name: &str) -> PathBuf {
    let built = Path::new(env!("CARGO_BIN_EXE_schedscope")).with_file_name(name);
    if built.exists() { built } else { name.into() }
}

/// The interpreter itself, not a launcher that starts it; if there is none, says that the test is left out.
pub(crate) fn python() -> Option<String> {
    let output = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().ok();
    let path = output.filter(|output| output.status.success()).map(|output| String::from_utf8(output.stdout).unwrap());
    if path.is_none() {
        println!("skipped: no python3");
    }
    path.map(|path| path.trim().to_owned())
}

/// A file that is there or not.
pub(crate) fn has_program(name: &str) -> bool {
    env::split_paths(&env::var_os("PATH").unwrap_or_default()).any(|dir| dir.join(OsStr::new(name)).is_file())
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
