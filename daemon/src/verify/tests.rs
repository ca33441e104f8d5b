//! Every bound can fail: a run that agrees with the kernel in everything, and for each figure the changes that make it differ.

use std::collections::BTreeSet;

use schedscope_ebpf::abi::{Histogram, KernelCounts, TaskRecord};
use schedscope_ebpf::loss::Loss;
use schedscope_ebpf::residual::Figures;
use schedscope_ebpf::task_clock::Phase;
use schedscope_ebpf::wait_account::WaitAccount;

use super::host::{self, Around, HostReading};
use super::proc::{self, TaskCounters};
use super::wait4::{self, Rusage};
use super::{task_struct, verdict, *};
use crate::capture::distribution::Distribution;
use crate::capture::run::tests::run_of;
use crate::capture::run::{HostSwitches, Run};
use crate::capture::snapshot::Thread;
use crate::capture::snapshot::tests::thread;

const SECOND: u64 = 1_000_000_000;
/// More than a thousandth of a second.
const TOO_FAR_NS: u64 = SECOND / 1000 + 1;

/// More than 500 ppm of the waits, 50 us for each of nine migrations, and a millisecond.
const CLOCK_NS: i64 = 3_000_000 + 450_000 + 1_000_000 + 1;

/// Three threads in two processes, which did the same and all ended, and everything that the kernel says of them.
struct Tree {
    run: Run,
    usage: Rusage,
    /// The same threads before they ended.
    resting: Vec<Thread>,
    tasks: Vec<TaskCounters>,
    before: TaskCounters,
    host: [HostReading; 2],
}

/// Of four seconds it ran for one, waited for two and slept for one, with 10 voluntary switches, 5 others and 3 migrations.
fn ended(tid: u32, process: u32) -> Thread {
    let mut thread = thread(tid, Phase::Dead);
    let record = &mut thread.record;
    record.tgid = process;
    (record.start_ns, record.clock.since_ns) = (SECOND, 5 * SECOND);
    (record.on_cpu_ns, record.wakeup_wait_ns, record.preempt_wait_ns) = (SECOND, SECOND, SECOND);
    record.blocked_ns[0] = SECOND;
    (record.voluntary, record.preempted, record.yielded, record.migrations) = (10, 4, 1, [2, 1]);
    record.kernel_before = KernelCounts { voluntary: 100, involuntary: 200, migrations: 300, runtime_ns: 7, run_delay_ns: 8 };
    record.kernel_after = KernelCounts {
        voluntary: 110,
        involuntary: 205,
        migrations: 303,
        runtime_ns: SECOND + 7,
        run_delay_ns: 2 * SECOND - 20_000 + 8,
    };
    // Only its last switch came after it had begun to end.
    record.at_exit = Figures { on_cpu_ns: SECOND, voluntary: 9, involuntary: 5, migrations: 3 };
    // 20 us of its waits had passed before it was queued.
    account(&mut thread).before_queued_ns = 20_000;
    thread
}

/// A distribution of so many.
fn observations(count: u64) -> Distribution {
    let mut histogram = Histogram::default();
    histogram.counts[0] = count;
    let mut distribution = Distribution::default();
    distribution.add(&histogram);
    distribution
}

