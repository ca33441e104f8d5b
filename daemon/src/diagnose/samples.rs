//! Windows to test with: programs written as text, and arbitrary ones.

use std::str::FromStr;

use proptest::prelude::*;
use schedscope_ebpf::blocked::Reason;

use super::window::{Ledger, Window};
use crate::capture::allowance::{self, Quota};
use crate::capture::interpreters::Python::{FreeThreaded, ManyGils, OneGil, Unresolved};
use crate::capture::snapshot::{Tgid, Tid, Times};

/// Length of most windows in seconds.
pub(crate) const WALL: f64 = 10.0;

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a test's figures are positive and small")]
fn ns(seconds: f64) -> u64 {
    (seconds * 1e6).round() as u64 * 1000
}

/// A thread by its seconds on a CPU and runnable, and blocked by reason.
pub(crate) fn thread([on_cpu, runnable]: [f64; 2], blocked: &[(Reason, f64)]) -> Ledger {
    let mut times = Times { on_cpu_ns: ns(on_cpu), preempt_wait_ns: ns(runnable), ..Times::default() };
    for (reason, seconds) in blocked {
        times.blocked_ns[*reason as usize] += ns(*seconds);
    }
    Ledger { tgid: Tgid(1), times, voluntary: 1000, ..Ledger::default() }
}

/// [`WALL`] seconds on a host with so many cores and nothing else to run.
pub(crate) fn on(cores: u64, ledgers: Vec<Ledger>) -> Window {
    let mut window = Window::of_ledgers(ns(WALL), cores, ledgers);
    window.on_cpu_ns_by_cpu = (0..cores).map(|_| window.times.on_cpu_ns / cores).collect();
    window.idle_ns = (window.wall_ns * cores).saturating_sub(window.times.on_cpu_ns);
    window
}

/// A window by its description, as `report/golden/answers.txt` explains it.
pub(crate) fn described(text: &str) -> Window {
    let mut parts = text.split(" | ");
    let host: Vec<&str> = parts.next().unwrap().split(' ').collect();
    let mut ledgers = Vec::new();
    for threads in parts {
        let count = threads.split_once("x ").and_then(|(count, _)| count.parse().ok()).unwrap_or(1);
        for _ in 0..count {
            let mut ledger = described_thread(threads, 10 + u32::try_from(ledgers.len()).unwrap());
            if threads.split(' ').any(|word| word == "next") {
                ledger.begin_ns = ledgers.last().map_or(0, Ledger::end_ns);
            }
            ledgers.push(ledger);
        }
    }
    let mut window = on(number(host[0]), ledgers);
    for word in &host[2..] {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        match key {
            "physical" => window.physical_cores = number(value),
            "mask" => window.cores_in_masks = Some(number(value)),
            "quota" => {
                let (cpus, throttled) = value.split_once('/').unwrap();
                window.quota = Some(some_quota(number(cpus), number(throttled)));
            }
            "online" => window.online_cores = number(value),
            "meek" => window.meek_ns = ns(number(value)),
            "allowed" => window.allowed_cores = number(value),
            "by_cpu" => window.on_cpu_ns_by_cpu = value.split('/').map(|seconds| ns(number(seconds))).collect(),
            "others" => window.foreign_ns = ns(number(value)),
            "idle" => window.idle_ns = ns(number(value)),
            "kernel" => {
                window.usage.system_ns = ns(number(value));
                window.usage.user_ns = window.times.on_cpu_ns - window.usage.system_ns;
            }
            "user" => window.usage.user_ns = ns(number(value)),
            "faults" => window.usage.page_faults = number(value),
            "each" => window.usage.fault_ns = number(value),
            "peak" => window.usage.peak_pages = number(value),
            "incomplete" => window.is_incomplete = true,
            "forgotten" => window.forgotten = number(value),
            _ => panic!("{word} in {text}"),
        }
    }
    window
}

/// In CPUs, and how often it was used up in a hundred periods.
fn some_quota(cpus: f64, throttled_periods: u64) -> Quota {
    let period_ns = ns(WALL) / 100;
    let limit = allowance::Limit { quota_ns: ns(cpus * WALL / 100.0), period_ns };
    let usage = allowance::Usage { periods: 100, throttled_periods, throttled_ns: 1 };
    Quota { file: "/sys/fs/cgroup/it/cpu.max".into(), limit, usage }
}

