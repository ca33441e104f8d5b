//! What is run inside a machine, and what comes back: the contract of [`super::guest`] and its host.

use schedscope_ebpf::loss::Loss;
use serde::{Deserialize, Serialize};

/// File of the plan in the initramfs.
pub(crate) const PLAN: &str = "/plan.json";
/// File that a traced step writes its report to.
pub(crate) const REPORT: &str = "/tmp/report.json";
/// File that a workload makes when it starts.
pub(crate) const STARTED: &str = "/tmp/started";
/// Set for the tests that load BPF programs; without it they leave themselves out.
pub(crate) const PRIVILEGED: &str = "SCHEDSCOPE_PRIVILEGED";
/// Set for the tests where time is emulated: what takes a host seconds takes minutes there.
pub(crate) const EMULATED: &str = "SCHEDSCOPE_EMULATED";
/// Set for the tests that change what a whole machine has: its CPUs, its process ids.
pub(crate) const OWN_MACHINE: &str = "SCHEDSCOPE_OWN_MACHINE";

/// CPUs of the machine: 2 sockets of 2 cores of 2 threads. Neighbours in number are siblings, 0 to 3 are one socket and one node.
pub(crate) const CPUS: u32 = 8;

/// The kernel's highest process id.
const PID_MAX: &str = "/proc/sys/kernel/pid_max";
/// The lowest 300 are used in the first round only.
const FEW_PIDS: &str = "700";
/// What it is by itself on so many CPUs.
const USUAL_PIDS: &str = "32768";

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
    /// Files of /proc and /sys to write before it starts.
    pub before: Vec<Write>,
    /// Files to write while the traced workload runs, each so long after its start; it must go on until then.
    pub during: Vec<Write>,
}

/// What a step has to show.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Expect {
    /// `schedscope doctor`: every program is loaded.
    Doctor,
    /// `schedscope check`: no line of its table is out of bounds.
    Check,
    /// A traced run whose counts equal the kernel's.
    Exact,
    /// The same, and that many migrations at least between CPUs at this distance.
    Migrations {
        /// As in the report's `by_distance`.
        distance: String,
        /// How many the workload causes.
        at_least: u64,
    },
    /// The same, and so many seconds on one CPU at least.
    OnCpu {
        /// The CPU.
        cpu: u32,
        /// What the workload spends there.
        at_least_seconds: f64,
    },
    /// The same for the threads that are traced; the others are counted as one loss each.
    Refused {
        /// Name of the loss.
        reason: String,
        /// Threads that the workload has, both kinds together.
        threads: u64,
    },
    /// A test program of Rust's.
    Tests,
}

/// A value for a file of the kernel's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Write {
    /// From the start of the workload.
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
    /// Writes that were to be done while it ran, and for which it did not run long enough.
    pub writes_late: usize,
}

/// Everything, quick things first. `chosen` are parts of the names of the tests that are wanted; all of them if there are none.
pub(crate) fn whole(tests: &[String], chosen: &[String]) -> Vec<Step> {
    let mut steps = reports();
    steps.extend(truth().iter().map(|arguments| traced(&name_of(arguments), Expect::Exact, &workload(arguments))));
    steps.extend(migrations());
    steps.extend(policies());
    steps.extend(hotplug());
    steps.push(crowd());
    steps.push(high_pids());
    steps.extend(tests.iter().map(|path| test_program(path, chosen)));
    // Last: what runs after it lives with few pids.
    steps.push(few_pids());
    steps
}

/// What there is time for whenever tests are run: loading takes an emulated machine longer than most workloads, so all of them are
/// one run here.
pub(crate) fn brief(tests: &[String]) -> Vec<Step> {
    let mut steps = reports();
    let script: Vec<String> = truth().iter().map(|arguments| workload(arguments).join(" ")).collect();
    steps.push(traced("workloads of known truth", Expect::Exact, &["sh", "-e", "-c", &script.join("; ")]));
    steps.extend(migrations());
    steps.extend(policies());
    steps.extend(hotplug());
    let has_them = |path: &&String| path.rsplit('/').next().is_some_and(|name| name.starts_with("privileged"));
    let chosen = ["kernel::machine", "kernel::policies::runs_that_the_kernel_leaves_out"].map(ToOwned::to_owned);
    steps.extend(tests.iter().filter(has_them).map(|path| test_program(path, &chosen)));
    steps.push(few_pids());
    steps
}

fn reports() -> Vec<Step> {
    vec![
        step("doctor", Expect::Doctor, &["schedscope", "doctor"]),
        step("check", Expect::Check, &["schedscope", "check", "--json", REPORT]),
    ]
}

fn test_program(path: &str, chosen: &[String]) -> Step {
    let name = path.rsplit('/').next().unwrap_or(path);
    let command: Vec<&str> =
        [path, "--show-output", "--test-threads=1"].into_iter().chain(chosen.iter().map(String::as_str)).collect();
    Step { timeout_seconds: 1800, ..step(name.split('-').next().unwrap_or(name), Expect::Tests, &command) }
}

