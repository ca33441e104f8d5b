//! What only a machine of its own allows: CPUs that go and come back, and process ids that come round. `cargo xtask vm` boots one.

use std::{
    env, fs,
    path::PathBuf,
    process::{Command, Stdio},
    thread::sleep,
    time::Duration,
};

use schedscope_ebpf::loss::{Harm, Loss};

use super::{
    accounts::{Counters, counters},
    attached::wait_for_state,
    host::{self, Guarded, comes_true, is_privileged},
    served::{Daemon, sum},
    signals::send,
};

/// Set where tests may take away CPUs and process ids.
const OWN_MACHINE: &str = "SCHEDSCOPE_OWN_MACHINE";
/// Threads that sleep.
const SLEEPERS: u64 = 8;
/// Longer than scrapes share a reading.
const BETWEEN_SCRAPES: Duration = Duration::from_millis(400);

/// Whether the machine is ours; if not, says that the test is left out.
fn has_own_machine() -> bool {
    let is_ours = env::var_os(OWN_MACHINE).is_some_and(|value| value == "1");
    if !is_ours {
        println!(
            "skipped: takes CPUs or process ids from the whole machine; `cargo xtask vm` runs it on one that has nothing else"
        );
    }
    is_privileged() && is_ours
}

/// A file of the kernel's that gets its value back.
struct Setting {
    path: PathBuf,
    before: String,
}

impl Setting {
    fn of(path: &str) -> Setting {
        Setting { path: path.into(), before: fs::read_to_string(path).unwrap() }
    }

    fn set(&self, value: &str) {
        fs::write(&self.path, value).unwrap_or_else(|error| panic!("{} <- {value}: {error}", self.path.display()));
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        // The test may be failing already.
        let _ = fs::write(&self.path, &self.before);
    }
}

/// What some threads have used together.
#[derive(Debug)]
struct Totals {
    voluntary: u64,
    involuntary: u64,
    /// Not every kernel tells.
    migrations: Option<u64>,
    cpu_seconds: f64,
}

impl Totals {
    /// By the daemon, of its workload.
    fn of_daemon(text: &str) -> Totals {
        let total =
            |metric: &str, labels: &str| sum(text, &format!("schedscope_workload_{metric}_total{{workload=\"subject\"{labels}"));
        let switches = |kind: &str| whole(total("context_switches", &format!(",kind=\"{kind}\"")));
        Totals {
            voluntary: switches("voluntary"),
            involuntary: switches("preempted") + switches("yielded"),
            migrations: Some(whole(total("cpu_migrations", ""))),
            cpu_seconds: total("on_cpu_seconds", ""),
        }
    }

    /// By the kernel.
    fn of_kernel(processes: &[Guarded]) -> Totals {
        let tasks: Vec<Counters> = processes.iter().flat_map(|process| counters(process)).collect();
        Totals {
            voluntary: tasks.iter().map(|task| task.voluntary).sum(),
            involuntary: tasks.iter().map(|task| task.involuntary).sum(),
            migrations: tasks.iter().map(|task| task.migrations).sum(),
            cpu_seconds: tasks.iter().map(|task| task.cpu_seconds).sum(),
        }
    }
}

/// What the daemon and the kernel have of the same threads at the same moment.
#[derive(Debug)]
struct Reading {
    ours: Totals,
    kernel: Totals,
    metrics: String,
}

impl Reading {
    /// Stops the processes, so that both can be read of one moment, and lets them go on.
    fn take(daemon: &Daemon, processes: &[Guarded]) -> Reading {
        for process in processes {
            send(process.id(), libc::SIGSTOP);
        }
        for process in processes {
            wait_for_state(process, 'T');
        }
        sleep(BETWEEN_SCRAPES);
        let metrics = daemon.get("/metrics");
        let reading = Reading { ours: Totals::of_daemon(&metrics), kernel: Totals::of_kernel(processes), metrics };
        for process in processes {
            send(process.id(), libc::SIGCONT);
        }
        reading
    }
}

/// A count as it was printed; it fits, being one of events.
fn whole(value: f64) -> u64 {
    value.to_string().parse().unwrap_or_else(|error| panic!("{value} is no count: {error}"))
}

