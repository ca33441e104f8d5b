//! Where short processes are counted: by what they exec, from their exec on.

use std::ffi::CStr;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;
use std::{io, ptr};

use procfs::process::Process;
use tempfile::TempDir;

use super::host::{Guarded, comes_true, own_time, privileged, python};
use super::served::{Daemon, Totals, assert_never_down, lost, rule, sum};

/// Some 2 ms of work for the shell.
const WORK: &str = "i=0; while [ $i -lt 1500 ]; do i=$((i+1)); done";
const WORK_C: &CStr = c"i=0; while [ $i -lt 1500 ]; do i=$((i+1)); done";

/// A program of its own: the shell under another name.
fn program(dir: &Path, name: &str) -> PathBuf {
    let path = dir.join(name);
    fs::copy(fs::canonicalize("/bin/sh").unwrap(), &path).unwrap();
    path
}

/// A rule for the executables in a directory.
fn rule_for(name: &str, dir: &Path) -> String {
    format!("[[workload]]\nname = \"{name}\"\nmatch = {{ exe = \"{}/*\" }}\n", fs::canonicalize(dir).unwrap().display())
}

fn quiet(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}

/// Switches and nanoseconds on a CPU of the main thread of a process, by the kernel.
#[derive(Clone, Copy, Debug, Default)]
struct Kernel {
    switches: u64,
    involuntary: u64,
    on_cpu_ns: u64,
}

impl Kernel {
    fn of(process: &Child) -> Kernel {
        let process = Process::new(process.id().cast_signed()).unwrap();
        let status = process.status().unwrap();
        let involuntary = status.nonvoluntary_ctxt_switches.unwrap();
        let switches = status.voluntary_ctxt_switches.unwrap() + involuntary;
        Kernel { switches, involuntary, on_cpu_ns: process.schedstat().unwrap().sum_exec_runtime }
    }

    fn all(processes: &[Child]) -> Kernel {
        let each = processes.iter().map(Kernel::of);
        each.fold(Kernel::default(), |sum, one| Kernel {
            switches: sum.switches + one.switches,
            involuntary: sum.involuntary + one.involuntary,
            on_cpu_ns: sum.on_cpu_ns + one.on_cpu_ns,
        })
    }
}

/// Waits until a child has ended, and leaves it to be looked at.
fn wait_for_end(child: &Child) {
    // SAFETY: all zeros are a `siginfo_t`; the call writes nothing else, and the child is not reaped.
    let status = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        libc::waitid(libc::P_PID, child.id(), &raw mut info, libc::WEXITED | libc::WNOWAIT)
    };
    assert_eq!(status, 0, "{}", io::Error::last_os_error());
}

/// What the daemon has counted, once it has counted that many processes, or after a minute: emulated machines stand still for some of it.
fn counted(daemon: &Daemon, workload: &str, processes: u64) -> (Totals, String) {
    let mut text = String::new();
    comes_true(60, || {
        text = daemon.get("/metrics");
        Totals::of(&text, workload).processes >= processes
    });
    (Totals::of(&text, workload), text)
}

#[test]
fn a_thousand_processes_shorter_than_a_scan_count_where_their_executable_belongs() {
    let Some(()) = privileged() else { return };
    let dir = TempDir::new().unwrap();
    let job = program(dir.path(), "job");
    let daemon = Daemon::start(&rule_for("jobs", dir.path()));
    // The very first is no exception. They are spawned without running any of our code, as most programs do.
    let mut children = Vec::new();
    for _ in 0..1000 {
        let child = quiet(Command::new(&job).args(["-c", WORK])).spawn().unwrap();
        wait_for_end(&child);
        children.push(child);
    }
    // Their last switches follow on their ends.
    sleep(Duration::from_millis(50));
    let kernel = Kernel::all(&children);
    let (jobs, text) = counted(&daemon, "jobs", 1000);
    for child in &mut children {
        child.wait().unwrap();
    }
    assert_eq!(jobs.processes, 1000);
    let switches = jobs.voluntary + jobs.involuntary;
    // Up to its exec each belongs to us.
    assert!((1000..=kernel.switches).contains(&switches), "{switches} switches, the kernel's {}", kernel.switches);
    let (ours, kernels) = (jobs.cpu_seconds, kernel.on_cpu_ns as f64 / 1e9);
    assert!((kernels * 0.7..=kernels).contains(&ours), "{ours} s on CPUs, the kernel's {kernels} s");
    assert_eq!((lost(&text, "owner_unknown"), lost(&text, "clock_inversion")), (0, 0));
    // Each thread's own account is the kernel's still, though two workloads share it.
    let residual_seconds: f64 = sum(&text, "schedscope_check_residual_on_cpu_seconds_total");
    assert!(residual_seconds < kernels * 1e-4, "{residual_seconds} s");
}

