//! What only a machine of its own allows: CPUs that go and come back, and process ids that come round. `cargo xtask vm` boots one.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use procfs::{CurrentSI, KernelStats};
use schedscope_ebpf::loss::{Harm, Loss};

use super::accounts::{Counters, counters};
use super::attached::wait_for_state;
use super::host::{Guarded, comes_true, own_machine, send};
use super::served::{Daemon, Totals, lost, threads};

const SLEEPERS: u64 = 8;
/// Longer than scrapes share a reading.
const BETWEEN_SCRAPES: Duration = Duration::from_millis(400);

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

/// What the daemon and the kernel have of the same threads at the same moment.
#[derive(Debug)]
pub(crate) struct Reading {
    ours: Totals,
    /// Voluntary and involuntary switches.
    switches: (u64, u64),
    /// Not every kernel tells.
    migrations: Option<u64>,
    cpu_seconds: f64,
    metrics: String,
}

impl Reading {
    /// Stops the processes, so that both can be read of one moment, and lets them go on.
    pub(crate) fn take(daemon: &Daemon, processes: &[Guarded]) -> Reading {
        for process in processes {
            send(process.id(), libc::SIGSTOP);
        }
        for process in processes {
            wait_for_state(process, 'T');
        }
        sleep(BETWEEN_SCRAPES);
        let metrics = daemon.get("/metrics");
        let tasks: Vec<Counters> = processes.iter().flat_map(|process| counters(process)).collect();
        for process in processes {
            send(process.id(), libc::SIGCONT);
        }
        let total = |of: fn(&Counters) -> u64| tasks.iter().map(of).sum();
        Reading {
            ours: Totals::of(&metrics, "subject"),
            switches: (total(|task| task.voluntary), total(|task| task.involuntary)),
            migrations: tasks.iter().map(|task| task.migrations).sum(),
            cpu_seconds: tasks.iter().map(|task| task.cpu_seconds).sum(),
            metrics,
        }
    }

    /// What we count has grown as what the kernel counts, but for so many switches that may be unseen; and nothing was missed.
    pub(crate) fn assert_grown_as_the_kernels_since(&self, before: &Reading, unseen: u64) {
        let growth = |of: fn(&Reading) -> u64| of(self) - of(before);
        let missing: Vec<(&str, u64)> = Loss::ALL
            .iter()
            .map(|loss| (loss.name(), lost(&self.metrics, loss.name()) - lost(&before.metrics, loss.name())))
            .filter(|(_, count)| *count > 0)
            .collect();
        let ours = [growth(|reading| reading.ours.voluntary), growth(|reading| reading.ours.involuntary)];
        let kernels = [growth(|reading| reading.switches.0), growth(|reading| reading.switches.1)];
        assert_eq!(ours, kernels, "voluntary and involuntary; counted as not seen: {missing:?}");
        if let Some((before, now)) = before.migrations.zip(self.migrations) {
            assert_eq!(growth(|reading| reading.ours.migrations), now - before);
        }
        let (ours, kernel) = (self.ours.cpu_seconds - before.ours.cpu_seconds, self.cpu_seconds - before.cpu_seconds);
        assert!((ours - kernel).abs() <= 1e-3 * kernel, "our count {ours} s, the kernel's {kernel} s");
        for loss in Loss::ALL.iter().filter(|loss| loss.harm() == Harm::Missing) {
            let lost = missing.iter().find(|(name, _)| *name == loss.name()).map_or(0, |(_, count)| *count);
            let allowed = if *loss == Loss::SwitchOutUnseen { unseen } else { 0 };
            assert!(lost <= allowed, "{} {lost}", loss.name());
        }
    }
}

/// The daemon counts what the kernel counts, of threads that compute and of others that sleep, while `disturb` is at work. Of other
/// threads so many switches may be unseen.
fn assert_growth_is_the_kernels(spinners: u64, unseen: u64, disturb: impl FnOnce()) {
    let daemon = Daemon::start("[[workload]]\nname = \"subject\"\nmatch = { exe = \"*schedscope-workloads\" }\n");
    let processes = [
        Guarded::workload(&format!("native --task spin --model threads --workers {spinners} --seconds 3000")),
        Guarded::workload(&format!("sleepers --count {SLEEPERS} --pause 0.003 --seconds 3000")),
    ];
    // And the two main threads.
    let all = 2 + spinners + SLEEPERS;
    assert!(comes_true(60, || threads(&daemon.get("/metrics"), "subject") == all), "not all threads came into the workload");

    let before = Reading::take(&daemon, &processes);
    disturb();
    let after = Reading::take(&daemon, &processes);

    after.assert_grown_as_the_kernels_since(&before, unseen);
    assert_eq!(threads(&after.metrics, "subject"), all);
}

#[test]
fn a_cpu_that_goes_and_comes_back_changes_no_count() {
    let Some(()) = own_machine() else { return };
    let cpu = Setting::of("/sys/devices/system/cpu/cpu5/online");
    // No tracepoint fires on a CPU that is not online any more, where the thread that has stopped it is switched out for good.
    let times = 3;
    // One more than CPUs, so that all are used.
    assert_growth_is_the_kernels(9, times, || {
        let before = ticks_of_cpu_5();
        for _ in 0..times {
            cpu.set("0");
            sleep(Duration::from_millis(300));
            cpu.set("1");
            sleep(Duration::from_millis(700));
        }
        assert!(ticks_of_cpu_5() > before, "the CPU was never used again");
    });
}

/// How long CPU 5 has run programs, in ticks. It must be online, as all before it.
fn ticks_of_cpu_5() -> u64 {
    KernelStats::current().unwrap().cpu_time[5].user
}

#[test]
fn process_ids_that_come_round_do_not_mix_threads_up() {
    let Some(()) = own_machine() else { return };
    let pid_max = Setting::of("/proc/sys/kernel/pid_max");
    assert_growth_is_the_kernels(1, 0, || {
        // The lowest 300 are not given twice, so a thousand processes need each of the others three times at least. Fewer ids the kernel
        // does not take for 8 CPUs.
        pid_max.set("550");
        let storm = "i=0; while [ $i -lt 1000 ]; do (:); i=$((i+1)); done";
        assert!(Command::new("sh").args(["-e", "-c", storm]).status().unwrap().success());
    });
}
