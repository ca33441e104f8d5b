//! `schedscope run` and what came of it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus};

use schedscope::report::RunReport;
use schedscope::report::schema::ThreadReport;
use serde_json::Value;
use tempfile::TempDir;

use super::exact::{assert_consistent, assert_exact, foreign_share};
use super::host::{self, Guarded};

pub(crate) struct Running {
    pub(crate) process: Guarded,
    dir: TempDir,
}

/// As a shell starts a command.
pub(crate) fn in_own_group(command: &mut Command) {
    command.process_group(0);
}

impl Running {
    /// Starts it in a process group of its own.
    pub(crate) fn start(subcommand: &str, arguments: &[&str]) -> Running {
        Running::start_with(subcommand, arguments, in_own_group)
    }

    /// The same with something else to be done to the tracer before its start.
    pub(crate) fn start_with(subcommand: &str, arguments: &[impl AsRef<OsStr>], change: impl FnOnce(&mut Command)) -> Running {
        let dir = TempDir::new().unwrap();
        let file = |name: &str| File::create(dir.path().join(name)).unwrap();
        let mut command = Command::new(host::schedscope());
        command.arg(subcommand).arg("--json").arg(dir.path().join("report.json")).args(arguments);
        ignore_nothing(&mut command);
        change(&mut command);
        let process = Guarded(command.stdout(file("stdout")).stderr(file("stderr")).spawn().unwrap());
        Running { process, dir }
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn stdout(&self) -> String {
        self.read("stdout")
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join(name)).unwrap_or_default()
    }

    pub(crate) fn end(mut self) -> Traced {
        let status = self.process.wait().unwrap();
        let (stdout, stderr) = (self.stdout(), self.read("stderr"));
        let report = serde_json::from_str(&self.read("report.json"));
        Traced { report: report.unwrap_or_else(|error| panic!("{error}; {status}; {stderr}")), stdout, stderr, status }
    }
}

/// Whoever runs the tests may ignore signals, as `nohup` and shells in the background do.
fn ignore_nothing(command: &mut Command) {
    // SAFETY: the closure makes system calls only.
    unsafe {
        command.pre_exec(|| {
            for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
                libc::signal(signal, libc::SIG_DFL);
            }
            Ok(())
        });
    }
}

/// What a traced command and the tracer left.
pub(crate) struct Traced {
    /// From `--json`.
    pub report: RunReport,
    pub stdout: String,
    /// What the tracer printed, and the command on its standard error.
    pub stderr: String,
    pub status: ExitStatus,
}

impl Traced {
    pub(crate) fn workload(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }

    /// A number of what the workload says must have happened.
    pub(crate) fn expected(&self, key: &str) -> u64 {
        let workload = self.workload();
        workload["expected"][key].as_u64().unwrap_or_else(|| panic!("no {key} in {workload}"))
    }
}

/// Whether others used more than this share of the CPUs; if so, says what is not judged.
pub(crate) fn is_disturbed(report: &RunReport, share: f64, unjudged: &str) -> bool {
    let used = foreign_share(report);
    if used > share {
        println!("skipped, since others used {:.0} % of the CPUs: {unjudged}", 100.0 * used);
    }
    used > share
}

pub(crate) fn thread(report: &RunReport, tid: u32) -> &ThreadReport {
    let found = report.threads.iter().find(|thread| thread.tid == tid);
    found.unwrap_or_else(|| panic!("thread {tid} is not in the report"))
}

pub(crate) fn run(command: &[&str]) -> Traced {
    run_with(&[], command)
}

/// Runs a Python program, whose report must add up; `None` if there is no Python, or this is no place to load BPF programs.
pub(crate) fn run_python(script: &str, arguments: &[&str]) -> Option<Traced> {
    host::privileged()?;
    let python = host::python()?;
    let traced = run(&[&[python.as_str(), "-c", script], arguments].concat());
    assert!(traced.status.success(), "{}", traced.status);
    assert_consistent(&traced.report);
    Some(traced)
}

pub(crate) fn run_with(options: &[&str], command: &[&str]) -> Traced {
    Running::start("run", &[&["--quiet"], options, &["--"], command].concat()).end()
}

/// Traces a workload of known truth to the end of its last process. It must have done its work, and every count must be the kernel's.
/// `None` if this is no place to load BPF programs.
pub(crate) fn exact(arguments: &str) -> Option<Traced> {
    host::privileged()?;
    let program = host::workloads();
    let command: Vec<&str> = [program.as_str()].into_iter().chain(arguments.split(' ')).collect();
    let traced = run_with(&["--wait-all", "--check"], &command);
    assert!(traced.status.success(), "{arguments}: {}", traced.status);
    assert_exact(&traced.report);
    Some(traced)
}
