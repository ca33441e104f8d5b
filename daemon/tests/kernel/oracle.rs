//! The same figures from other parts of the kernel, read by the tests themselves.

use std::{
    fs,
    io::Write,
    mem,
    os::unix::process::ExitStatusExt,
    process::{Child, Command, ExitStatus, Stdio},
    thread::sleep,
    time::Duration,
};

use perf_event::{Builder, Counter, events::Software};
use procfs::process::Process;
use schedscope::report::{RunReport, schema::ThreadReport};
use tempfile::TempDir;

use super::{
    exact::{assert_consistent, assert_exact},
    host::{self, Guarded, comes_true, has_cpus, is_privileged},
    leftovers::wait_for_programs,
    signals::send,
};

/// From the programs being attached to the processes being known to them.
const SEEDING: Duration = Duration::from_millis(500);

/// `schedscope attach` at work.
struct Attached {
    tracer: Guarded,
    dir: TempDir,
}

impl Attached {
    fn to(processes: &[&Child]) -> Attached {
        let dir = TempDir::new().unwrap();
        let mut command = Command::new(host::schedscope());
        command.args(["attach", "--quiet", "--json"]).arg(dir.path().join("report.json"));
        command.args(processes.iter().flat_map(|process| ["--pid".to_owned(), process.id().to_string()]));
        let tracer = Guarded(command.spawn().unwrap());
        wait_for_programs(tracer.id());
        sleep(SEEDING);
        Attached { tracer, dir }
    }

    /// Waits for the tracer's end, which somebody has brought about.
    fn report(mut self) -> RunReport {
        assert!(self.tracer.wait().unwrap().success());
        serde_json::from_slice(&fs::read(self.dir.path().join("report.json")).unwrap()).unwrap()
    }
}

/// What a task has used by the kernel's account.
#[derive(Debug, Default)]
struct Usage {
    voluntary: u64,
    involuntary: u64,
    cpu_seconds: f64,
}

/// Waits for a child and returns what it and its descendants have used.
fn wait_with_usage(child: &Child) -> (ExitStatus, Usage) {
    let mut status = 0;
    // SAFETY: an all-zero rusage is valid.
    let mut usage: libc::rusage = unsafe { mem::zeroed() };
    // SAFETY: both are valid for writes, and the child is ours and not reaped yet.
    let pid = unsafe { libc::wait4(pid_of(child), &raw mut status, 0, &raw mut usage) };
    assert_eq!(pid, pid_of(child));
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    let usage = Usage {
        voluntary: u64::try_from(usage.ru_nvcsw).unwrap(),
        involuntary: u64::try_from(usage.ru_nivcsw).unwrap(),
        cpu_seconds: seconds(usage.ru_utime) + seconds(usage.ru_stime),
    };
    (ExitStatus::from_raw(status), usage)
}

fn pid_of(child: &Child) -> libc::pid_t {
    libc::pid_t::try_from(child.id()).unwrap()
}

/// A task's counters as `/proc` has them.
#[derive(Debug)]
struct Counters {
    tid: u32,
    voluntary: u64,
    involuntary: u64,
    cpu_seconds: f64,
    migrations: Option<u64>,
}

/// Reads them of every thread of a process, in order.
fn counters(process: &Child) -> Vec<Counters> {
    let tasks = Process::new(pid_of(process)).unwrap().tasks().unwrap();
    let mut counters: Vec<Counters> = tasks
        .map(|task| {
            let task = task.unwrap();
            let status = task.status().unwrap();
            let sched = fs::read_to_string(format!("/proc/{}/task/{}/sched", process.id(), task.tid)).unwrap_or_default();
            let line = sched.lines().find(|line| line.starts_with("se.nr_migrations"));
            Counters {
                tid: u32::try_from(task.tid).unwrap(),
                voluntary: status.voluntary_ctxt_switches.unwrap(),
                involuntary: status.nonvoluntary_ctxt_switches.unwrap(),
                cpu_seconds: task.schedstat().unwrap().sum_exec_runtime as f64 / 1e9,
                migrations: line.map(|line| line.rsplit(':').next().unwrap().trim().parse().unwrap()),
            }
        })
        .collect();
    counters.sort_by_key(|task| task.tid);
    counters
}