/// Makes the calling process stop at its exec, and nobody preempt it until then.
fn stop_at_exec() -> io::Result<()> {
    let parameter = libc::sched_param { sched_priority: 1 };
    // SAFETY: takes numbers, and a parameter that outlives the call.
    let failed = unsafe {
        libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameter) != 0 || libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) != 0
    };
    if failed { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A child that its parent may look at right after its exec, where it stops.
fn spawn_stopped(command: &mut Command) -> Child {
    // SAFETY: system calls only, which are safe between fork and exec.
    unsafe { command.pre_exec(stop_at_exec) };
    let child = quiet(command).spawn().unwrap();
    let mut status = 0;
    // SAFETY: the destination is an int; the child is ours.
    let stopped = unsafe { libc::waitpid(child.id().cast_signed(), &raw mut status, 0) };
    assert!(stopped > 0 && libc::WIFSTOPPED(status), "{status:#x}");
    // It may be on its way to the stop still. The kernel waits for its switch before it does anything with it.
    // SAFETY: takes numbers only; the child is stopped and ours.
    assert_eq!(unsafe { libc::ptrace(libc::PTRACE_SETOPTIONS, child.id().cast_signed(), 0, 0) }, 0);
    child
}

fn let_go(child: &Child) {
    // SAFETY: takes numbers only; the child is stopped and ours.
    assert_eq!(unsafe { libc::ptrace(libc::PTRACE_DETACH, child.id().cast_signed(), 0, 0) }, 0);
}

#[test]
fn a_process_is_handed_over_at_its_exec_to_the_switch() {
    let Some(()) = privileged() else { return };
    let dir = TempDir::new().unwrap();
    let job = program(dir.path(), "job");
    let daemon = Daemon::start(&rule_for("jobs", dir.path()));
    let (mut children, mut at_exec) = (Vec::new(), Vec::new());
    for _ in 0..200 {
        let child = spawn_stopped(Command::new(&job).args(["-c", WORK]));
        at_exec.push(Kernel::of(&child));
        let_go(&child);
        wait_for_end(&child);
        children.push(child);
    }
    sleep(Duration::from_millis(50));
    let kernel = Kernel::all(&children);
    let (jobs, text) = counted(&daemon, "jobs", 200);
    for child in &mut children {
        child.wait().unwrap();
    }
    assert_eq!(jobs.processes, 200);
    // The switch with which each stopped came after its exec.
    let before: u64 = at_exec.iter().map(|at| at.switches - 1).sum();
    let more = (jobs.voluntary + jobs.involuntary).checked_sub(kernel.switches - before);
    // Where that takes milliseconds, the kernel may take the CPU even from a real-time thread before the stop.
    let preempted: u64 = at_exec.iter().map(|at| at.involuntary).sum();
    let most = if own_time("that none was preempted between its exec and its stop").is_some() { 0 } else { preempted };
    assert!(
        more.is_some_and(|more| more <= most),
        "{jobs:?}, the kernel's {kernel:?} with {before} before, {preempted} preempted until the stop"
    );
    let before_ns: u64 = at_exec.iter().map(|at| at.on_cpu_ns).sum();
    // From the exec to the stop each ran for a few microseconds, up to the exec much longer.
    let (ours_ns, kernels_ns) = (jobs.cpu_seconds * 1e9, (kernel.on_cpu_ns - before_ns) as f64);
    let until_stop_ns = ours_ns - kernels_ns;
    let figures = format!("{ours_ns} ns, the kernel's {kernels_ns} ns after and {before_ns} ns before");
    assert!(until_stop_ns >= -1e5, "{figures}");
    if own_time("how long they ran from exec to stop").is_some() {
        assert!(until_stop_ns < before_ns as f64 / 4.0, "{figures}");
    }
    assert_eq!(lost(&text, "clock_inversion"), 0);
}

/// Processes for each way in which one comes by its program.
const WAYS: usize = 40;

#[test]
fn it_is_the_executable_that_counts_however_it_is_executed() {
    let Some(()) = privileged() else { return };
    let dir = TempDir::new().unwrap();
    let root = fs::canonicalize(dir.path()).unwrap();
    let place = |name: &str| {
        let place = root.join(name);
        fs::create_dir(&place).unwrap();
        place
    };
    let [copies, scripts, removed, chains, threads] = ["copies", "scripts", "removed", "chains", "threads"].map(place);
    let memory = format!("owner-{}", std::process::id());
    let mut rules: Vec<String> = [&copies, &scripts, &removed, &chains, &threads]
        .map(|place| rule_for(&place.file_name().unwrap().to_string_lossy(), place))
        .into();
    rules.push(format!("[[workload]]\nname = \"memory\"\nmatch = {{ exe = \"/memfd:{memory}\" }}\n"));
    let daemon = Daemon::start(&rules.concat());
    let run = |command: &mut Command| assert!(quiet(command).status().unwrap().success(), "{command:?}");

    // An executable for each process, as a build or an installer makes them.
    for number in 0..WAYS {
        let copy = program(&copies, &format!("copy-{number}"));
        run(Command::new(&copy).args(["-c", WORK]));
        fs::remove_file(copy).unwrap();
    }
    // A script belongs to its interpreter.
    let interpreter = program(&scripts, "interpreter");
    let script = root.join("script");
    fs::write(&script, format!("#!{}\n{WORK}\n", interpreter.display())).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    (0..WAYS).for_each(|_| run(&mut Command::new(&script)));
    // By descriptor, the file removed before.
    let file = File::open(program(&removed, "program")).unwrap();
    fs::remove_file(removed.join("program")).unwrap();
    (0..WAYS).for_each(|_| run(&mut execing(&file)));
    // From memory.
    let in_memory = rustix::fs::memfd_create(&*memory, rustix::fs::MemfdFlags::empty()).unwrap();
    let mut in_memory = File::from(in_memory);
    io::copy(&mut File::open("/bin/sh").unwrap(), &mut in_memory).unwrap();
    (0..WAYS).for_each(|_| run(&mut execing(&in_memory)));
    // Programs of one workload after one another are one process of it.
    let (first, second) = (program(&chains, "first"), program(&chains, "second"));
    let script = format!("exec {} -c '{WORK}'", second.display());
    (0..WAYS).for_each(|_| run(Command::new(&first).args(["-c", &script])));
    // A thread that is not the main one calls exec, and becomes it.
    let of_thread = program(&threads, "program");
    if let Some(python) = python() {
        let code = "import os, sys, threading, time\n\
                    threading.Thread(target=os.execv, args=(sys.argv[1], [sys.argv[1], '-c', sys.argv[2]])).start(); time.sleep(60)";
        (0..WAYS).for_each(|_| run(Command::new(&python).args(["-c", code]).arg(&of_thread).arg(WORK)));
        assert_eq!(counted(&daemon, "threads", WAYS as u64).0.processes, WAYS as u64);
    }
    let mut cpu_seconds = Vec::new();
    for workload in ["copies", "scripts", "removed", "memory", "chains"] {
        let (totals, text) = counted(&daemon, workload, WAYS as u64);
        assert_eq!(totals.processes, WAYS as u64, "{workload}: {totals:?}");
        // Its parent may know of its end before that.
        let have_switched = comes_true(5, || Totals::of(&daemon.get("/metrics"), workload).voluntary >= WAYS as u64);
        assert!(have_switched, "each switches once at least, at its end: {workload}: {totals:?}");
        assert_eq!(lost(&text, "owner_unknown"), 0);
        cpu_seconds.push(totals.cpu_seconds);
    }
    let most = cpu_seconds.iter().copied().fold(0.0, f64::max);
    assert!(cpu_seconds.iter().all(|seconds| *seconds > most / 4.0), "all do the same: {cpu_seconds:?}");
}

/// Executes an open file with our work.
fn execing(file: &File) -> Command {
    let fd = file.as_raw_fd();
    let mut command = Command::new("/bin/false");
    let exec = move || {
        let arguments = [c"program".as_ptr(), c"-c".as_ptr(), WORK_C.as_ptr(), ptr::null()];
        // SAFETY: both lists end with a null pointer, and what they point to lives on.
        unsafe { libc::fexecve(fd, arguments.as_ptr(), arguments[3..].as_ptr().cast()) };
        Err(io::Error::last_os_error())
    };
    // SAFETY: a system call, which is safe between fork and exec.
    unsafe { command.pre_exec(exec) };
    command
}

#[test]
fn a_process_that_is_moved_before_its_exec_belongs_to_the_unit() {
    let Some(()) = privileged() else { return };
    let unit = format!("owner-{}.service", std::process::id());
    let daemon = Daemon::start(&format!("[[workload]]\nname = \"unit\"\nmatch = {{ unit = \"{unit}\" }}\n"));
    let mut done = 0;
    for hierarchy in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"] {
        let group = Path::new(hierarchy).join(&unit);
        // On a host with cgroup v1 the first is no hierarchy; in a container none may be written.
        if !Path::new(hierarchy).join("cgroup.procs").exists() || fs::create_dir(&group).is_err() {
            continue;
        }
        let enter = format!("echo 0 > {}/cgroup.procs && exec /bin/sh -c '{WORK}'", group.display());
        let moved = (0..WAYS).all(|_| quiet(Command::new("sh").args(["-c", &enter])).status().unwrap().success());
        done += WAYS;
        let (totals, _) = counted(&daemon, "unit", done as u64);
        assert!(comes_true(5, || fs::remove_dir(&group).is_ok()), "{} stays", group.display());
        assert!(moved, "{hierarchy}");
        assert_eq!(totals.processes, done as u64, "{hierarchy}: {totals:?}");
    }
    if done == 0 {
        println!("skipped: no hierarchy of cgroups can be written here");
    }
}

