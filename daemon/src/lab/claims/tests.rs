//! The same figures always give the same verdict, and figures of an unfit machine give none that is wrong.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::lab::cell::Cell;
use crate::lab::figures::Figures;
use crate::lab::sample::Sample;
use crate::report::schema::ThreadReport;

const CPUS: usize = 4;

struct Bench(Vec<Row>);

/// What a run of a cell shows.
fn figures(speed_up: f64, demand: f64, gil_share: f64) -> Figures {
    Figures {
        wall_seconds: 1.0 / speed_up,
        outside_wall_seconds: 1.0 / speed_up,
        work_seconds: 1.0 / speed_up,
        work: 64.0,
        speed_up: Some(speed_up),
        work_speed_up: Some(speed_up),
        running_mean: demand.min(CPUS as f64),
        demand_mean: demand,
        on_cpu_seconds: demand / speed_up,
        gil_share,
        handoffs_per_second: if gil_share > 0.0 { 180.0 } else { 0.0 },
        start_seconds: Some(1e-4),
        ..Figures::default()
    }
}

impl Bench {
    fn add(&mut self, runtime: &str, id: &str, workers: usize, runs: Vec<Figures>, details: &Value, threads: &[ThreadReport]) {
        let mut sample = Sample::default();
        sample.workload.details = details.as_object().cloned().unwrap_or_default();
        sample.report.threads = threads.to_vec();
        let cell = Cell { id: id.to_owned(), runtime: runtime.to_owned(), workers, ..Cell::default() };
        let samples = vec![sample; runs.len()];
        self.0.push(Row { cell, runs, samples, problem: None });
    }

    fn python(&mut self, id: &str, workers: usize, one: Figures, details: &Value) {
        self.add("3.11.7", id, workers, vec![one; 3], details, &[]);
    }

    fn row(&mut self, id: &str) -> &mut Row {
        self.0.iter_mut().find(|row| row.cell.id == id).unwrap_or_else(|| unreachable!("{id} was measured"))
    }

    fn runs(&mut self, id: &str) -> &mut Vec<Figures> {
        &mut self.row(id).runs
    }

    fn all_runs(&mut self) -> impl Iterator<Item = &mut Figures> {
        self.0.iter_mut().flat_map(|row| row.runs.iter_mut())
    }

    fn verdict(&self, id: &str) -> Judgement {
        of(&self.0, CPUS).into_iter().find(|judged| judged.claim == id).unwrap_or_else(|| unreachable!("{id} was judged"))
    }

    fn verdicts(&self) -> Vec<(String, Verdict)> {
        of(&self.0, CPUS).into_iter().map(|judged| (judged.claim, judged.verdict)).collect()
    }
}

fn echo(gil_seconds: f64) -> ThreadReport {
    ThreadReport {
        comm: "echo".to_owned(),
        on_cpu_seconds: 1.0 - gil_seconds,
        blocked_seconds_by_reason: [("gil".to_owned(), gil_seconds)].into(),
        ..ThreadReport::default()
    }
}

