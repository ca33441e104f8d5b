//! A run as schedscope reports it beside what the kernel's events say of it. Pure.

use std::collections::BTreeMap;

use schedscope::report::RunReport;
use schedscope::report::schema::{Quantiles, ThreadReport};
use schedscope_ebpf::bucket;

use super::clock::Span;
use super::replay::{Thread, Waits};
use super::timehist::Shown;

/// The quantiles of a report.
pub(super) const QUANTILES: [&str; 3] = ["p50", "p90", "p99"];

/// A figure of ours and the interval in which it must lie.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figure {
    pub(super) ours_ns: u64,
    pub(super) allowed: Span,
}

/// One distribution: how many waits or runs there were, and the quantiles of their lengths.
#[derive(Clone, Debug, Default)]
pub(super) struct Distribution {
    pub(super) count: u64,
    pub(super) quantiles: Vec<Figure>,
}

#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub(super) threads: u64,
    pub(super) voluntary: u64,
    pub(super) preempted: u64,
    pub(super) yielded: u64,
    pub(super) migrations: u64,
    pub(super) on_cpu_ns: u64,
    pub(super) wakeup: Distribution,
    pub(super) preemption: Distribution,
    pub(super) timeslice: Distribution,
    /// Switches that timehist shows; none where it was not asked or has lost events.
    pub(super) timehist: Option<u64>,
    /// What timehist shows otherwise than the ring, one sentence each. Nothing of ours is in that: one of the two has lost an event, or
    /// perf's time is from before the ring's.
    pub(super) otherwise: Vec<String>,
    /// What is not as it must be, one sentence each.
    pub(super) wrong: Vec<String>,
}

/// Compares everything. `shown` is what `perf sched timehist` shows of the same run.
pub(super) fn compare(report: &RunReport, threads: &[Thread], shown: Option<&BTreeMap<u32, Shown>>) -> Comparison {
    let mut result = Comparison { threads: threads.len() as u64, ..Comparison::default() };
    let wrong = &mut result.wrong;
    if report.threads_omitted > 0 || report.loss.total > 0 {
        wrong
            .push(format!("{} threads are not listed, and {} observations are missing", report.threads_omitted, report.loss.total));
    }
    for (ours, kernels) in pairs(report, threads) {
        match (ours, kernels) {
            (Some(ours), Some(kernels)) => compare_thread(ours, kernels, wrong),
            (Some(ours), None) => wrong.push(format!("thread {} ({}) is not in the ring", ours.tid, ours.comm)),
            (None, Some(kernels)) => {
                wrong.push(format!("thread {} is only in the ring: {} switches", kernels.tid, kernels.switches()));
            }
            (None, None) => {}
        }
    }
    if let Some(shown) = shown {
        compare_shown(shown, threads, &mut result.otherwise);
        result.timehist = Some(threads.iter().filter_map(|thread| shown.get(&thread.tid)).map(|shown| shown.switches).sum());
    }
    let all = |of: fn(&Thread) -> &Waits| {
        let mut all = Waits::default();
        for waits in threads.iter().map(of) {
            all.seen.extend(&waits.seen);
            all.hidden.extend(&waits.hidden);
        }
        all
    };
    result.wakeup = distribution("wake-up latency", &report.wakeup_latency_seconds, &all(|of| &of.wakeup), wrong);
    result.preemption = distribution("preemption wait", &report.preemption_wait_seconds, &all(|of| &of.preemption), wrong);
    result.timeslice = distribution("timeslice", &report.timeslice_seconds, &all(|of| &of.slices), wrong);
    for thread in threads {
        result.voluntary += thread.voluntary;
        result.preempted += thread.preempted;
        result.yielded += thread.yielded;
        result.migrations += thread.migrations;
        result.on_cpu_ns += thread.on_cpu_ns;
    }
    result
}

/// Threads of the same id. There are several only if one took over another's by exec: then the one that ran longer belongs to the one
/// that ran longer.
fn pairs<'a>(report: &'a RunReport, threads: &'a [Thread]) -> Vec<(Option<&'a ThreadReport>, Option<&'a Thread>)> {
    let mut by_tid: BTreeMap<u32, (Vec<&ThreadReport>, Vec<&Thread>)> = BTreeMap::new();
    for ours in &report.threads {
        by_tid.entry(ours.tid).or_default().0.push(ours);
    }
    for thread in threads {
        by_tid.entry(thread.tid).or_default().1.push(thread);
    }
    let mut pairs = Vec::new();
    for (mut ours, mut kernels) in by_tid.into_values() {
        ours.sort_by_key(|thread| nanoseconds(thread.on_cpu_seconds));
        kernels.sort_by_key(|thread| thread.on_cpu_ns);
        let longest = ours.len().max(kernels.len());
        pairs.extend((0..longest).map(|index| (ours.get(index).copied(), kernels.get(index).copied())));
    }
    pairs
}

