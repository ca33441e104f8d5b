//! The claims, in the order in which a reader should meet them, each with the rule that decides it.
//!
//! A rule is a pure function of one round. `docs/claims/` has the rules in words, with the same tolerances.

use super::Claim;
use super::tolerances::{
    CLEARLY_MORE, DOES_NOT_MATTER, FAR_FEWER, FOLLOWS_INTERVAL, FORCED_PER_SECOND, GIL_BOUND, GIL_FREE, HELD_UP, MATTERS,
    MORE_RESPONSIVE, NO_FASTER, NO_GAIN, ONE_RUNS, OVERLAPPING, PARALLEL, RESPONSIVE_SECONDS, SEVERAL_RUN, WAITS_MORE, WANTS_ALL,
};
use super::view::{CellRun, Gate, Reading, Ruling, View, rule};
use crate::lab::units::Unit::{Bytes, Count, Factor, Percent, Plain, Rate, Seconds};
use crate::lab::units::percent;

/// What a claim has that says nothing else.
const CLAIM: Claim =
    Claim { id: "", sentence: "", if_it_holds: "", if_not: "", gate: Gate::Events, cells: &[], also: &[], judge: |_| None };

/// What all claims that something speeds up have in common.
const IN_PARALLEL: Claim = Claim { gate: Gate::Demand, ..CLAIM };

/// Cell with a tenth of the usual switch interval.
const SHORT: &str = "arithmetic-threads-interval-0.5ms";
/// Cell with ten times the usual one.
const LONG: &str = "arithmetic-threads-interval-50ms";