/// What an interpreter with a GIL shows on four quiet CPUs.
fn with_gil() -> Bench {
    let mut bench = Bench(Vec::new());
    let none = json!({});
    bench.add("native", CALIBRATION, CPUS, vec![figures(1.0, 4.0, 0.0); 3], &none, &[]);
    let plain = || figures(1.0, 1.0, 0.0);
    bench.python("arithmetic-serial", 1, plain(), &none);
    bench.python("arithmetic-threads", 4, Figures { running_mean: 1.0, ..figures(0.98, 1.2, 0.74) }, &none);
    let interval = |handoffs| Figures { handoffs_per_second: handoffs, ..figures(0.98, 1.2, 0.74) };
    bench.python("arithmetic-threads-interval-0.5ms", 4, interval(1500.0), &none);
    bench.python("arithmetic-threads-interval-50ms", 4, interval(18.0), &none);
    bench.python("arithmetic-processes-fork", 4, figures(3.8, 4.0, 0.0), &none);
    bench.python("hash-serial", 1, plain(), &none);
    bench.python("hash-threads", 4, figures(3.7, 3.9, 0.01), &none);
    bench.python("download-serial", 1, plain(), &none);
    for id in ["download-threads", "download-processes-fork", "download-asyncio"] {
        bench.python(id, 4, figures(3.9, 0.05, 0.0), &none);
    }
    bench.python("sleep-threads", 64, Figures { voluntary_per_second: 300.0, ..plain() }, &none);
    bench.python("sleep-asyncio", 64, Figures { voluntary_per_second: 10.0, ..plain() }, &none);
    bench.add("3.11.7", "convoy-thread-near", 1, vec![Figures { work: 200.0, ..plain() }; 3], &none, &[echo(0.95)]);
    bench.add("3.11.7", "convoy-process", 1, vec![Figures { work: 60_000.0, ..plain() }; 3], &none, &[echo(0.0)]);
    let start = |seconds| Figures { start_seconds: Some(seconds), ..plain() };
    bench.python("startup-threads", 8, start(1e-4), &json!({ "pss_bytes_per_worker": 16384 }));
    bench.python("startup-processes-fork", 8, start(1e-3), &json!({ "pss_bytes_per_worker": 2_000_000 }));
    bench.python("shared-memory-threads", 4, plain(), &json!({ "seen_by_parent": true, "seen_by_parent_count": 4 }));
    bench.python("shared-memory-processes", 4, plain(), &json!({ "seen_by_parent": false, "seen_by_parent_count": 0 }));
    bench.python("lost-updates-threads", 4, plain(), &json!({ "expected": 1000, "lost": 700 }));
    bench.python("lost-updates-processes", 4, plain(), &json!({ "expected": 1000, "lost": 1000, "counted_in_own_copies": 1000 }));
    bench.python("crash-threads", 4, plain(), &json!({ "workers": 4, "survivors": 0 }));
    bench.python("crash-processes", 4, plain(), &json!({ "workers": 4, "survivors": 3 }));
    bench.python("ipc-queue", 2, plain(), &json!({ "messages_per_second": 150_000 }));
    bench.python("ipc-pipe", 2, plain(), &json!({ "messages_per_second": 170_000 }));
    bench.python("queue-threads", 2, plain(), &json!({ "messages_per_second": 1_000_000 }));
    let queued = |share| Figures { queued_share: share, ..figures(1.0, 4.0, 0.0) };
    bench.python("oversubscribed-processes-1x", 4, queued(0.02), &json!({ "units_per_second": 1000 }));
    bench.python("oversubscribed-processes-4x", 16, queued(0.75), &json!({ "units_per_second": 970 }));
    let lag = |seconds| Figures { latency_p99_seconds: Some(seconds), ..plain() };
    bench.python("lag-in-loop", 1, lag(0.04), &none);
    bench.python("lag-process-pool", 1, lag(0.0005), &none);
    bench
}

/// The claims that are not so, with a GIL.
const FALSE_WITH_GIL: [&str; 2] = ["gil-switching-is-cooperative", "gil-does-not-matter-for-io"];

/// The claim about interpreters that have none.
const WITHOUT_GIL: &str = "threads-without-a-gil-speed-up-computing";

/// What each claim comes to with a GIL, given those that the machine is not fit to judge.
fn assert_verdicts(bench: &Bench, inconclusive: &[&str]) {
    for (claim, verdict) in bench.verdicts() {
        let expected = match claim.as_str() {
            claim if inconclusive.contains(&claim) => Verdict::Inconclusive,
            claim if FALSE_WITH_GIL.contains(&claim) => Verdict::DoesNotHold,
            WITHOUT_GIL => Verdict::Skipped,
            _ => Verdict::Holds,
        };
        assert_eq!(verdict, expected, "{claim}");
    }
}