/// Workloads whose tasks, switches and migrations are known.
fn truth() -> [&'static [&'static str]; 9] {
    [
        &["mixed", "--seconds", "1"],
        &["ping-pong", "--switches", "2000"],
        &["ping-pong", "--switches", "2000", "--normal-policy"],
        &["yield-loop", "--count", "2000", "--threads", "3"],
        &["many-threads", "--count", "300"],
        &["sleepers", "--count", "32", "--seconds", "0.5"],
        &["fork-storm", "--count", "100", "--parallel", "8", "--exec"],
        &["double-fork"],
        &["exec-from-thread"],
    ]
}

/// The workload's name, and the flag that tells it from another of that name.
fn name_of(arguments: &[&str]) -> String {
    let is_flag = |word: &&&str| **word == "--normal-policy";
    arguments.iter().take(1).chain(arguments.iter().filter(is_flag)).copied().collect::<Vec<_>>().join(" ")
}

/// A thread that goes to and fro between two CPUs, at each distance that there is.
fn migrations() -> Vec<Step> {
    let places = [("siblings", "0,1", "smt"), ("cores", "0,2", "llc"), ("sockets", "0,4", "remote")];
    let between = |(place, cpus, distance): (&str, &str, &str)| {
        let expect = Expect::Migrations { distance: distance.to_owned(), at_least: 1000 };
        let command = [&["taskset", "-c", cpus][..], &workload(&["migrate", "--count", "1000"])].concat();
        traced(&format!("migrate: {place}"), expect, &command)
    };
    places.map(between).to_vec()
}

/// Tasks under real-time policies.
fn policies() -> Vec<Step> {
    let of = |name: &str, policy: &str, arguments: &[&str]| {
        traced(name, Expect::Exact, &[&["chrt", policy, "10"][..], &workload(arguments)].concat())
    };
    vec![
        of("SCHED_FIFO ping-pong", "--fifo", &["ping-pong", "--switches", "1000", "--normal-policy"]),
        of("SCHED_RR yield-loop", "--rr", &["yield-loop", "--count", "1000", "--threads", "3"]),
    ]
}

/// A CPU that goes away and comes back, twice, under threads that compute: more of them than CPUs, and some that are confined to it.
fn hotplug() -> Vec<Step> {
    let spin = |workers: &'static str| {
        workload(&["native", "--task", "spin", "--model", "threads", "--workers", workers, "--seconds", "4"])
    };
    let during: Vec<Write> = [(800, "0"), (1600, "1"), (2400, "0"), (3200, "1")]
        .iter()
        .map(|(after_ms, value)| write(*after_ms, "/sys/devices/system/cpu/cpu5/online", value))
        .collect();
    let expect = Expect::OnCpu { cpu: 5, at_least_seconds: 0.2 };
    vec![
        Step { during: during.clone(), ..traced("CPU hotplug", expect.clone(), &spin("16")) },
        Step { during, ..traced("CPU hotplug: confined", expect, &[&["taskset", "-c", "5"][..], &spin("2")].concat()) },
    ]
}

/// Many threads alive at once; more of them take an emulated machine too long, and are tested on the host.
fn crowd() -> Step {
    let command = workload(&["many-threads", "--count", "3000"]);
    Step { timeout_seconds: 900, ..traced("many-threads: 3000", Expect::Exact, &command) }
}

/// Process ids above the highest one that there was when tracing began.
fn high_pids() -> Step {
    let expect = Expect::Refused { reason: Loss::PidBeyondTable.name().to_owned(), threads: 2001 };
    Step {
        before: vec![write(0, PID_MAX, FEW_PIDS)],
        during: vec![write(500, PID_MAX, USUAL_PIDS)],
        ..traced("pids beyond the table", expect, &workload(&["fork-storm", "--count", "2000"]))
    }
}

/// Process ids that come round many times, while some threads live on.
fn few_pids() -> Step {
    let script =
        "schedscope-workloads sleepers --count 8 --seconds 4 & schedscope-workloads fork-storm --count 1500 --parallel 8; wait";
    let before = vec![write(0, PID_MAX, FEW_PIDS)];
    Step { before, ..traced("pids wrap", Expect::Exact, &["sh", "-c", script]) }
}

fn step(name: &str, expect: Expect, command: &[&str]) -> Step {
    let command = command.iter().map(ToString::to_string).collect();
    Step { name: name.to_owned(), expect, command, timeout_seconds: 120, before: Vec::new(), during: Vec::new() }
}

fn workload<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [&["schedscope-workloads"], arguments].concat()
}

/// A command under `schedscope run`, which says when it starts.
fn traced(name: &str, expect: Expect, command: &[&str]) -> Step {
    let tracer = ["schedscope", "run", "--quiet", "--wait-all", "--json", REPORT, "--"];
    let start = ["sh", "-c", "echo > /tmp/started; exec \"$0\" \"$@\""];
    step(name, expect, &[&tracer[..], &start, command].concat())
}

fn write(after_ms: u64, path: &str, value: &str) -> Write {
    Write { after_ms, path: path.to_owned(), value: value.to_owned() }
}
