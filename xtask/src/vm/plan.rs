//! What is run inside a machine, and what comes back: the contract between [`super::guest`] and its host.

use schedscope_ebpf::loss::Loss;
use serde::{Deserialize, Serialize};

use crate::architecture::Architecture;

/// File of the plan in the initramfs.
pub(crate) const PLAN: &str = "/plan.json";
/// File that a traced step writes its report to.
pub(crate) const REPORT: &str = "/tmp/report.json";
/// Set for the tests where time is emulated: what takes seconds on a host takes minutes there.
pub(crate) const EMULATED: &str = "SCHEDSCOPE_EMULATED";
/// Set for the tests that change a whole machine: its CPUs, its process ids.
pub(crate) const OWN_MACHINE: &str = "SCHEDSCOPE_OWN_MACHINE";

/// CPUs of the machine: 2 sockets of 2 cores of 2 threads. Neighbours in number are siblings, 0 to 3 are one socket and one node.
pub(crate) const CPUS: u32 = 8;

/// Lets the kernel give as many process ids as by default on this many CPUs.
const USUAL_PIDS: &str = "echo 32768 > /proc/sys/kernel/pid_max";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Step {
    pub name: String,
    pub expect: Expect,
    pub command: Vec<String>,
    /// After this time it is killed.
    pub timeout_seconds: u64,
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
    /// The same, and at least so many migrations between CPUs at this distance.
    Migrations {
        /// As in the report's `by_distance`.
        distance: String,
        at_least: u64,
    },
    /// The same, and at least so many seconds on one CPU.
    OnCpu {
        cpu: u32,
        at_least_seconds: f64,
    },
    /// The same for the threads that are traced; each of the others is counted as one loss.
    Refused {
        reason: String,
        /// All threads of the workload, traced or not.
        threads: u64,
    },
    Tests,
}

/// A line from the machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Message {
    /// It has booted this kernel.
    Ready {
        release: String,
    },
    Done(Outcome),
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub name: String,
    /// `None` if it was killed or could not be started.
    pub exit_code: Option<i32>,
    pub wall_seconds: f64,
    /// The end of what it printed.
    pub output: String,
    /// What it reported, without lists by thread and over time.
    pub report: Option<serde_json::Value>,
}

/// Workloads whose tasks, switches and migrations are known, by name.
const KNOWN: [(&str, &str); 10] = [
    ("mixed", "mixed --seconds 1"),
    ("ping-pong", "ping-pong --switches 2000"),
    ("ping-pong --normal-policy", "ping-pong --switches 2000 --normal-policy"),
    ("yield-loop", "yield-loop --count 2000 --threads 3"),
    ("many-threads", "many-threads --count 300"),
    ("sleepers", "sleepers --count 32 --seconds 0.5"),
    ("interrupted", "interrupted"),
    ("fork-storm", "fork-storm --count 100 --parallel 8 --exec"),
    ("double-fork", "double-fork"),
    ("exec-from-thread", "exec-from-thread"),
];

/// Everything, quick things first. `chosen` are parts of the names of the wanted tests; all tests if there are none.
pub(crate) fn whole(tests: &[String], chosen: &[String], architecture: Architecture) -> Vec<Step> {
    let mut steps = reports();
    steps.extend(KNOWN.map(|(name, arguments)| traced(name, Expect::Exact, &format!("exec schedscope-workloads {arguments}"))));
    steps.extend(placed(architecture));
    // Many threads alive at once; more would take an emulated machine too long, and are tested on the host.
    let crowd = traced("many-threads: 3000", Expect::Exact, "exec schedscope-workloads many-threads --count 3000");
    steps.push(Step { timeout_seconds: 900, ..crowd });
    steps.push(high_pids());
    steps.extend(tests.iter().map(|path| test_program(path, chosen)));
    // Last: what runs after it lives with few pids.
    steps.push(few_pids());
    steps
}