#[test]
fn an_interpreter_with_a_gil_is_recognised() {
    let bench = with_gil();
    assert_eq!(bench.verdicts().len(), ALL.len() - 1, "all but sub-interpreters, which are not among the cells");
    assert_verdicts(&bench, &[]);
}

#[test]
fn without_a_gil_the_answer_is_another() {
    let mut bench = with_gil();
    *bench.runs("arithmetic-threads") = vec![figures(3.6, 4.0, 0.0); 3];
    assert_eq!(bench.verdict("one-thread-at-a-time").verdict, Verdict::DoesNotHold);
    assert_eq!(bench.verdict("threads-do-not-speed-up-computing").verdict, Verdict::DoesNotHold);
    assert_eq!(bench.verdict("gil-switching-is-cooperative").verdict, Verdict::Inconclusive);
    for sample in &mut bench.row("arithmetic-threads").samples {
        sample.said = json!({ "interpreter": { "gil": false } });
    }
    assert_eq!(bench.verdict(WITHOUT_GIL).verdict, Verdict::Holds);
    // Faster, but by less than what counts.
    *bench.runs("arithmetic-threads") = vec![figures(1.8, 4.0, 0.0); 3];
    assert_eq!(bench.verdict("threads-do-not-speed-up-computing").verdict, Verdict::Inconclusive);
}

#[test]
fn a_starved_machine_tells_demand_but_no_speed() {
    let mut bench = with_gil();
    for run in bench.all_runs() {
        run.foreign_share = 0.7;
        run.running_mean *= 0.3;
        // What a starved machine would make of it.
        run.speed_up = run.speed_up.map(|_| 1.0);
        run.work_speed_up = run.speed_up;
    }
    let inconclusive = [
        "threads-cost-less",
        "waiting-overlaps",
        "asyncio-switches-less",
        "processes-need-ipc",
        "too-many-workers-hurt",
        "hybrid-keeps-the-loop-responsive",
    ];
    assert_verdicts(&bench, &inconclusive);
}

/// What starvation may do to what happens at all: it hides it, and that is no proof that it does not happen.
#[test]
fn what_did_not_happen_on_a_busy_machine_proves_nothing() {
    let hidden = |id: &str, claim: &str, details: Value| {
        let verdict = |foreign_share| {
            let mut bench = with_gil();
            let Row { samples, runs, .. } = bench.row(id);
            for (sample, run) in samples.iter_mut().zip(runs) {
                sample.workload.details = details.as_object().cloned().unwrap_or_default();
                run.foreign_share = foreign_share;
                run.handoffs_per_second = 0.0;
            }
            bench.verdict(claim).verdict
        };
        [verdict(0.0), verdict(0.5)]
    };
    let either = [Verdict::DoesNotHold, Verdict::Inconclusive];
    let none_lost = json!({ "expected": 1000, "lost": 0 });
    assert_eq!(hidden("lost-updates-threads", "threads-lose-updates", none_lost), either);
    assert_eq!(hidden("crash-processes", "a-crash-takes-all-threads", json!({ "workers": 4, "survivors": 2 })), either);
    let never_forced = hidden("arithmetic-threads", "gil-switching-is-cooperative", json!({}));
    assert_eq!(never_forced, [Verdict::Holds, Verdict::Inconclusive]);
}

#[test]
fn disturbed_rounds_do_not_count_and_one_in_five_may_differ() {
    let mut bench = with_gil();
    bench.runs("lag-process-pool")[1].foreign_share = 0.9;
    bench.runs("lag-process-pool")[1].latency_p99_seconds = Some(0.5);
    let judged = bench.verdict("hybrid-keeps-the-loop-responsive");
    assert_eq!((judged.verdict, judged.rounds_used, judged.rounds), (Verdict::Holds, 2, 3));
    assert!(judged.figures.iter().all(|figure| figure.max < 0.1), "figures of disturbed rounds are left out: {judged:?}");
    // The same delay in a quiet round.
    bench.runs("lag-process-pool")[1].foreign_share = 0.0;
    assert_eq!(bench.verdict("hybrid-keeps-the-loop-responsive").verdict, Verdict::Inconclusive);
}