/// Waits until every thread of a process is in this state, off its CPU included.
fn wait_for_state(process: &Child, state: char) {
    let is_there = || {
        let tasks = Process::new(pid_of(process)).and_then(|process| process.tasks()).unwrap();
        tasks.flatten().all(|task| task.stat().is_ok_and(|stat| stat.state == state))
    };
    assert!(comes_true(10, is_there), "process {} does not come into state {state}", process.id());
    sleep(Duration::from_millis(50));
}

/// A shell that becomes the workload once it is told to.
fn waiting_workload(arguments: &[&str]) -> Guarded {
    let mut shell = Command::new("sh");
    shell.args(["-c", "read line; exec \"$0\" \"$@\""]).arg(host::workloads()).args(arguments);
    let child = Guarded(shell.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap());
    wait_for_state(&child, 'S');
    child
}

/// A counter of a process and its descendants.
fn perf_counter(event: Software, process: &Child) -> Counter {
    let mut builder = Builder::new().kind(event).observe_pid(pid_of(process)).any_cpu();
    builder.inherit(true).include_kernel().include_hv();
    let mut counter = builder.build().expect("perf_event_open");
    counter.enable().unwrap();
    counter
}

#[test]
fn whole_process_trees_agree_with_resource_usage_and_perf() {
    if !is_privileged() {
        return;
    }
    for arguments in [
        &["ping-pong", "--switches", "20000", "--normal-policy"][..],
        &["sleepers", "--count", "8", "--seconds", "0.5"],
        &["yield-loop", "--count", "5000"],
        &["fork-storm", "--count", "97", "--exec"],
    ] {
        let mut child = waiting_workload(arguments);
        let before = counters(&child).pop().unwrap();
        let attached = Attached::to(&[&child]);
        let mut perf = perf_counter(Software::CONTEXT_SWITCHES, &child);
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        let (status, usage) = wait_with_usage(&child);
        assert!(status.success(), "{arguments:?}: {status}");
        let perf = perf.read().unwrap();
        let report = attached.report();
        assert_exact(&report);
        assert_agrees_with_usage(&report, &before, &usage);
        // perf lets go of a thread before it ends: it may be preempted once more, and then it leaves the CPU for good.
        let switches = report.switches.voluntary + report.switches.preempted + report.switches.yielded;
        let unseen = switches.checked_sub(perf).expect("perf has counted more");
        assert!(
            (report.tasks.threads..=2 * report.tasks.threads + 2).contains(&unseen),
            "{unseen} more than perf, {:?}",
            report.tasks
        );
    }
}

/// A thread's usage is added up when it begins to end; only a process waits to be reaped. After that a thread may be preempted
/// once more, and then it leaves the CPU for good.
fn assert_agrees_with_usage(report: &RunReport, before: &Counters, usage: &Usage) {
    let (threads, processes) = (report.tasks.threads, report.tasks.processes);
    let all = (&report.switches, &report.tasks, before, usage);
    let unseen = |ours: u64, theirs: u64| ours.checked_sub(theirs).unwrap_or_else(|| panic!("we missed some: {all:?}"));
    let voluntary = unseen(report.switches.voluntary, usage.voluntary - before.voluntary);
    assert!((threads - processes..=threads).contains(&voluntary), "{voluntary} more: {all:?}");
    let involuntary = unseen(report.switches.preempted + report.switches.yielded, usage.involuntary - before.involuntary);
    assert!(involuntary <= threads + 2, "{involuntary} more: {all:?}");
    let cpu_seconds = usage.cpu_seconds - before.cpu_seconds;
    let difference = report.time_seconds.on_cpu - cpu_seconds;
    assert!(difference.abs() <= 1e-3 * cpu_seconds + 50e-6 * threads as f64, "{difference} s more than {cpu_seconds} s");
}