#[test]
fn a_process_that_renames_itself_follows_its_new_name_from_the_next_scan_on() {
    let Some(()) = privileged() else { return };
    let dir = TempDir::new().unwrap();
    let job = program(dir.path(), "job");
    let renamed = rule("renamed", "worker*");
    let daemon = Daemon::start(&(renamed + &rule_for("jobs", dir.path())));
    let script = "printf worker-1 > /proc/$$/comm; while :; do :; done";
    let _worker = Guarded(quiet(Command::new(&job).args(["-c", script])).spawn().unwrap());
    let text = || daemon.get("/metrics");
    assert!(comes_true(20, || Totals::of(&text(), "renamed").cpu_seconds > 0.3), "{}", text());
    let (before, first) = (Totals::of(&text(), "jobs"), text());
    assert_eq!((before.processes, Totals::of(&first, "renamed").processes), (1, 1), "at its exec, and when it was found renamed");
    assert!(comes_true(20, || Totals::of(&text(), "renamed").cpu_seconds > 1.0));
    assert!(Totals::of(&text(), "jobs").cpu_seconds <= before.cpu_seconds, "it is not counted under its old name any more");
    assert_never_down(&first, &text());
}

#[test]
fn a_process_that_never_execs_counts_with_its_parent() {
    let Some(()) = privileged() else { return };
    let dir = TempDir::new().unwrap();
    let job = program(dir.path(), "job");
    let daemon = Daemon::start(&rule_for("jobs", dir.path()));
    // Twenty that end and one that stays.
    let script = "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do (:) ; done; (sleep 60; :) & wait";
    let _job = Guarded(quiet(Command::new(&job).args(["-c", script])).spawn().unwrap());
    let (totals, _) = counted(&daemon, "jobs", 22);
    assert_eq!(totals.processes, 22);
}