/// The verdict after a change of one cell's runs.
fn with(id: &str, claim: &str, change: impl Fn(&mut Figures)) -> Verdict {
    let mut bench = with_gil();
    bench.runs(id).iter_mut().for_each(change);
    bench.verdict(claim).verdict
}

#[test]
fn verdicts_change_at_their_tolerances() {
    use Verdict::{DoesNotHold, Holds, Inconclusive};
    let speed = |gain| with("arithmetic-processes-fork", "processes-speed-up-computing", |run| run.work_speed_up = Some(gain));
    assert_eq!([2.8, 2.79, 1.16, 1.15].map(speed), [Holds, Inconclusive, Inconclusive, DoesNotHold]);
    let threads = |gain| with("arithmetic-threads", "threads-do-not-speed-up-computing", |run| run.work_speed_up = Some(gain));
    assert_eq!([1.15, 1.16, 2.79, 2.8].map(threads), [Holds, Inconclusive, Inconclusive, DoesNotHold]);
    let overlap = |gain| with("download-processes-fork", "waiting-overlaps", |run| run.work_speed_up = Some(gain));
    assert_eq!([3.2, 3.19, 1.16, 1.15].map(overlap), [Holds, Inconclusive, Inconclusive, DoesNotHold]);
    let turns = |running| with("arithmetic-threads", "one-thread-at-a-time", |run| run.running_mean = running);
    assert_eq!([1.05, 1.06, 1.29, 1.3].map(turns), [Holds, Inconclusive, Inconclusive, DoesNotHold]);
    let waits = |share| with("arithmetic-threads", "one-thread-at-a-time", |run| run.gil_share = share);
    assert_eq!([0.375, 0.374].map(waits), [Holds, Inconclusive]);
    let start = |seconds| with("startup-processes-fork", "threads-cost-less", |run| run.start_seconds = Some(seconds));
    assert_eq!([2.1e-4, 1.9e-4, 0.9e-4].map(start), [Holds, Inconclusive, DoesNotHold]);
    let lag = |seconds| with("lag-process-pool", "hybrid-keeps-the-loop-responsive", |run| run.latency_p99_seconds = Some(seconds));
    assert_eq!([0.0079, 0.0081, 0.04].map(lag), [Holds, Inconclusive, DoesNotHold]);
    let queue = |share| with("oversubscribed-processes-4x", "too-many-workers-hurt", |run| run.queued_share = share);
    assert_eq!([0.1, 0.09].map(queue), [Holds, Inconclusive]);
    let forced = |rate| with("arithmetic-threads", "gil-switching-is-cooperative", |run| run.handoffs_per_second = rate);
    // On-CPU time is 1.2 times the wall time.
    assert_eq!([6.1, 5.9, 0.0].map(forced), [DoesNotHold, Inconclusive, Holds]);
    let interval =
        |rate| with("arithmetic-threads-interval-0.5ms", "gil-switching-is-cooperative", |run| run.handoffs_per_second = rate);
    assert_eq!([271.0, 269.0].map(interval), [DoesNotHold, Inconclusive]);
    let echoes = |work| with("convoy-process", "gil-does-not-matter-for-io", |run| run.work = work);
    assert_eq!([400.0, 399.0].map(echoes), [DoesNotHold, Inconclusive]);
    let switches = |rate| with("sleep-asyncio", "asyncio-switches-less", |run| run.voluntary_per_second = rate);
    assert_eq!([60.0, 61.0, 300.0].map(switches), [Holds, Inconclusive, DoesNotHold]);
}