fn described_thread(text: &str, tid: u32) -> Ledger {
    let mut ledger = Ledger { tid: Tid(tid), ..thread([0.0; 2], &[]) };
    let mut words = text.split(' ');
    while let Some(word) = words.next() {
        match word.split_once('=').unwrap_or((word, "")) {
            ("main", _) => ledger.is_main = true,
            // Seen to where it is known which one went before.
            ("next", _) => {}
            ("process", _) => (ledger.tgid, ledger.is_main) = (Tgid(tid), true),
            ("of", pid) => ledger.tgid = Tgid(number(pid)),
            ("ended", _) => ledger.has_ended = true,
            ("python", _) => ledger.python = Some(OneGil),
            ("many_gils", _) => ledger.python = Some(ManyGils),
            ("free_threaded", _) => ledger.python = Some(FreeThreaded),
            ("unresolved", _) => ledger.python = Some(Unresolved),
            ("switches", count) => ledger.voluntary = number(count),
            ("epoll", count) => ledger.epoll_waits = number(count),
            ("timed", count) => ledger.timed_waits = number(count),
            ("yields", count) => ledger.yielded = number(count),
            ("spins", seconds) => ledger.spinning_ns = ns(number(seconds)),
            ("pauses", seconds) => ledger.pausing_ns = ns(number(seconds)),
            ("loop", _) => ledger.has_loop = true,
            ("called", name) => ledger.comm[..name.len()].copy_from_slice(name.as_bytes()),
            ("from", seconds) => ledger.begin_ns = ns(number(seconds)),
            ("run", _) => ledger.times.on_cpu_ns = ns(number(words.next().unwrap())),
            ("wait", _) => ledger.times.preempt_wait_ns = ns(number(words.next().unwrap())),
            ("transit", _) => ledger.times.transit_ns = ns(number(words.next().unwrap())),
            ("woken", _) => ledger.times.wakeup_wait_ns = ns(number(words.next().unwrap())),
            (count, _) if count.ends_with('x') && count != Reason::Futex.name() => {}
            (name, _) => {
                let reason = Reason::ALL.into_iter().find(|reason| reason.name() == name).unwrap();
                let seconds = words.next().unwrap();
                let rest = ns(WALL) - ledger.times.total_ns();
                ledger.times.blocked_ns[reason as usize] = if seconds == "rest" { rest } else { ns(number(seconds)) };
            }
        }
    }
    ledger.gil_waits = gil_waits(&ledger);
    ledger
}

/// Of its waits, as many as it has of the time.
fn gil_waits(ledger: &Ledger) -> u64 {
    let (gil_ns, all_ns) = (ledger.times.blocked(Reason::Gil), ledger.times.blocked_total_ns().max(1));
    u64::try_from(u128::from(ledger.voluntary) * u128::from(gil_ns) / u128::from(all_ns)).unwrap()
}

fn number<N: FromStr<Err: std::fmt::Debug>>(text: &str) -> N {
    text.parse().unwrap()
}

prop_compose! {
    fn any_ledger()(
        tgid in 1_u32..4, is_main: bool, seconds in prop::array::uniform7(prop_oneof![2 => 0.0..4.0_f64, 1 => Just(0.0)]), has_ended: bool,
        voluntary in 0_u64..10_000, [epoll, timed] in prop::array::uniform2(0_u64..=100), begin in 0.0..4.0_f64,
        [spins, pauses] in prop::array::uniform2(prop_oneof![3 => Just(0.0), 1 => 0.0..5.0_f64]),
    ) -> Ledger {
        let [on_cpu, runnable, blocked @ ..] = seconds;
        let reasons = [Reason::Gil, Reason::Futex, Reason::Sleep, Reason::Poll, Reason::ChildWait];
        let blocked: Vec<_> = reasons.into_iter().zip(blocked).collect();
        let [epoll_waits, timed_waits] = [epoll, timed].map(|percent| voluntary * percent / 100);
        let ledger = thread([on_cpu, runnable], &blocked);
        let gil_waits = gil_waits(&Ledger { voluntary, ..ledger.clone() });
        Ledger { tgid: Tgid(tgid), is_main, gil_waits, has_ended, voluntary, epoll_waits, timed_waits, begin_ns: ns(begin), spinning_ns: ns(spins), pausing_ns: ns(pauses), ..ledger }
    }
}

prop_compose! {
    /// A window of any figures, whether they go together or not.
    pub(crate) fn any_window()(
        mut ledgers in prop::collection::vec(any_ledger(), 0..8), pythons in prop::array::uniform4(0_usize..5), wall in 0.0..10.0_f64,
        cores in prop::array::uniform3(0_u64..6), host in prop::array::uniform2(0.0..40.0_f64), is_incomplete: bool,
        mask in prop::option::weighted(0.3, 0.0..6.0_f64), quota in prop::option::weighted(0.3, (0.1..6.0_f64, 0_u64..=100)),
        others in prop_oneof![3 => Just(0_u64), 1 => 1_u64..9], by_cpu in prop::collection::vec(0.0..9.0_f64, 0..6),
    ) -> Window {
        let kinds = [None, Some(OneGil), Some(ManyGils), Some(FreeThreaded), Some(Unresolved)];
        for ledger in &mut ledgers {
            ledger.python = kinds[pythons[ledger.tgid.0 as usize]];
        }
        let [allowed_cores, online_cores, physical_cores] = cores;
        let [idle_ns, foreign_ns] = host.map(ns);
        let on_cpu_ns_by_cpu = by_cpu.into_iter().map(ns).collect();
        let window = Window::of_ledgers(ns(wall), 1, ledgers);
        let threads = window.threads + others;
        let quota = quota.map(|(cpus, throttled_periods)| some_quota(cpus, throttled_periods));
        Window { cores_in_masks: mask, quota, allowed_cores, physical_cores, online_cores, idle_ns, foreign_ns, on_cpu_ns_by_cpu, is_incomplete, forgotten: others, threads, ..window }
    }
}