fn tree() -> Tree {
    let threads = vec![ended(1, 1), ended(2, 1), ended(3, 3)];
    let mut resting = threads.clone();
    for thread in &mut resting {
        thread.record.clock.phase = Phase::Blocked as u32;
    }
    let before = TaskCounters { tid: 1, voluntary: 3, migrations: Some(0), ..TaskCounters::default() };
    let task = |thread: &Thread| TaskCounters {
        tid: thread.record.tid,
        voluntary: if thread.record.tid == 1 { 13 } else { 10 },
        involuntary: 5,
        on_cpu_ns: SECOND,
        run_delay_ns: 2 * SECOND - 20_000,
        timeslices: 15,
        migrations: Some(3),
    };
    let tasks = threads.iter().map(task).collect();
    let mut run = run_of(threads);
    (run.totals.voluntary, run.totals.preempted, run.totals.yielded) = (30, 12, 3);
    run.totals.threads_started = 3;
    // Each thread waited for a wake-up when it had been forked, and did not wait after its last switch.
    run.totals.wakeup_latency = observations(30);
    run.totals.preemption_wait = observations(15);
    run.totals.timeslice = observations(45);
    let reading = |switches: u64| {
        let ours = HostSwitches { seen: switches - 1_000, unseen: 0 };
        let kernel = Around { earlier: switches, later: switches };
        HostReading { proc_stat: kernel, perf: Some(kernel), ours, settled: ours }
    };
    // The kernel lacks the last switch of the thread that nobody waits for.
    let usage = Rusage { voluntary: 3 + 30 - 1, involuntary: 15 };
    Tree { run, usage, resting, tasks, before, host: [reading(1_000), reading(1_500)] }
}

impl Tree {
    fn ended(&mut self, index: usize) -> &mut TaskRecord {
        &mut self.run.threads[index].record
    }

    fn resting(&mut self, index: usize) -> &mut TaskRecord {
        &mut self.resting[index].record
    }
}

fn check(tree: &Tree) -> Check {
    let mut check = task_struct::check(&tree.run);
    wait4::Tree { before: Ok(tree.before.clone()) }.compare(&tree.run, tree.usage, true, &mut check);
    proc::compare(&tree.resting, &tree.tasks, &tree.before, &Ok(()), &mut check);
    check.oracles.extend(host::compare(&tree.host[0], &tree.host[1]));
    let ledger = verdict::ledger(&tree.run, &check);
    check.oracles.extend(ledger);
    check
}

/// What makes a figure differ.
type Mutation = fn(&mut Tree);

fn account(thread: &mut Thread) -> &mut WaitAccount {
    thread.wait_account.get_or_insert_default()
}

/// Makes the conversion of the clock change a wait, and the thread's account know it.
fn convert(thread: &mut Thread, by_ns: i64) {
    thread.record.wakeup_wait_ns = thread.record.wakeup_wait_ns.wrapping_add_signed(by_ns);
    account(thread).converted_ns += by_ns;
}