#[test]
fn a_machine_is_fit_up_to_its_bounds() {
    let load = |id: &'static str, claim: &'static str| {
        move |share| with(id, claim, |run| run.foreign_share = share) != Verdict::Inconclusive
    };
    assert_eq!([0.05, 0.051].map(load("oversubscribed-processes-1x", "too-many-workers-hurt")), [true, false]);
    assert_eq!([0.3, 0.31].map(load("lag-in-loop", "hybrid-keeps-the-loop-responsive")), [true, false]);
    assert_eq!([0.97, 0.98].map(load("arithmetic-threads", "one-thread-at-a-time")), [true, false]);
    assert_eq!([0.97, 1.0].map(load("crash-threads", "a-crash-takes-all-threads")), [true, true]);
    let stolen = |share| with("lag-in-loop", "hybrid-keeps-the-loop-responsive", |run| run.steal_share = share);
    assert_eq!([0.01, 0.011].map(stolen), [Verdict::Holds, Verdict::Inconclusive]);
    let got = |running| with(CALIBRATION, "too-many-workers-hurt", |run| run.running_mean = running);
    assert_eq!([3.68, 3.67].map(got), [Verdict::Holds, Verdict::Inconclusive]);
    let judged = of(&with_gil().0, 1);
    let speed = judged.iter().find(|judged| judged.claim == "too-many-workers-hurt");
    assert_eq!(speed.and_then(|judged| judged.why.as_deref()), Some("with one CPU nothing can run in parallel"));
}

#[test]
fn cells_that_did_not_run_give_their_reason() {
    let mut bench = with_gil();
    bench.row("lag-in-loop").problem = Some(Problem::Skipped("no loop".to_owned()));
    let judged = bench.verdict("hybrid-keeps-the-loop-responsive");
    assert_eq!((judged.verdict, judged.why.as_deref()), (Verdict::Skipped, Some("no loop")));
    assert!(of(&[], CPUS).is_empty() && text(&[]).is_empty());
}

#[test]
fn claims_are_sentences_with_keys_of_their_own() {
    assert_eq!(ALL.iter().map(|claim| claim.id).collect::<BTreeSet<_>>().len(), ALL.len());
    assert!(ALL.iter().all(|claim| claim.sentence.ends_with('.') && !claim.cells.is_empty()));
}

proptest! {
    /// Whatever share others take and however the speeds look then: never the opposite of what a quiet machine says.
    #[test]
    fn foreign_load_never_turns_a_verdict_round(
        foreign in 0.31..1.0_f64, slow in prop::collection::vec(0.2..5.0_f64, 64), round in 0..3_usize
    ) {
        let quiet = with_gil().verdicts();
        let mut bench = with_gil();
        for (index, run) in bench.all_runs().enumerate() {
            if index % 3 <= round {
                let factor = slow[index % slow.len()];
                run.foreign_share = foreign;
                run.work_speed_up = run.work_speed_up.map(|gain| gain * factor);
                run.work *= factor;
                run.start_seconds = run.start_seconds.map(|start| start * factor);
                run.latency_p99_seconds = run.latency_p99_seconds.map(|lag| lag * factor);
                run.voluntary_per_second *= factor;
            }
        }
        for ((claim, verdict), (_, told_quietly)) in bench.verdicts().into_iter().zip(quiet) {
            prop_assert!(verdict == told_quietly || verdict == Verdict::Inconclusive, "{claim}: {verdict:?}");
        }
    }

    #[test]
    fn a_lost_observation_leaves_only_what_needs_none(lost in 1..1000_u64) {
        let mut bench = with_gil();
        for run in bench.all_runs() {
            run.lost = lost;
        }
        for (claim, verdict) in bench.verdicts() {
            let needs_none = Claim::find(&claim).is_some_and(|claim| claim.gate == Gate::Events);
            prop_assert_eq!(verdict == Verdict::Inconclusive, !needs_none && claim != WITHOUT_GIL, "{}", claim);
        }
    }
}
