//! What is run inside a machine, and what comes back: the contract of [`super::guest`] and its host.

use serde::{Deserialize, Serialize};

/// File of the plan in the initramfs.
pub(crate) const PLAN: &str = "/plan.json";
/// File that a traced step writes its report to.
pub(crate) const REPORT: &str = "/tmp/report.json";
/// Set for the tests that load BPF programs; without it they leave themselves out.
pub(crate) const PRIVILEGED: &str = "SCHEDSCOPE_PRIVILEGED";

/// Set for the tests where time is emulated: counts are exact there as anywhere, but how long something takes says little.
pub(crate) const EMULATED: &str = "SCHEDSCOPE_EMULATED";

/// CPUs of the machine: 2 sockets of 2 cores of 2 threads. Neighbours in number are siblings, 0 to 3 are one socket and one node.
pub(crate) const CPUS: u32 = 8;

/// One command to run inside.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Step {
    /// Name in the report.
    pub name: String,
    /// What to make of it.
    pub expect: Expect,
    /// Program and arguments.
    pub command: Vec<String>,
    /// After that it is killed.
    pub timeout_seconds: u64,
    /// Files of /proc and /sys to write while it runs, or before for 0.
    pub writes: Vec<Write>,
}

/// What a step has to show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Expect {
    /// `schedscope doctor`: every program is loaded.
    Doctor,
    /// A traced run whose counts equal the kernel's.
    Exact,
    /// The same, and that many migrations at least between CPUs at this distance.
    Migrations {
        /// As in the report's `by_distance`.
        distance: String,
        /// How many the workload causes.
        at_least: u64,
    },
    /// A test program of Rust's.
    Tests,
    /// Exit code 0.
    Success,
}

/// A value for a file of the kernel's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Write {
    /// From the start of the step.
    pub after_ms: u64,
    /// The file.
    pub path: String,
    /// What to write.
    pub value: String,
}

/// A line from the machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Message {
    /// It has booted this kernel.
    Ready {
        /// `uname -r`.
        release: String,
    },
    /// A step has ended.
    Done(Outcome),
    /// No more to come.
    End,
}

/// How a step ended.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// The step's.
    pub name: String,
    /// `None` if it was killed or could not be started.
    pub exit_code: Option<i32>,
    /// How long it took.
    pub wall_seconds: f64,
    /// The end of what it printed.
    pub output: String,
    /// What it reported, without lists by thread and over time.
    pub report: Option<serde_json::Value>,
}

/// Everything, quick things first.
pub(crate) fn steps(tests: &[String]) -> Vec<Step> {
    let mut steps = vec![step("doctor", Expect::Doctor, &["schedscope", "doctor"])];
    let storm = ["fork-storm", "--count", "1500", "--parallel", "8"];
    for arguments in [
        &["mixed", "--seconds", "1"][..],
        &["ping-pong", "--switches", "2000"],
        &["ping-pong", "--switches", "2000", "--normal-policy"],
        &["yield-loop", "--count", "2000", "--threads", "3"],
        &["many-threads", "--count", "300"],
        &["sleepers", "--count", "32", "--seconds", "0.5"],
        &["fork-storm", "--count", "100", "--parallel", "8", "--exec"],
        &["double-fork"],
        &["exec-from-thread"],
    ] {
        steps.push(traced(arguments[0], Expect::Exact, &[], arguments));
    }
    for (place, cpus, distance) in [("siblings", "0,1", "smt"), ("cores", "0,2", "llc"), ("sockets", "0,4", "remote")] {
        let expect = Expect::Migrations { distance: distance.to_owned(), at_least: 500 };
        steps.push(traced(&format!("migrate: {place}"), expect, &["taskset", "-c", cpus], &["migrate", "--count", "500"]));
    }
    steps.push(traced("SCHED_FIFO", Expect::Exact, &["chrt", "--fifo", "10"], &["ping-pong", "--switches", "500"]));
    steps.push(Step {
        writes: vec![
            write(400, "/sys/devices/system/cpu/cpu5/online", "0"),
            write(1200, "/sys/devices/system/cpu/cpu5/online", "1"),
        ],
        ..traced("CPU hotplug", Expect::Exact, &[], &["mixed", "--seconds", "2"])
    });
    steps.extend(tests.iter().map(|path| {
        let name = path.rsplit('/').next().unwrap_or(path);
        Step {
            timeout_seconds: 900,
            ..step(name.split('-').next().unwrap_or(name), Expect::Tests, &[path, "--show-output", "--test-threads=1"])
        }
    }));
    // Last: what runs after it lives with few pids.
    steps.push(Step {
        writes: vec![write(0, "/proc/sys/kernel/pid_max", "700")],
        ..traced("pids wrap", Expect::Exact, &[], &storm)
    });
    steps
}

fn step(name: &str, expect: Expect, command: &[&str]) -> Step {
    let command = command.iter().map(ToString::to_string).collect();
    Step { name: name.to_owned(), expect, command, timeout_seconds: 120, writes: Vec::new() }
}

/// A workload with known truth under `schedscope run`. The tool has the same limits as the workload.
fn traced(name: &str, expect: Expect, prefix: &[&str], workload: &[&str]) -> Step {
    let tracer = ["schedscope", "run", "--quiet", "--wait-all", "--json", REPORT, "--", "schedscope-workloads"];
    step(name, expect, &[prefix, &tracer, workload].concat())
}

fn write(after_ms: u64, path: &str, value: &str) -> Write {
    Write { after_ms, path: path.to_owned(), value: value.to_owned() }
}