fn compare_thread(ours: &ThreadReport, kernels: &Thread, wrong: &mut Vec<String>) {
    let mut tell = |what: &str| wrong.push(format!("thread {} ({}): {what}", ours.tid, ours.comm));
    if !ours.ended || !kernels.has_ended {
        tell("has not ended");
    }
    for (name, ours, kernels) in [
        ("voluntary", ours.voluntary, kernels.voluntary),
        ("preempted", ours.preempted, kernels.preempted),
        ("yielded", ours.yielded, kernels.yielded),
        ("migrations", ours.migrations, kernels.migrations),
    ] {
        if ours != kernels {
            tell(&format!("{name} {ours}, by ftrace {kernels}"));
        }
    }
    let on_cpu = Span { least_ns: kernels.on_cpu_ns, most_ns: kernels.on_cpu_ns + kernels.unseen_ns };
    for (name, ours, Span { least_ns, most_ns }) in [
        ("on a CPU", ours.on_cpu_seconds, on_cpu),
        ("waits after wake-ups", ours.wakeup_latency_seconds, kernels.wakeup.sum),
        ("waits after preemptions", ours.runnable_after_preemption_seconds, kernels.preemption.sum),
    ] {
        let ours_ns = nanoseconds(ours);
        if !(least_ns..=most_ns).contains(&ours_ns) {
            tell(&format!("{name} {ours_ns} ns, by ftrace {least_ns} to {most_ns} ns"));
        }
    }
}

/// Times that timehist shows are rounded to microseconds, each from two that are.
const ROUNDING_NS: u64 = 1_000;

/// A second reader of the same events: perf's ring and perf's arithmetic. It knows threads by their id only, so it mixes up those that
/// change theirs.
fn compare_shown(shown: &BTreeMap<u32, Shown>, threads: &[Thread], otherwise: &mut Vec<String>) {
    let mut by_tid = BTreeMap::<u32, Vec<&Thread>>::new();
    for thread in threads {
        by_tid.entry(thread.tid).or_default().push(thread);
    }
    for renamed in threads.iter().filter(|thread| thread.old_tid.is_some()) {
        by_tid.remove(&renamed.tid);
    }
    for (tid, threads) in by_tid {
        let shown = shown.get(&tid).copied().unwrap_or_default();
        let (mut switches, mut run, mut delay) = (Span::default(), Span::default(), Span::default());
        for thread in &threads {
            switches.add(Span { least_ns: thread.switches() - thread.switches_ending, most_ns: thread.switches() });
            run.add(thread.run_events);
            delay.add(thread.delay_events);
        }
        // perf loses wakings on idle CPUs, and takes the wait for none.
        if shown.wakings < threads.iter().map(|thread| thread.wakings).sum() {
            delay = delay.or_none();
        }
        if !(switches.least_ns..=switches.most_ns).contains(&shown.switches) {
            let Span { least_ns: least, most_ns: most } = switches;
            otherwise.push(format!("thread {tid}: {} switches in timehist, by ftrace {least} to {most}", shown.switches));
        } else if threads.iter().all(|thread| thread.slices.hidden.is_empty()) {
            let slack_ns = ROUNDING_NS * shown.switches;
            for (name, shown_ns, Span { least_ns, most_ns }) in
                [("run time", shown.run_ns, run), ("sch delay", shown.delay_ns, delay)]
            {
                if shown_ns + slack_ns < least_ns || shown_ns > most_ns + slack_ns {
                    otherwise.push(format!("thread {tid}: {name} {shown_ns} ns in timehist, by ftrace {least_ns} to {most_ns} ns"));
                }
            }
        }
    }
}

/// Each length lies in its interval, so each quantile lies between those of the shortest and of the longest lengths. Which of the hidden
/// ones are among ours nobody knows.
fn distribution(name: &str, ours: &Quantiles, waits: &Waits, wrong: &mut Vec<String>) -> Distribution {
    let (least, most) = (waits.seen.len(), waits.seen.len() + waits.hidden.len());
    let mut result = Distribution { count: ours.count, quantiles: Vec::new() };
    let Some(hidden) = usize::try_from(ours.count).ok().filter(|count| (least..=most).contains(count)).map(|count| count - least)
    else {
        wrong.push(format!("{name}: {} observations, by ftrace {least} to {most}", ours.count));
        return result;
    };
    let sorted = |of: fn(&Span) -> u64, waits: &[Span]| {
        let mut lengths: Vec<u64> = waits.iter().map(of).collect();
        lengths.sort_unstable();
        lengths
    };
    let mut shortest = sorted(|wait| wait.least_ns, &waits.seen);
    shortest.extend(sorted(|wait| wait.least_ns, &waits.hidden).iter().take(hidden));
    shortest.sort_unstable();
    let mut longest = sorted(|wait| wait.most_ns, &waits.seen);
    longest.extend(sorted(|wait| wait.most_ns, &waits.hidden).iter().rev().take(hidden));
    longest.sort_unstable();
    if ours.count == 0 {
        return result;
    }
    for (quantile, share, ours_seconds) in
        [(QUANTILES[0], 0.5, ours.p50), (QUANTILES[1], 0.9, ours.p90), (QUANTILES[2], 0.99, ours.p99)]
    {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of the number of observations")]
        let rank = ((share * ours.count as f64).ceil() as usize).max(1) - 1;
        let allowed = Span { least_ns: shortest[rank], most_ns: longest[rank] };
        let figure = Figure { ours_ns: nanoseconds(ours_seconds), allowed };
        let buckets = bucket::index_of(allowed.least_ns)..=bucket::index_of(allowed.most_ns);
        if !buckets.contains(&bucket::index_of(figure.ours_ns)) {
            wrong.push(format!(
                "{name}: {quantile} {} ns, by ftrace {} to {} ns",
                figure.ours_ns, allowed.least_ns, allowed.most_ns
            ));
        }
        result.quantiles.push(figure);
    }
    result
}

/// Reports have seconds, made from whole nanoseconds.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "times are positive and far below 2^53 ns")]
fn nanoseconds(seconds: f64) -> u64 {
    (seconds * 1e9).round() as u64
}