/// By source and quantity, ways in which each must fail: just far enough off, to either side.
const MUTATIONS: [(&str, &str, &[Mutation]); 26] = [
    ("task_struct", "nvcsw", &[|tree| tree.ended(0).voluntary += 1, |tree| tree.ended(0).voluntary -= 1]),
    ("task_struct", "nivcsw", &[|tree| tree.ended(0).preempted += 1, |tree| tree.ended(0).yielded -= 1]),
    ("task_struct", "nr_migrations", &[|tree| tree.ended(0).migrations[0] += 1, |tree| tree.ended(0).migrations[1] -= 1]),
    (
        "task_struct",
        "sum_exec_runtime_seconds",
        &[
            |tree| tree.run.threads.iter_mut().for_each(|thread| thread.record.on_cpu_ns += TOO_FAR_NS),
            |tree| tree.run.threads.iter_mut().for_each(|thread| thread.record.on_cpu_ns -= TOO_FAR_NS),
        ],
    ),
    (
        "task_struct",
        "run_delay_seconds",
        &[
            |tree| tree.ended(0).wakeup_wait_ns += 1,
            |tree| tree.ended(0).preempt_wait_ns -= 1,
            |tree| account(&mut tree.run.threads[0]).before_queued_ns += 1,
        ],
    ),
    (
        "task_struct",
        "threads with any other count",
        &[|tree| {
            tree.ended(0).voluntary += 1;
            tree.ended(1).voluntary -= 1;
        }],
    ),
    (
        "task_struct",
        "threads with another run delay",
        &[|tree| {
            tree.ended(0).wakeup_wait_ns += 1;
            tree.ended(1).wakeup_wait_ns -= 1;
        }],
    ),
    (
        "task_struct",
        "run_delay_by_our_clock_seconds",
        &[|tree| convert(&mut tree.run.threads[0], CLOCK_NS), |tree| convert(&mut tree.run.threads[0], -CLOCK_NS)],
    ),
    ("wait4", "ru_nvcsw", &[|tree| tree.run.totals.voluntary += 1, |tree| tree.run.totals.voluntary -= 1]),
    ("wait4", "ru_nivcsw", &[|tree| tree.run.totals.preempted += 1, |tree| tree.run.totals.yielded -= 1]),
    ("proc", "voluntary_ctxt_switches", &[|tree| tree.resting(0).voluntary += 1, |tree| tree.resting(1).voluntary -= 1]),
    ("proc", "nonvoluntary_ctxt_switches", &[|tree| tree.resting(0).yielded += 1, |tree| tree.resting(1).preempted -= 1]),
    (
        "proc",
        "schedstat_on_cpu_seconds",
        &[
            |tree| tree.resting.iter_mut().for_each(|thread| thread.record.on_cpu_ns += TOO_FAR_NS),
            |tree| tree.resting.iter_mut().for_each(|thread| thread.record.on_cpu_ns -= TOO_FAR_NS),
        ],
    ),
    ("proc", "se.nr_migrations", &[|tree| tree.resting(0).migrations[0] += 1, |tree| tree.resting(0).migrations[0] -= 1]),
    (
        "proc",
        "schedstat_run_delay_seconds",
        &[|tree| tree.resting(0).wakeup_wait_ns += 1, |tree| tree.resting(0).preempt_wait_ns -= 1],
    ),
    (
        "proc",
        "schedstat_run_delay_by_our_clock_seconds",
        &[|tree| convert(&mut tree.resting[0], CLOCK_NS), |tree| convert(&mut tree.resting[0], -CLOCK_NS)],
    ),
    (
        "proc",
        "threads with another run delay",
        &[|tree| {
            tree.resting(0).wakeup_wait_ns += 1;
            tree.resting(1).wakeup_wait_ns -= 1;
        }],
    ),
    (
        "proc",
        "schedstat_timeslices",
        &[|tree| tree.tasks[0].timeslices += 1, |tree| account(&mut tree.resting[0]).uncounted_runs += 1],
    ),
    (
        "proc",
        "threads with any other count",
        &[
            |tree| {
                tree.resting(0).voluntary += 1;
                tree.resting(1).voluntary -= 1;
            },
            |tree| tree.resting.truncate(2),
            |tree| tree.tasks.truncate(2),
        ],
    ),
    (
        "proc_stat",
        "ctxt",
        &[
            |tree| tree.host[1].ours.seen += 1,
            |tree| (tree.host[1].ours.unseen, tree.host[1].settled.unseen) = (1, 1),
            |tree| tree.host[0].ours.seen += 1,
            |tree| tree.host[1].proc_stat = Around { earlier: 1_501, later: 1_501 },
        ],
    ),
    (
        "perf",
        "context-switches",
        &[
            |tree| tree.host[1].ours.seen -= 1,
            |tree| tree.host[1].perf = Some(Around { earlier: 1_499, later: 1_499 }),
            |tree| tree.host[0].perf = Some(Around { earlier: 999, later: 999 }),
        ],
    ),
    (
        "ledger",
        "running + runnable + transit + blocked_seconds",
        &[|tree| tree.ended(0).blocked_ns[0] += 13 * TOO_FAR_NS, |tree| tree.ended(0).start_ns -= 13 * TOO_FAR_NS],
    ),
    (
        "ledger",
        "waits for a wake-up",
        &[|tree| tree.run.totals.wakeup_latency = observations(29), |tree| tree.run.totals.wakeup_latency = observations(31)],
    ),
    (
        "ledger",
        "waits after a preemption",
        &[|tree| tree.run.totals.preemption_wait = observations(14), |tree| tree.run.totals.preemption_wait = observations(16)],
    ),
    (
        "ledger",
        "timeslices",
        &[|tree| tree.run.totals.timeslice = observations(44), |tree| tree.run.totals.timeslice = observations(46)],
    ),
    ("ledger", "threads not compared", &[|tree| tree.run.totals.threads_started += 1]),
];