#[test]
fn forced_migrations_agree_with_perf() {
    if !is_privileged() || !has_cpus(2) {
        return;
    }
    let mut child = waiting_workload(&["migrate", "--count", "997"]);
    let attached = Attached::to(&[&child]);
    let mut perf = perf_counter(Software::CPU_MIGRATIONS, &child);
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    assert!(child.wait().unwrap().success());
    let perf = perf.read().unwrap();
    let report = attached.report();
    assert_exact(&report);
    assert!(perf >= 997 && (perf..=perf + 5).contains(&report.migrations.total), "{perf} by perf: {:?}", report.migrations);
}

#[test]
fn threads_that_were_there_before_agree_with_proc() {
    if !is_privileged() {
        return;
    }
    let start = |arguments: &[&str]| {
        let child = Guarded(Command::new(host::workloads()).args(arguments).stdout(Stdio::null()).spawn().unwrap());
        sleep(Duration::from_millis(200));
        child
    };
    let processes = [
        start(&["native", "--task", "spin", "--model", "threads", "--workers", "3", "--seconds", "60"]),
        start(&["sleepers", "--count", "8", "--seconds", "60", "--pause", "0.003"]),
    ];
    let freeze = || {
        for process in &processes {
            send(process.id(), libc::SIGSTOP);
        }
        for process in &processes {
            wait_for_state(process, 'T');
        }
    };
    freeze();
    let before = processes.each_ref().map(|process| counters(process));
    let attached = Attached::to(&processes.each_ref().map(|process| &**process));
    for process in &processes {
        send(process.id(), libc::SIGCONT);
    }
    sleep(Duration::from_secs(1));
    freeze();
    let after = processes.each_ref().map(|process| counters(process));
    send(attached.tracer.id(), libc::SIGINT);
    let report = attached.report();

    assert_consistent(&report);
    assert_eq!((report.tasks.processes, report.tasks.still_alive), (2, 4 + 9), "{:?}", report.tasks);
    for (before, after) in before.iter().flatten().zip(after.iter().flatten()) {
        assert_eq!(before.tid, after.tid);
        let thread = report.threads.iter().find(|thread| thread.tid == after.tid).unwrap();
        assert!(thread.seeded && !thread.ended, "{thread:?}");
        assert_growth(thread, before, after);
    }
}

fn assert_growth(thread: &ThreadReport, before: &Counters, after: &Counters) {
    assert_eq!(thread.voluntary, after.voluntary - before.voluntary, "{thread:?} {before:?} {after:?}");
    assert_eq!(thread.preempted + thread.yielded, after.involuntary - before.involuntary, "{thread:?} {before:?} {after:?}");
    if let (Some(before), Some(after)) = (before.migrations, after.migrations) {
        assert_eq!(thread.migrations, after - before, "{thread:?}");
    }
    let cpu_seconds = after.cpu_seconds - before.cpu_seconds;
    let difference = thread.on_cpu_seconds - cpu_seconds;
    assert!(difference.abs() <= 1e-3 * cpu_seconds + 50e-6, "{difference} s more than {cpu_seconds} s: {thread:?}");
}

#[test]
fn switches_of_the_host_fit_into_those_of_proc_stat() {
    if !is_privileged() {
        return;
    }
    let total = || {
        let text = fs::read_to_string("/proc/stat").unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("ctxt ")).unwrap();
        line.parse::<u64>().unwrap()
    };
    let before = total();
    let traced = super::traced::workload(&["ping-pong", "--switches", "200000"]);
    let during = total() - before;
    let host = &traced.report.host;
    assert!(host.switches <= during && host.switches >= 200_000, "{host:?}, {during} by /proc/stat");
    assert!(host.switches_from_idle <= host.switches, "{host:?}");
}