#[test]
fn other_rules_are_taken_in_without_losing_counts() {
    let Some(()) = privileged() else { return };
    let dir = TempDir::new().unwrap();
    let worker = program(dir.path(), "worker");
    let daemon = Daemon::start(&rule_for("before", dir.path()));
    let run = || quiet(Command::new(&worker).args(["-c", WORK])).status().unwrap();
    let started = |name: &str| Totals::of(&daemon.get("/metrics"), name).processes;
    for _ in 0..20 {
        assert!(run().success());
    }
    assert_eq!(started("before"), 20);
    let stays = Guarded(quiet(Command::new(&worker).args(["-c", "while :; do :; done"])).spawn().unwrap());
    assert!(comes_true(20, || Totals::of(&daemon.get("/metrics"), "before").cpu_seconds > 0.5));
    let before = Totals::of(&daemon.get("/metrics"), "before");

    daemon.configure("max_workloads = 0\n");
    let failed = || sum::<u64>(&daemon.get("/metrics"), "schedscope_collection_errors_total{stage=\"configuration\"}");
    assert!(comes_true(20, || failed() == 1), "a file that is wrong is said and changes nothing");
    daemon.configure(&rule_for("after", dir.path()));
    assert!(comes_true(20, || Totals::of(&daemon.get("/metrics"), "after").cpu_seconds > 0.5), "what runs is moved");
    for _ in 0..20 {
        assert!(run().success());
    }
    // Scrapes close to each other share a reading.
    sleep(Duration::from_millis(300));
    assert_eq!(started("after"), 21, "the one that stayed came too");
    let text = daemon.get("/metrics");
    let then = Totals::of(&text, "before");
    assert_eq!(then.processes, before.processes, "nothing starts there any more");
    assert!(then.cpu_seconds >= before.cpu_seconds && then.voluntary >= before.voluntary, "{then:?} after {before:?}");
    assert_eq!(failed(), 1);
    drop(stays);
}