fn start(arguments: &[&str]) -> Guarded {
    let mut command = Command::new(host::workloads());
    command.args(arguments).args(["--seconds", "3000"]).stdout(Stdio::null());
    Guarded(command.spawn().unwrap())
}

/// The daemon counts what the kernel counts, of threads that compute and of others that sleep, while `disturb` is at work. Of other
/// threads so many switches may be unseen.
fn assert_growth_is_the_kernels(spinners: u64, unseen: u64, disturb: impl FnOnce()) {
    let daemon = Daemon::start("[[workload]]\nname = \"subject\"\nmatch = { exe = \"*schedscope-workloads\" }\n");
    let processes = [
        start(&["native", "--task", "spin", "--model", "threads", "--workers", &spinners.to_string()]),
        start(&["sleepers", "--count", &SLEEPERS.to_string(), "--pause", "0.003"]),
    ];
    // And the two main threads.
    let all = 2 + spinners + SLEEPERS;
    let threads = |text: &str| whole(sum(text, "schedscope_workload_threads{workload=\"subject\"}"));
    assert!(comes_true(60, || threads(&daemon.get("/metrics")) == all), "not all threads came into the workload");

    let before = Reading::take(&daemon, &processes);
    disturb();
    let after = Reading::take(&daemon, &processes);

    let growth = |of: fn(&Totals) -> u64| (of(&after.ours) - of(&before.ours), of(&after.kernel) - of(&before.kernel));
    let (voluntary, involuntary) = (growth(|totals| totals.voluntary), growth(|totals| totals.involuntary));
    assert!(voluntary.0 == voluntary.1 && involuntary.0 == involuntary.1, "{voluntary:?}, {involuntary:?}");
    if after.kernel.migrations.is_some() {
        let migrations = growth(|totals| totals.migrations.unwrap());
        assert_eq!(migrations.0, migrations.1);
    }
    let seconds = |of: fn(&Reading) -> f64| of(&after) - of(&before);
    let (ours, kernel) = (seconds(|reading| reading.ours.cpu_seconds), seconds(|reading| reading.kernel.cpu_seconds));
    assert!((ours - kernel).abs() <= 1e-3 * kernel, "{ours} s, the kernel's {kernel} s");
    for loss in Loss::ALL.iter().filter(|loss| loss.harm() == Harm::Missing) {
        let lost = whole(sum(&after.metrics, &format!("schedscope_events_lost_total{{reason=\"{}\"}}", loss.name())));
        let allowed = if *loss == Loss::SwitchOutUnseen { unseen } else { 0 };
        assert!(lost <= allowed, "{} {lost}", loss.name());
    }
    assert_eq!(threads(&after.metrics), all);
}

#[test]
fn a_cpu_that_goes_and_comes_back_changes_no_count() {
    if !has_own_machine() {
        return;
    }
    let cpu = Setting::of("/sys/devices/system/cpu/cpu5/online");
    // No tracepoint fires on a CPU that is not online any more, where the thread that has stopped it is switched out for good.
    let times = 3;
    // One more than CPUs, so that all are used.
    assert_growth_is_the_kernels(9, times, || {
        let before = jiffies_of_cpu_5();
        for _ in 0..times {
            cpu.set("0");
            sleep(Duration::from_millis(300));
            cpu.set("1");
            sleep(Duration::from_millis(700));
        }
        assert!(jiffies_of_cpu_5() > before, "the CPU was never used again");
    });
}

/// How long CPU 5 has run programs.
fn jiffies_of_cpu_5() -> u64 {
    let text = fs::read_to_string("/proc/stat").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("cpu5 ")).unwrap();
    line.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn process_ids_that_come_round_do_not_mix_threads_up() {
    if !has_own_machine() {
        return;
    }
    let pid_max = Setting::of("/proc/sys/kernel/pid_max");
    assert_growth_is_the_kernels(1, 0, || {
        // The lowest 300 are not given twice: each round is 250 processes at most. Fewer the kernel does not take for 8 CPUs.
        pid_max.set("550");
        let (mut last, mut rounds) = (0, 0);
        for _ in 0..1000 {
            let mut child = Command::new("true").spawn().unwrap();
            rounds += u32::from(child.id() < last);
            last = child.id();
            assert!(child.wait().unwrap().success());
        }
        assert!(rounds >= 3, "process ids came round {rounds} times");
    });
}