/// Every claim.
pub const ALL: [Claim; 17] = [
    Claim {
        id: "threads-share-memory",
        sentence: "Threads share memory, processes do not.",
        if_it_holds: "A forked process begins with a copy of everything: it sees what was there before, and no other process \
                      sees what it writes.",
        cells: &["shared-memory-threads", "shared-memory-processes"],
        judge: |view| {
            let (threads, processes) = (view.cell("shared-memory-threads")?, view.cell("shared-memory-processes")?);
            let seen = |cell: CellRun| cell.detail("seen_by_parent");
            let by_threads = seen(threads)? > 0.0;
            let by_processes = seen_count(processes)? > 0.0;
            let ruling = rule(by_threads && !by_processes, !by_threads || by_processes, String::new);
            ruling.with(&[
                ("workers", Count, Some(threads.workers())),
                ("items that the parent sees of threads", Count, seen_count(threads)),
                ("of processes", Count, seen_count(processes)),
                ("items that the processes see themselves", Count, processes.detail("seen_by_writers")),
            ])
        },
        ..CLAIM
    },
    Claim {
        id: "threads-cost-less",
        sentence: "Threads start faster and need less memory.",
        if_it_holds: "By how much depends on the start method: fork copies page tables, spawn starts a new interpreter and \
                      imports the program again.",
        gate: Gate::Waiting,
        cells: &["startup-threads", "startup-processes-fork"],
        also: &["startup-processes-spawn"],
        judge: |view| {
            let (threads, processes) = (view.cell("startup-threads")?, view.cell("startup-processes-fork")?);
            let spawned = view.cell("startup-processes-spawn");
            let start = |cell: CellRun| cell.figures.start_seconds;
            let memory = |cell: CellRun| cell.detail("pss_bytes_per_worker");
            let (longer, larger) = (start(processes)? / start(threads)?, memory(processes)? / memory(threads)?.max(1.0));
            let ruling = rule(
                longer >= CLEARLY_MORE && larger >= CLEARLY_MORE,
                (longer < 1.0 || larger < 1.0) && view.can_tell_speed(&[threads, processes]),
                || format!("a process takes {longer:.1}x as long to start and {larger:.1}x as much memory"),
            );
            ruling.with(&[
                ("a thread starts in", Seconds, start(threads)),
                ("a forked process", Seconds, start(processes)),
                ("a spawned one", Seconds, spawned.and_then(start)),
                ("memory of a thread", Bytes, memory(threads)),
                ("of a forked process", Bytes, memory(processes)),
                ("of a spawned one, memory", Bytes, spawned.and_then(memory)),
            ])
        },
        ..CLAIM
    },
    Claim {
        id: "one-thread-at-a-time",
        sentence: "Only one thread executes Python bytecode at a time.",
        if_it_holds: "C is not exactly 1: a waiting thread wakes up every switch interval to ask for the lock, and runs for some \
                      microseconds then. The lock belongs to an interpreter, not to a process.",
        if_not: "This interpreter has no lock that all threads share.",
        gate: Gate::Demand,
        cells: &["arithmetic-threads"],
        also: &["arithmetic-processes-fork"],
        judge: |view| {
            let threads = view.cell("arithmetic-threads")?;
            let figures = threads.figures;
            let fails = figures.running_mean >= SEVERAL_RUN || is_free(threads);
            let ruling = rule(is_bound(threads), fails && !threads.is_gil_unresolved(), || {
                if threads.is_gil_unresolved() {
                    return unresolved();
                }
                format!(
                    "C is {:.2} and {} of the time went into waiting for the GIL",
                    figures.running_mean,
                    percent(figures.gil_share)
                )
            });
            let process_demand = view.cell("arithmetic-processes-fork").map(|cell| cell.figures.demand_mean);
            let native = view.native("native-spin-threads").map(|cell| cell.figures.running_mean);
            ruling.with(&[
                ("threads", Count, Some(threads.workers())),
                ("C of the threads", Plain, Some(figures.running_mean)),
                ("D of the threads", Plain, Some(figures.demand_mean)),
                ("waiting for the GIL", Percent, Some(figures.gil_share)),
                ("D of as many processes", Plain, process_demand),
                ("C of native threads", Plain, native),
            ])
        },
    },
    Claim {
        id: "threads-do-not-speed-up-computing",
        sentence: "CPU-bound Python does not speed up with threads.",
        if_it_holds: "It hardly slows down either: with the switch interval of Python 3 the hand-offs cost a few percent.",
        gate: Gate::Demand,
        cells: &["arithmetic-serial", "arithmetic-threads"],
        judge: |view| {
            let (serial, threads) = (view.cell("arithmetic-serial")?, view.cell("arithmetic-threads")?);
            let ruling = match view.obstacle(Gate::Speed, &[serial, threads]) {
                None => judge_speed_up(threads.figures.work_speed_up?, view.ideal(threads.workers()), true),
                Some(_) if is_bound(threads) => Ruling::Holds,
                Some(why) => Ruling::Unfit(why),
            };
            speed_reading(view, ruling, serial, threads)
        },
        ..CLAIM
    },
    Claim {
        id: "processes-speed-up-computing",
        sentence: "CPU-bound Python speeds up with processes, up to the number of cores.",
        if_it_holds: "What a user waits for includes starting them, which pays off for work of a second but not for work of a \
                      millisecond.",
        cells: &["arithmetic-serial", "arithmetic-processes-fork"],
        judge: |view| parallel(view, "arithmetic-serial", "arithmetic-processes-fork"),
        ..IN_PARALLEL
    },
    Claim {
        id: "subinterpreters-speed-up-computing",
        sentence: "CPU-bound Python speeds up with threads that have an interpreter each.",
        if_it_holds: "So it is not threads that do not scale, but threads that share a lock.",
        cells: &["arithmetic-serial", "arithmetic-subinterpreters"],
        judge: |view| parallel(view, "arithmetic-serial", "arithmetic-subinterpreters"),
        ..IN_PARALLEL
    },
    Claim {
        id: "threads-without-a-gil-speed-up-computing",
        sentence: "Without the GIL, CPU-bound Python speeds up with threads.",
        if_it_holds: "These sums share nothing. Threads that write to the same objects wait for each other at the objects \
                      instead.",
        cells: &["arithmetic-serial", "arithmetic-threads"],
        judge: |view| {
            if view.cell("arithmetic-threads")?.says_gil() != Some(false) {
                let why = "this interpreter has a GIL; name a free-threaded one, such as python3.14t, with --python".to_owned();
                return Ruling::NotAbout(why).with(&[]);
            }
            parallel(view, "arithmetic-serial", "arithmetic-threads")
        },
        ..IN_PARALLEL
    },
    Claim {
        id: "waiting-overlaps",
        sentence: "I/O-bound work overlaps with threads, with processes and with asyncio.",
        if_it_holds: "A thread that waits holds no lock and uses no CPU; the models differ in what a waiting worker costs.",
        gate: Gate::Waiting,
        cells: &["download-serial", "download-threads", "download-processes-fork", "download-asyncio"],
        judge: |view| {
            let serial = view.cell("download-serial")?;
            let ids = ["download-threads", "download-processes-fork", "download-asyncio"];
            let cells: Vec<CellRun> = ids.iter().map(|id| view.cell(id)).collect::<Option<_>>()?;
            let gains: Vec<f64> = cells.iter().map(|cell| cell.figures.work_speed_up).collect::<Option<_>>()?;
            let workers = cells[0].workers();
            let least = gains.iter().copied().fold(f64::INFINITY, f64::min);
            let ruling = rule(least >= OVERLAPPING * workers, least <= NO_FASTER && view.can_tell_speed(&cells), || {
                format!("the slowest is {least:.2}x as fast as serial")
            });
            ruling.with(&[
                ("downloads", Count, Some(workers)),
                ("one after the other", Seconds, Some(serial.figures.work_seconds)),
                ("on threads", Factor, Some(gains[0])),
                ("on processes", Factor, Some(gains[1])),
                ("with asyncio", Factor, Some(gains[2])),
                ("CPUs that the threads use", Plain, Some(cells[0].figures.running_mean)),
            ])
        },
        ..CLAIM
    },
    Claim {
        id: "asyncio-switches-less",
        sentence: "asyncio does it in one thread with far fewer context switches.",
        if_it_holds: "It saves where many wait for the same moment. Where each answer comes alone, the loop wakes up for each, \
                      as a thread would.",
        gate: Gate::Waiting,
        cells: &["sleep-threads", "sleep-asyncio"],
        also: &["fetch-threads", "fetch-asyncio"],
        judge: |view| {
            let (threads, event_loop) = (view.cell("sleep-threads")?, view.cell("sleep-asyncio")?);
            let (many, few) = (threads.switches_per_unit(), event_loop.switches_per_unit());
            let quotient = many / few.max(1e-9);
            let tasks = event_loop.waiting_threads()?;
            let ruling = rule(tasks <= 1.0 && quotient >= FAR_FEWER, quotient <= 1.0, || {
                format!("{tasks:.0} threads wait with asyncio, and threads take {quotient:.1}x as many switches")
            });
            let fetch = |id: &str| view.cell(id).map(|cell| cell.switches_per_unit());
            ruling.with(&[
                ("switches per sleep on threads", Plain, Some(many)),
                ("with asyncio", Plain, Some(few)),
                ("threads over asyncio", Factor, Some(quotient)),
                ("threads that wait", Count, threads.waiting_threads()),
                ("with asyncio, threads", Count, Some(tasks)),
                ("switches per fetched page on threads", Plain, fetch("fetch-threads")),
                ("per page with asyncio", Plain, fetch("fetch-asyncio")),
            ])
        },
        ..CLAIM
    },
    Claim {
        id: "gil-switching-is-cooperative",
        sentence: "Threads give the GIL up of their own accord: its switching is cooperative.",
        if_not: "A waiting thread asks for the lock after the switch interval, and the one that holds it has to give it up at \
                 its next jump or call. Switching is cooperative only around system calls and in C code, which gives the lock up \
                 when it chooses to.",
        gate: Gate::Demand,
        cells: &["arithmetic-threads"],
        also: &[SHORT, LONG],
        judge: |view| {
            let threads = view.cell("arithmetic-threads")?;
            let (short, long) = (view.cell(SHORT), view.cell(LONG));
            // Per second of CPU time, as a thread that does not run cannot be asked for the lock.
            let forced = |cell: CellRun| {
                cell.figures.handoffs_per_second * cell.figures.outside_wall_seconds / cell.figures.on_cpu_seconds.max(1e-3)
            };
            let ratio = short.zip(long).map(|(short, long)| forced(short) / forced(long).max(0.1));
            let cells: Vec<CellRun> = [Some(threads), short, long].into_iter().flatten().collect();
            let can_tell = view.can_tell_speed(&cells);
            let follows = !can_tell || ratio.is_none_or(|ratio| ratio >= FOLLOWS_INTERVAL);
            let waits = threads.figures.gil_share >= bound_share(threads.workers());
            let is_forced = forced(threads) >= FORCED_PER_SECOND;
            let ruling = if threads.is_gil_unresolved() {
                Ruling::Between("the interpreter's lock was not found".to_owned())
            } else {
                rule(waits && forced(threads) < 0.1 && can_tell, waits && is_forced && follows, || match ratio {
                    _ if !waits => "the threads do not wait for a GIL".to_owned(),
                    // A thread that wakes up on the same CPU goes first there, as it has waited longer.
                    _ if !is_forced && !can_tell => {
                        "on a busy machine the next thread has the lock before the one that gave it up is seen waiting for that"
                            .to_owned()
                    }
                    Some(ratio) if is_forced => format!("at 0.5 ms it changes hands {ratio:.1}x as often as at 50 ms"),
                    _ => format!("it was taken away {:.1} times per second of CPU time", forced(threads)),
                })
            };
            ruling.with(&[
                ("taken away per second of CPU time, interval 5 ms", Rate, Some(forced(threads))),
                ("interval 0.5 ms", Rate, short.map(forced)),
                ("interval 50 ms", Rate, long.map(forced)),
                ("0.5 ms over 50 ms", Factor, ratio),
                ("interval as the waits show it", Seconds, threads.switch_interval_seconds()),
                ("voluntary switches a second", Rate, Some(threads.figures.voluntary_per_second)),
            ])
        },
        ..CLAIM
    },
    Claim {
        id: "gil-does-not-matter-for-io",
        sentence: "The GIL does not matter for I/O-bound work.",
        if_not: "It does not matter as long as no thread of the process computes. A thread that does takes the lock each time \
                 that the other makes a system call, and keeps it for a whole switch interval.",
        gate: Gate::Demand,
        cells: &["convoy-thread-near", "convoy-process"],
        also: &["convoy-alone", "convoy-thread"],
        judge: |view| {
            let (near, process) = (view.cell("convoy-thread-near")?, view.cell("convoy-process")?);
            let (far, alone) = (view.cell("convoy-thread"), view.cell("convoy-alone"));
            let waiting = near.gil_share_of("echo")?;
            let answers = |cell: CellRun| cell.figures.work_per_second();
            let quotient = answers(process) / answers(near).max(1e-9);
            let can_tell = view.can_tell_speed(&[near, process]);
            let held_up = quotient >= HELD_UP;
            let ruling = if near.is_gil_unresolved() {
                Ruling::Between("the interpreter's lock was not found".to_owned())
            } else {
                rule(waiting <= DOES_NOT_MATTER && can_tell && !held_up, waiting >= MATTERS && (held_up || !can_tell), || {
                    let waits = format!("it waits for {} of the time that it runs or waits for the GIL", percent(waiting));
                    format!("{waits}, and answers {quotient:.1}x as often beside a process")
                })
            };
            let told = |cell: Option<CellRun>| cell.filter(|_| can_tell).map(answers);
            ruling.with(&[
                ("waiting for the GIL beside a computing thread", Percent, Some(waiting)),
                ("the same on another CPU", Percent, far.and_then(|cell| cell.gil_share_of("echo"))),
                ("beside a computing process", Percent, process.gil_share_of("echo")),
                ("answers a second beside a thread, same CPU", Rate, told(Some(near))),
                ("same process, other CPU", Rate, told(far)),
                ("beside a process", Rate, told(Some(process))),
                ("alone", Rate, told(alone)),
                ("median answer beside a thread", Seconds, near.figures.latency_p50_seconds.filter(|_| can_tell)),
            ])
        },
        ..CLAIM
    },
    Claim {
        id: "threads-lose-updates",
        sentence: "Unsynchronised threads lose updates, processes do not.",
        if_it_holds: "Processes lose none because they share none: none of their increments arrives anywhere else, and on memory \
                      that they do share they lose updates like threads. From Python 3.10 on `counter += 1` loses none by luck, \
                      as threads switch only at calls and jumps; nothing promises that.",
        cells: &["lost-updates-threads", "lost-updates-processes"],
        also: &["lost-updates-threads-locked", "lost-updates-threads-plain", "lost-updates-processes-value"],
        judge: |view| {
            let (threads, processes) = (view.cell("lost-updates-threads")?, view.cell("lost-updates-processes")?);
            let lost_share = |cell: CellRun| Some(cell.detail("lost")? / cell.detail("expected")?.max(1.0));
            let own_share = processes.detail("counted_in_own_copies")? / processes.detail("expected")?.max(1.0);
            let lost = threads.detail("lost")?;
            let ruling = rule(lost > 0.0 && own_share >= 1.0, view.can_tell_speed(&[threads, processes]), || {
                "no update was lost this time, and other programs kept the threads from running beside each other".to_owned()
            });
            let also = |id: &str| view.cell(id).and_then(lost_share);
            ruling.with(&[
                ("lost by threads", Percent, lost_share(threads)),
                ("with a lock", Percent, also("lost-updates-threads-locked")),
                ("with `counter += 1` on one line", Percent, also("lost-updates-threads-plain")),
                ("counted by processes in their own copies", Percent, Some(own_share)),
                ("lost by processes on memory they share", Percent, also("lost-updates-processes-value")),
            ])
        },
        ..CLAIM
    },
    Claim {
        id: "a-crash-takes-all-threads",
        sentence: "A crash in one thread takes the others down, in one process it does not.",
        if_it_holds: "An exception is no crash: it ends its own thread only. And whatever waits for a process that crashed must \
                      notice: a process pool gives up all its pending work.",
        cells: &["crash-threads", "crash-processes"],
        also: &["exception-threads", "crash-process-pool"],
        judge: |view| {
            let (threads, processes) = (view.cell("crash-threads")?, view.cell("crash-processes")?);
            let survivors = |cell: CellRun| cell.detail("survivors");
            let (of_threads, of_processes) = (survivors(threads)?, survivors(processes)?);
            let workers = processes.detail("workers").unwrap_or(processes.workers());
            let holds = of_threads <= 0.0 && of_processes >= workers - 1.0;
            let fails = !holds && view.can_tell_speed(&[threads, processes]);
            let ruling = rule(holds, fails, || "on a busy machine, a worker may be there without having run since".to_owned());
            ruling.with(&[
                ("workers, one of which crashes", Count, Some(workers)),
                ("threads that survive", Count, Some(of_threads)),
                ("processes that survive", Count, Some(of_processes)),
                ("threads that survive an exception", Count, view.cell("exception-threads").and_then(survivors)),
                ("processes of a pool that go on", Count, view.cell("crash-process-pool").and_then(survivors)),
            ])
        },
        ..CLAIM
    },
    Claim {
        id: "processes-need-ipc",
        sentence: "Processes need explicit communication, and it costs.",
        if_it_holds: "What costs is the queue around the pipe: its thread, its locks and the pickling. A bare pipe costs less, \
                      and shared memory saves the copying too but needs a protocol of its own.",
        gate: Gate::Waiting,
        cells: &["shared-memory-processes", "ipc-queue", "ipc-pipe", "queue-threads"],
        also: &["ipc-shared-memory"],
        judge: |view| {
            let shared = view.cell("shared-memory-processes")?;
            let (queue, pipe, control) = (view.cell("ipc-queue")?, view.cell("ipc-pipe")?, view.cell("queue-threads")?);
            let memory = view.cell("ipc-shared-memory");
            let rate = |cell: CellRun| cell.detail("messages_per_second");
            let bytes = |cell: CellRun| cell.detail("bytes_per_second");
            let quotient = rate(control)? / rate(queue)?.max(1e-9);
            let is_shared = seen_count(shared)? > 0.0;
            let is_slower = quotient < 1.0 && view.can_tell_speed(&[queue, control]);
            let ruling = rule(!is_shared && quotient >= CLEARLY_MORE, is_shared || is_slower, || {
                format!("threads pass {quotient:.1}x as many messages")
            });
            ruling.with(&[
                ("messages a second between threads", Rate, rate(control)),
                ("by multiprocessing.Queue", Rate, rate(queue)),
                ("by a pipe", Rate, rate(pipe)),
                ("by shared memory", Rate, memory.and_then(rate)),
                ("switches per message, threads", Plain, Some(control.switches_per_unit())),
                ("multiprocessing.Queue", Plain, Some(queue.switches_per_unit())),
                ("pipe", Plain, Some(pipe.switches_per_unit())),
                ("shared memory", Plain, memory.map(|cell| cell.switches_per_unit())),
                ("bytes a second by a pipe", Bytes, bytes(pipe)),
                ("by shared memory, bytes", Bytes, memory.and_then(bytes)),
            ])
        },
        ..CLAIM
    },
    Claim {
        id: "released-gil-runs-in-parallel",
        sentence: "C code that releases the GIL runs in parallel.",
        if_it_holds: "The same threads that do not speed up pure Python do speed up this: what counts is what the work does, not \
                      what it runs on.",
        cells: &["hash-serial", "hash-threads"],
        judge: |view| parallel(view, "hash-serial", "hash-threads"),
        ..IN_PARALLEL
    },
    Claim {
        id: "too-many-workers-hurt",
        sentence: "Too many workers hurt.",
        if_it_holds: "Throughput hardly suffers. What grows is the time that each worker waits for its next turn, and so the \
                      time until it answers.",
        gate: Gate::Speed,
        cells: &["oversubscribed-processes-1x", "oversubscribed-processes-4x"],
        also: &["oversubscribed-processes-2x"],
        judge: |view| {
            let (one, four) = (view.cell("oversubscribed-processes-1x")?, view.cell("oversubscribed-processes-4x")?);
            let two = view.cell("oversubscribed-processes-2x");
            let throughput = |cell: CellRun| cell.detail("units_per_second").unwrap_or_else(|| cell.figures.work_per_second());
            let gain = throughput(four) / throughput(one).max(1e-9);
            let (before, after) = (one.figures.queued_share, four.figures.queued_share);
            let waits = after >= (WAITS_MORE * before).clamp(0.1, 0.5);
            let ruling = rule(waits && gain <= NO_GAIN, gain > NO_GAIN, || {
                format!("they wait {} of their time for a CPU, and {} with one worker per CPU", percent(after), percent(before))
            });
            ruling.with(&[
                ("waiting for a CPU, 1 per CPU", Percent, Some(before)),
                ("with 2", Percent, two.map(|cell| cell.figures.queued_share)),
                ("with 4", Percent, Some(after)),
                ("median wait for the next turn, 1 per CPU", Seconds, Some(one.figures.preemption_wait_p50_seconds)),
                ("with 4 per CPU", Seconds, Some(four.figures.preemption_wait_p50_seconds)),
                ("throughput of 4 per CPU over 1", Factor, Some(gain)),
            ])
        },
        ..CLAIM
    },
    Claim {
        id: "hybrid-keeps-the-loop-responsive",
        sentence: "asyncio with processes for the computing keeps the loop responsive.",
        if_it_holds: "A thread is not enough: the loop then waits a switch interval for the GIL each time.",
        gate: Gate::Waiting,
        cells: &["lag-in-loop", "lag-process-pool"],
        also: &["lag-to-thread"],
        judge: |view| {
            let (inside, process) = (view.cell("lag-in-loop")?, view.cell("lag-process-pool")?);
            let lag = |cell: CellRun| cell.figures.latency_p99_seconds;
            let (blocked, free) = (lag(inside)?, lag(process)?);
            let ruling = rule(
                free <= RESPONSIVE_SECONDS && blocked >= MORE_RESPONSIVE * free,
                free >= blocked && view.can_tell_speed(&[inside, process]),
                || format!("the delay is {:.1} ms, and {:.1} ms with the computing in the loop", 1e3 * free, 1e3 * blocked),
            );
            ruling.with(&[
                ("delay, computing in the loop", Seconds, Some(blocked)),
                ("computing in a thread", Seconds, view.cell("lag-to-thread").and_then(lag)),
                ("computing in a process", Seconds, Some(free)),
            ])
        },
        ..CLAIM
    },
];