/// The name of a rule takes it from that of a rule that is no more, which computes and would keep it for longer otherwise.
#[test]
fn a_number_that_changes_hands_begins_with_nothing_and_the_series_before_it_end() {
    let Some(()) = privileged() else { return };
    let dir = TempDir::new().unwrap();
    let [first, second] = ["first", "second"].map(|name| program(dir.path(), name));
    let of_one =
        |name: &str, file: &str| format!("max_workloads = 1\n[[workload]]\nname = \"{name}\"\nmatch = {{ exe = \"*/{file}\" }}\n");
    let daemon = Daemon::start(&of_one("first", "first"));
    let busy = |program: &Path| Guarded(quiet(Command::new(program).args(["-c", "while :; do :; done"])).spawn().unwrap());
    let text = || daemon.get("/metrics");
    let cpu_seconds = |name: &str| Totals::of(&text(), name).cpu_seconds;
    let has_series = |name: &str| text().contains(&format!("{{workload=\"{name}\""));
    let _first = busy(&first);
    assert!(comes_true(60, || cpu_seconds("first") > 1.5), "{}", text());
    let began = |name: &str| sum::<f64>(&text(), &format!("schedscope_workload_start_time_seconds{{workload=\"{name}\"}}"));
    let began_first = began("first");
    let before = text();

    daemon.configure(&of_one("wanted", "second"));
    assert!(comes_true(60, || !has_series("first")), "{}", text());
    assert!(comes_true(60, || has_series("wanted")), "{}", text());
    assert!(cpu_seconds("wanted") <= 0.0, "it begins without what was counted under the number before");
    let late = busy(&second);
    assert!(comes_true(60, || cpu_seconds("wanted") > 1.0), "{}", text());
    let counted = cpu_seconds("wanted");
    assert!(counted <= Kernel::of(&late.0).on_cpu_ns as f64 / 1e9, "{counted}");
    assert!(began("wanted") > began_first && began("other") <= began_first);
    assert_eq!(sum::<u64>(&text(), "schedscope_workloads_ended_total"), 1);
    let of_other = |text: &str| {
        text.lines()
            .filter(|line| line.starts_with('#') || line.contains("{workload=\"other\""))
            .fold(String::new(), |all, line| all + line + "\n")
    };
    assert_never_down(&of_other(&before), &of_other(&text()));
}
