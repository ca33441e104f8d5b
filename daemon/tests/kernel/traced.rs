//! A run under `schedscope`, and what came of it.

use std::process::{Command, ExitStatus, Output};

use schedscope::report::RunReport;
use serde_json::Value;
use tempfile::TempDir;

use super::{exact::assert_consistent, host};

/// What a traced command and the tracer left.
pub(crate) struct Traced {
    /// From `--json`.
    pub report: RunReport,
    /// What the command printed.
    pub stdout: String,
    /// How the tracer ended.
    pub status: ExitStatus,
}

impl Traced {
    /// The line of JSON that the workload programs print.
    pub(crate) fn workload(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }

    /// A number of what the workload says must have happened.
    pub(crate) fn expected(&self, key: &str) -> u64 {
        let workload = self.workload();
        workload["expected"][key].as_u64().unwrap_or_else(|| panic!("no {key} in {workload}"))
    }
}

/// Runs a command to its end.
pub(crate) fn run(command: &[&str]) -> Traced {
    run_with(&[], command)
}

/// Runs a Python program, whose report must add up; `None` if there is no Python, or this is no place to load BPF programs.
pub(crate) fn run_python(script: &str, arguments: &[&str]) -> Option<Traced> {
    if !host::is_privileged() {
        return None;
    }
    let python = host::python()?;
    let command: Vec<&str> = [python.as_str(), "-c", script].into_iter().chain(arguments.iter().copied()).collect();
    let traced = run(&command);
    assert!(traced.status.success(), "{}", traced.status);
    assert_consistent(&traced.report);
    Some(traced)
}

/// Runs a command with options for `schedscope run`.
pub(crate) fn run_with(options: &[&str], command: &[&str]) -> Traced {
    let dir = TempDir::new().unwrap();
    let json = dir.path().join("report.json");
    let mut tracer = Command::new(host::schedscope());
    tracer.args(["run", "--quiet", "--json"]).arg(&json).args(options).arg("--").args(command);
    let Output { status, stdout, stderr } = tracer.output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    let text = std::fs::read_to_string(&json).unwrap_or_else(|error| panic!("{command:?}: {error}; {status}; {stderr}"));
    Traced { report: serde_json::from_str(&text).unwrap(), stdout: String::from_utf8(stdout).unwrap(), status }
}

/// Traces a workload of known truth to the end of its last process; it must have done its work.
pub(crate) fn workload(arguments: &[&str]) -> Traced {
    let program = host::workloads();
    let command: Vec<&str> = [program.as_str()].into_iter().chain(arguments.iter().copied()).collect();
    let traced = run_with(&["--wait-all"], &command);
    assert!(traced.status.success(), "{command:?}: {}", traced.status);
    traced
}