/// How much the parent sees of what its workers wrote.
fn seen_count(cell: CellRun) -> Option<f64> {
    cell.detail("seen_by_parent_count").or_else(|| cell.detail("seen_by_parent"))
}

/// Part of their time that so many threads must have waited for the lock to be bound by it.
fn bound_share(workers: f64) -> f64 {
    GIL_BOUND * (workers - 1.0) / workers
}

fn is_bound(threads: CellRun) -> bool {
    threads.figures.gil_share >= bound_share(threads.workers()) && threads.figures.running_mean <= ONE_RUNS
}

fn is_free(cell: CellRun) -> bool {
    cell.figures.gil_share <= GIL_FREE && cell.figures.demand_mean >= WANTS_ALL * cell.workers()
}

fn unresolved() -> String {
    "the interpreter's lock was not found, so waits for it cannot be told from others".to_owned()
}

fn parallel(view: &View, serial: &str, parallel: &str) -> Option<Reading> {
    let (serial, workers) = (view.cell(serial)?, view.cell(parallel)?);
    let ruling = match view.obstacle(Gate::Speed, &[serial, workers]) {
        None => judge_speed_up(workers.figures.work_speed_up?, view.ideal(workers.workers()), false),
        Some(_) if workers.is_gil_unresolved() => Ruling::Unfit(unresolved()),
        Some(_) if is_free(workers) => Ruling::Holds,
        Some(why) => Ruling::Unfit(why),
    };
    speed_reading(view, ruling, serial, workers)
}