#[test]
fn every_bound_can_fail() {
    let agreeing = check(&tree());
    assert_eq!(agreeing.verdict(), Verdict::Agrees, "{agreeing:?}");
    let name = |row: &Residual| (row.source.clone(), row.quantity.clone());
    let guarded: BTreeSet<_> =
        MUTATIONS.iter().map(|(source, quantity, _)| ((*source).to_owned(), (*quantity).to_owned())).collect();
    let mut all: BTreeSet<_> = agreeing.rows().iter().map(name).collect();
    all.remove(&("ledger".to_owned(), "observations missing".to_owned()));
    assert_eq!(all, guarded, "each comparison has its mutations");
    for (source, quantity, mutations) in MUTATIONS {
        for (index, mutate) in mutations.iter().enumerate() {
            let mut tree = tree();
            mutate(&mut tree);
            let check = check(&tree);
            let rows = check.rows();
            let row = rows.iter().find(|row| row.source == source && row.quantity == quantity);
            let row = row.unwrap_or_else(|| panic!("no {quantity} of {source}"));
            assert!(row.verdict().differs(), "{source} {quantity}, way {index}: {row:?}");
            let Verdict::Differs { rows } = check.verdict() else { panic!("{source} {quantity}: {check:?}") };
            assert!(rows.contains(&row.to_string()), "{rows:?} does not say {row}");
        }
    }
}

#[test]
fn each_way_to_lose_an_observation_is_out_of_bounds() {
    for loss in Loss::ALL {
        let mut tree = tree();
        tree.run.losses.0[loss as usize] = 1;
        let is_missing = tree.run.losses.missing() > 0;
        assert_eq!(check(&tree).verdict().differs(), is_missing, "{loss:?}");
    }
}

#[test]
fn waits_that_were_not_measured_have_no_verdict() {
    let mut tree = tree();
    tree.run.wait_accounts = Err("measured with --check".to_owned());
    tree.run.threads.iter_mut().for_each(|thread| thread.wait_account = None);
    tree.ended(0).wakeup_wait_ns += SECOND;
    let check = task_struct::check(&tree.run);
    let delay = &check.residuals[4];
    assert_eq!(delay.verdict(), Verdict::NotCompared { why: "task_struct run_delay_seconds: measured with --check".to_owned() });
    assert_eq!((check.verdict(), delay.allowed().as_str()), (Verdict::Agrees, "-"), "the counts agree");
    let nothing = task_struct::check(&run_of(Vec::new())).verdict();
    assert_eq!(nothing, Verdict::NotCompared { why: "no thread ended under observation".to_owned() });
}

#[test]
fn waits_whose_events_were_missed_have_no_verdict() {
    let verdict = |unobserved| {
        let mut tree = tree();
        tree.ended(0).voluntary += 955;
        account(&mut tree.run.threads[0]).unobserved_waits = unobserved;
        task_struct::check(&tree.run).residuals[4].verdict()
    };
    assert_eq!(verdict(10), Verdict::Agrees);
    let why = "task_struct run_delay_seconds: of 11 waits before 1000 switches an event was missed".to_owned();
    assert_eq!(verdict(11), Verdict::NotCompared { why });
}

#[test]
fn what_came_to_light_late_is_a_loss_and_no_disagreement() {
    let mut tree = tree();
    tree.usage.voluntary += 1000;
    let compared = |tree: &Tree| {
        let mut check = task_struct::check(&tree.run);
        wait4::Tree { before: Ok(tree.before.clone()) }.compare(&tree.run, tree.usage, false, &mut check);
        check
    };
    assert!(compared(&tree).verdict().differs());
    tree.run.losses.0[Loss::ForkUnseen as usize] = 1;
    let late = compared(&tree);
    assert_eq!((late.verdict(), late.not_compared["wait4"].as_str()), (Verdict::Agrees, "observations are missing: 1"));
}