/// What there is time for in every test run. Loading takes an emulated machine longer than most workloads, so one run has all of
/// them here.
pub(crate) fn brief(tests: &[String], architecture: Architecture) -> Vec<Step> {
    let mut steps = reports();
    let script = KNOWN.map(|(_, arguments)| format!("schedscope-workloads {arguments}")).join("; ");
    steps.push(traced("workloads of known truth", Expect::Exact, &script));
    steps.extend(placed(architecture));
    let chosen = ["kernel::machine", "kernel::policies::runs_that_the_kernel_leaves_out"].map(ToOwned::to_owned);
    steps.extend(tests.iter().map(|path| test_program(path, &chosen)));
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

/// Threads on chosen CPUs and under real-time policies.
fn placed(architecture: Architecture) -> Vec<Step> {
    // Back and forth between two CPUs, at each distance that there is.
    let between = |name, cpus: &str, distance: &str| {
        let expect = Expect::Migrations { distance: distance.to_owned(), at_least: 1000 };
        traced(name, expect, &format!("exec taskset -c {cpus} schedscope-workloads migrate --count 1000"))
    };
    // A CPU goes offline and comes back, twice, under threads that compute.
    let hotplug = |name, pin: &str, workers: u32| {
        let script = format!(
            "{pin} schedscope-workloads native --task spin --model threads --workers {workers} --seconds 3000 & \
             for value in 0 1 0 1; do sleep 0.8; echo $value > /sys/devices/system/cpu/cpu5/online; done; kill $!; wait"
        );
        traced(name, Expect::OnCpu { cpu: 5, at_least_seconds: 0.2 }, &script)
    };
    let fifo = "exec chrt --fifo 10 schedscope-workloads ping-pong --switches 1000 --normal-policy";
    let round_robin = "exec chrt --rr 10 schedscope-workloads yield-loop --count 1000 --threads 3";
    let mut steps = vec![between("migrate: cores", "0,2", "llc")];
    if architecture.tells_of_caches() {
        steps.extend([between("migrate: siblings", "0,1", "smt"), between("migrate: sockets", "0,4", "remote")]);
    }
    steps.extend([
        traced("SCHED_FIFO ping-pong", Expect::Exact, fifo),
        traced("SCHED_RR yield-loop", Expect::Exact, round_robin),
        // More threads than CPUs, and some confined to the CPU that goes away.
        hotplug("CPU hotplug", "", 16),
        hotplug("CPU hotplug: confined", "taskset -c 5", 2),
    ]);
    steps
}

/// Process ids above the highest possible when tracing began.
fn high_pids() -> Step {
    let expect = Expect::Refused { reason: Loss::PidBeyondTable.name().to_owned(), threads: 2001 };
    let script = format!("{USUAL_PIDS}; exec schedscope-workloads fork-storm --count 2000");
    with_few_pids(traced("pids beyond the table", expect, &script))
}

/// Process ids that wrap many times, while some threads live on.
fn few_pids() -> Step {
    let script =
        "schedscope-workloads sleepers --count 8 --seconds 4 & schedscope-workloads fork-storm --count 1500 --parallel 8; wait";
    with_few_pids(traced("pids wrap", Expect::Exact, script))
}

/// From the start of the tracer on, the kernel gives only process ids below 700, of which the lowest 300 are used in the first round
/// only.
fn with_few_pids(mut step: Step) -> Step {
    let script = "echo 700 > /proc/sys/kernel/pid_max; exec \"$0\" \"$@\"";
    step.command.splice(0..0, ["sh", "-e", "-c", script].map(str::to_owned));
    step
}

/// A script under `schedscope run`.
fn traced(name: &str, expect: Expect, script: &str) -> Step {
    step(name, expect, &["schedscope", "run", "--quiet", "--wait-all", "--json", REPORT, "--", "sh", "-e", "-c", script])
}

fn step(name: &str, expect: Expect, command: &[&str]) -> Step {
    let command = command.iter().map(ToString::to_string).collect();
    // Seconds on a host, a minute or two on an emulated ARM processor beside other work.
    Step { name: name.to_owned(), expect, command, timeout_seconds: 300 }
}