/// The speed-ups are shown only where they mean something.
fn speed_reading(view: &View, ruling: Ruling, serial: CellRun, workers: CellRun) -> Option<Reading> {
    let is_told = view.can_tell_speed(&[serial, workers]);
    let figures = workers.figures;
    ruling.with(&[
        ("workers", Count, Some(workers.workers())),
        ("CPUs", Count, Some(view.cpus as f64)),
        ("speed-up of the work", Factor, figures.work_speed_up.filter(|_| is_told)),
        ("with starting the workers", Factor, figures.speed_up.filter(|_| is_told)),
        ("C", Plain, Some(figures.running_mean)),
        ("D", Plain, Some(figures.demand_mean)),
        ("waiting for a GIL", Percent, Some(figures.gil_share)),
    ])
}

fn judge_speed_up(speed_up: f64, ideal: f64, claims_none: bool) -> Ruling {
    let (is_faster, is_no_faster) = (speed_up >= (PARALLEL * ideal).max(NO_FASTER), speed_up <= NO_FASTER);
    let (holds, fails) = if claims_none { (is_no_faster && !is_faster, is_faster) } else { (is_faster, is_no_faster) };
    rule(holds, fails, || format!("{speed_up:.2}x is neither as fast as one nor {PARALLEL} of the {ideal:.0}x that are possible"))
}