#[test]
fn usage_of_processes_that_nobody_waited_for_may_be_missing() {
    let agrees = |voluntary, is_complete| {
        let mut tree = tree();
        tree.usage.voluntary = voluntary;
        let mut check = task_struct::check(&tree.run);
        wait4::Tree { before: Ok(tree.before) }.compare(&tree.run, tree.usage, is_complete, &mut check);
        check.verdict() == Verdict::Agrees
    };
    assert!(agrees(32, true) && agrees(32, false) && agrees(20, false));
    assert!(!agrees(20, true) && !agrees(33, false), "we have missed one");
}

#[test]
fn time_of_a_thread_that_ran_when_it_was_registered_is_left_out() {
    let mut tree = tree();
    tree.ended(0).seeded_as = Phase::Running as u16;
    tree.run.totals.wakeup_latency = observations(29);
    tree.ended(0).on_cpu_ns += SECOND;
    assert_eq!(task_struct::check(&tree.run).verdict(), Verdict::Agrees);
    tree.ended(0).voluntary += 1;
    assert!(task_struct::check(&tree.run).verdict().differs(), "its counts are known");
}

#[test]
fn what_threads_did_while_they_ended_is_summed_and_leaders_are_told_apart() {
    // Thread 7 has taken over the pid of its leader by an exec: two have the process's own pid.
    let mut threads = vec![ended(7, 7), ended(7, 7), ended(8, 7)];
    threads[0].record.clock.since_ns -= 1;
    (threads[2].record.migrations_again, threads[2].record.migrations_unseen) = (2, 1);
    threads[2].record.at_exit.involuntary = 3;
    for (thread, tenths) in threads.iter_mut().zip([1, 2, 0]) {
        thread.record.on_cpu_ns = thread.record.at_exit.on_cpu_ns + tenths * 100_000_000;
    }
    let unseen = task_struct::check(&run_of(threads)).unseen_by_others;
    assert_eq!((unseen.ended, unseen.ended_unwaited), (3, 1));
    assert_eq!((unseen.voluntary, unseen.involuntary), (3, 2));
    assert_eq!((unseen.voluntary_unwaited, unseen.involuntary_unwaited), (2, 2));
    assert_eq!((unseen.migrations_again, unseen.migrations_repaired), (2, 1));
    // In nanoseconds it is a round sum, in seconds it would not be.
    assert!(unseen.on_cpu_seconds.to_string() == "0.3", "{}", unseen.on_cpu_seconds);
}

#[test]
fn one_figure_out_of_bounds_outweighs_the_others() {
    let not = || Verdict::NotCompared { why: "why".to_owned() };
    let differs = || Verdict::Differs { rows: vec!["a".to_owned()] };
    let all = |verdicts: &[Verdict]| verdicts.iter().cloned().collect::<Verdict>();
    assert_eq!(all(&[not(), not()]), not());
    assert_eq!(all(&[not(), Verdict::Agrees]), Verdict::Agrees);
    let both = Verdict::Differs { rows: vec!["a".to_owned(), "a".to_owned()] };
    assert_eq!(all(&[differs(), not(), Verdict::Agrees, differs()]), both);
    assert!(!Bounds::EQUAL.contain(f64::NAN) && !Bounds::NONE.contain(f64::INFINITY));
}

#[test]
fn a_switch_in_that_was_missed_leaves_a_wait_and_a_timeslice_of_unknown_length() {
    let mut tree = tree();
    tree.run.losses.0[Loss::SwitchInUnseen as usize] = 1;
    for distribution in [
        |tree: &mut Tree| tree.run.totals.wakeup_latency = observations(29),
        |tree: &mut Tree| tree.run.totals.timeslice = observations(44),
    ] {
        distribution(&mut tree);
        assert_eq!(check(&tree).verdict(), Verdict::Agrees);
    }
    tree.run.totals.timeslice = observations(43);
    assert!(check(&tree).verdict().differs());
}
