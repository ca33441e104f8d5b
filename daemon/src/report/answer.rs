//! A diagnosis in words and as JSON. Nothing is decided here: every word follows from a value of the diagnosis, and every number is one
//! of its figures.

use schedscope_ebpf::blocked::Reason;

use super::schema;
use super::words::{counted, duration, grouped, harmless, mean, percent};
use crate::capture::allowance::Quota;
use crate::capture::interpreters;
use crate::capture::python::Unresolved;
use crate::capture::run::Run;
use crate::capture::snapshot::Thread;
use crate::diagnose::START_NS_PER_PROCESS;
use crate::diagnose::{
    Advice, BlockedLoop, Bottleneck, Diagnosis, Evidence, Figures, Group, Hung, Limit, Messages, Obstacle, Polling, Spinning,
    WhatIf,
};
use crate::units::{rounded, seconds, to_six_digits, to_the_nanosecond};

pub(crate) fn model(diagnosis: &Diagnosis) -> schema::Model {
    schema::Model {
        name: diagnosis.model.name().to_owned(),
        // Products of hundredths, as they are meant.
        confidence: (diagnosis.confidence * 100.0).round() / 100.0,
        evidence: evidence(diagnosis),
        limit: diagnosis.limit.name().to_owned(),
        sentence: sentence(diagnosis),
        advice: diagnosis.advice.map_or_else(String::new, |advice| advise(advice, diagnosis)),
        without_limit_wall_seconds: without_limit(diagnosis).map(middle_seconds),
        what_if: diagnosis
            .what_if
            .iter()
            .map(|what_if| schema::WhatIf {
                cause: what_if.obstacle.name().to_owned(),
                wall_seconds: [rounded_seconds(what_if.least_ns), rounded_seconds(what_if.most_ns)],
                is_limit: diagnosis.limit.obstacle() == Some(what_if.obstacle),
            })
            .collect(),
        estimate: without_limit(diagnosis).filter(|what_if| what_if.obstacle == Obstacle::Gil).map(|what_if| {
            let (start_seconds, workers) = (seconds(START_NS_PER_PROCESS), diagnosis.figures.workers);
            let processes_wall_seconds = middle_seconds(what_if);
            schema::Estimate {
                processes_wall_seconds,
                without_gil_wall_seconds: to_the_nanosecond((processes_wall_seconds - start_seconds * workers as f64).max(0.0)),
                start_seconds_per_process: start_seconds,
                workers,
            }
        }),
    }
}

/// To a tenth of a millisecond: no prediction is better.
fn rounded_seconds(ns: u64) -> f64 {
    (ns as f64 / 1e5).round() / 1e4
}

fn middle_seconds(what_if: &WhatIf) -> f64 {
    rounded_seconds(what_if.least_ns.midpoint(what_if.most_ns))
}

pub(super) fn gil(run: &Run, figures: &Figures) -> schema::GilReport {
    let (wall_ns, handoffs) = (run.wall_ns(), run.totals.gil_handoffs);
    // Each wait begins short of the interval by the time that it took to get into the system call.
    let interval_ns = run.threads.iter().map(Thread::gil_interval_ns).max().unwrap_or(0);
    schema::GilReport {
        share: to_six_digits(figures.gil_share),
        wait_seconds: seconds(run.totals.times.blocked(Reason::Gil)),
        handoffs,
        handoffs_per_second: if wall_ns == 0 { 0.0 } else { to_six_digits(handoffs as f64 / seconds(wall_ns)) },
        switch_interval_seconds: (interval_ns > 0).then(|| seconds(interval_ns)),
        interpreters: run.interpreters.seen().map(interpreter).collect(),
        unresolved: Unresolved::ALL
            .into_iter()
            .zip(run.interpreters.unresolved())
            .filter(|(_, count)| *count > 0)
            .map(|(reason, count)| (reason.name().to_owned(), count))
            .collect(),
    }
}

fn interpreter(interpreters::Kind { interpreter, processes }: &interpreters::Kind) -> schema::InterpreterReport {
    schema::InterpreterReport {
        version: interpreter.version.map(|version| version.to_string()),
        object: harmless(&interpreter.object.to_string_lossy()),
        gil: interpreter.kind.name().to_owned(),
        gils: interpreter.gils.len() as u64,
        switch_interval_seconds: interpreter.switch_interval_us().map(|interval_us| interval_us as f64 / 1e6),
        processes: *processes,
    }
}

/// What a thread had to do with its GIL; `None` outside of processes whose locks are known.
pub(super) fn thread_gil(thread: &Thread, now_ns: u64) -> Option<schema::ThreadGil> {
    let record = &thread.record;
    let is_known = record.gil.iter().any(|range| range.end != 0);
    is_known.then(|| {
        // It gave the lock up before it waited for it again, and whenever it blocked for anything else.
        let releases = record.gil_turns + record.voluntary.saturating_sub(record.gil_waits);
        let on_cpu_ns = thread.times(now_ns).on_cpu_ns;
        schema::ThreadGil {
            waits: record.gil_waits,
            handoffs: record.gil_handoffs,
            hold_seconds: (record.gil_waits > 0).then(|| to_the_nanosecond(seconds(on_cpu_ns) / releases.max(1) as f64)),
        }
    })
}

/// The one sentence that says how the program maps onto the cores and why it does not use more of them.
fn sentence(diagnosis: &Diagnosis) -> String {
    let figures = &diagnosis.figures;
    let also = if figures.has_notable_wait() { format!("; {}", waits_for_cpu(figures)) } else { String::new() };
    match &diagnosis.limit {
        Limit::NothingSeen => "No thread of this program was seen, so nothing can be said about its use of the cores.".to_owned(),
        Limit::Cores => {
            let wait = also.replace(';', ":");
            let mask = if figures.cores < figures.online {
                format!("; {} may use {} of the {} online", number(figures).they, figures.cores, figures.online)
            } else {
                String::new()
            };
            format!("{}{wait}{mask}{}.", head(figures), in_kernel(figures))
        }
        Limit::Hung(hung) => hangs(*hung, figures),
        Limit::Spinning(spinning) => spins(*spinning, figures),
        Limit::Messages(messages) => passes_messages(*messages, figures),
        Limit::Polling(polling) => polls(*polling, figures),
        Limit::BlockedLoop(blocked) => blocks_its_loop(*blocked, figures),
        Limit::Bottleneck(bottleneck) => waits_for_one(bottleneck, figures),
        Limit::Quota(quota) => format!("{}: {}.", wants(figures), throttled(quota)),
        Limit::Mask => masked(figures),
        Limit::Others(cores) => {
            format!("{}: {}, as other programs took {} cores.", wants(figures), waits_for_cpu(figures), mean(*cores))
        }
        Limit::Priority(cores) => {
            let Number { their, .. } = number(figures);
            let waits = waits_for_cpu(figures);
            format!("{}: {waits}, as {their} priority is low and other programs took {} cores.", wants(figures), mean(*cores))
        }
        Limit::CpuWait(idle) => {
            let idle = idle.map_or_else(String::new, |idle| format!(", though {} cores were idle", mean(idle)));
            format!("{}: {}{idle}.", wants(figures), waits_for_cpu(figures))
        }
        Limit::AtRest(group) => at_rest(group, figures),
        Limit::Blocked(group) if group.size.is_none() && figures.demand < 0.5 => at_rest(group, figures),
        Limit::TooFewThreads(group) if group.pauses() => locked_out(group, figures) + &also + ".",
        Limit::TooFewThreads(group) => match group.notable_reason().filter(|_| group.takes_turns(figures)) {
            Some((reason, part)) => {
                let (who, number) = subject_of(group, figures);
                let waits = format!("{} of {} time {who} {}", percent(part), number.their, verb(reason, number));
                format!("{}, one at a time: {waits}{also}.", head(figures))
            }
            None => format!("{}: {}{also}{}.", head(figures), too_few(group, figures), in_kernel(figures)),
        },
        Limit::Gil(group) => {
            let (who, number) = subject_of(group, figures);
            let (waits, part) = (verb(Reason::Gil, number), percent(figures.gil_share));
            format!("{}: {who} {waits} {part} of the time {} would otherwise run{also}.", wants(figures), number.they)
        }
        Limit::Locks(group) => locked_out(group, figures) + &also + ".",
        Limit::KernelLocks(group) => {
            locked(group, &[Reason::MmapLock, Reason::KernelLock], group.spinning, "locks in the kernel", figures) + &also + "."
        }
        Limit::PageFaults => {
            let (part, faults) = (percent(figures.in_kernel), grouped(rounded(figures.pages_anew) as u64));
            format!("{}: {part} of the CPU time is the kernel's, for {faults} page faults a second{also}.", head(figures))
        }
        Limit::Blocked(group) => {
            format!("{}: {}{also}.", wants(figures), blocked(group, figures))
        }
    }
}

/// The words that differ between one and many.
#[derive(Clone, Copy)]
struct Number {
    they: &'static str,
    their: &'static str,
    them: &'static str,
    are: &'static str,
    /// Ending of a verb.
    s: &'static str,
}

const ONE: Number = Number { they: "it", their: "its", them: "it", are: "is", s: "s" };
const MANY: Number = Number { they: "they", their: "their", them: "them", are: "are", s: "" };

/// That of the program's threads.
fn number(figures: &Figures) -> Number {
    if figures.threads == 1 { ONE } else { MANY }
}

/// "8 threads", "2 processes", "9 threads in 2 processes".
fn subject(figures: &Figures) -> String {
    let (threads, processes) = (figures.threads, figures.processes);
    if processes <= 1 {
        counted(threads, "thread")
    } else if processes >= threads {
        counted(processes, "process")
    } else {
        format!("{} in {}", counted(threads, "thread"), counted(processes, "process"))
    }
}

/// A group, after its program was named.
fn subject_of(group: &Group, figures: &Figures) -> (String, Number) {
    match group.size {
        None => (number(figures).they.to_owned(), number(figures)),
        Some(1) => ("the busiest".to_owned(), ONE),
        Some(size) => (format!("the {} busiest", grouped(size)), MANY),
    }
}

/// "; 62 % of the CPU time is the kernel's", if it is so much.
fn in_kernel(figures: &Figures) -> String {
    if figures.is_in_kernel() { format!("; {} of the CPU time is the kernel's", percent(figures.in_kernel)) } else { String::new() }
}

/// What it gets, and what it wants if that is notably more.
fn head(figures: &Figures) -> String {
    if figures.has_notable_wait() {
        wants(figures)
    } else {
        let Number { s, .. } = number(figures);
        format!("{} keep{s} {} of {} busy", subject(figures), mean(figures.running), counted(figures.cores, "core"))
    }
}

fn wants(figures: &Figures) -> String {
    let Number { s, .. } = number(figures);
    let (demand, running, cores) = (mean(figures.demand), mean(figures.running), grouped(figures.cores));
    format!("{} want{s} {demand} cores and get{s} {running} of {cores}", subject(figures))
}

fn waits_for_cpu(figures: &Figures) -> String {
    let Number { they, s, .. } = number(figures);
    format!("{} of the time {they} could run {they} wait{s} for a CPU", percent(figures.wait_share))
}

/// "a cgroup's quota of 0.50 CPUs was used up in 20 of 21 periods".
fn throttled(Quota { limit, usage, .. }: &Quota) -> String {
    let (throttled, periods) = (grouped(usage.throttled_periods), counted(usage.periods, "period"));
    format!("the quota of its cgroup is {} CPUs, and was used up in {throttled} of {periods}", mean(limit.cpus()))
}

/// "4 processes want 3.96 cores and get 1.00: by their affinity mask they may use 1 of the 2 CPUs that were free to them."
fn masked(figures: &Figures) -> String {
    let Number { they, their, s, .. } = number(figures);
    let (subject, demand, running) = (subject(figures), mean(figures.demand), mean(figures.running));
    let given = grouped(figures.given);
    format!(
        "{subject} want{s} {demand} cores and get{s} {running}: by {their} affinity mask {they} may use {} of the {given} CPUs given.",
        grouped(figures.cores)
    )
}

/// "4 threads stand still: none ran for 3.50 s, while 4 waited for locks or other threads."
fn hangs(hung: Hung, figures: &Figures) -> String {
    let Number { s, .. } = number(figures);
    let (time, waiting) = (duration(seconds(hung.for_ns)), grouped(hung.threads));
    let what = if hung.for_pipes { "pipes that nobody else has, or for each other" } else { "locks or other threads" };
    format!("{} stand{s} still: none ran for {time}, while {waiting} waited for {what}.", subject(figures))
}

/// "3 threads want 2.99 cores and get 1.98 of 2: 3 of them yield 400,000 times a second instead of waiting, with 99 % of the CPU time."
fn spins(spinning: Spinning, figures: &Figures) -> String {
    let who =
        if spinning.threads == figures.threads { "they".to_owned() } else { format!("{} of them", grouped(spinning.threads)) };
    format!(
        "{}: {who} yield {} instead of waiting, which takes {} of the CPU time.",
        wants(figures),
        times_a_second(spinning.yields),
        percent(spinning.share_of_work)
    )
}

fn times_a_second(rate: f64) -> String {
    format!("{} times a second", grouped(rounded(rate) as u64))
}

/// "5 threads in 5 processes keep 1.10 of 2 cores busy: they wait for each other 23,000 times a second, after 40 us of work."
fn passes_messages(messages: Messages, figures: &Figures) -> String {
    let each = duration(seconds(messages.on_cpu_ns_each));
    format!("{}: they wait for each other {}, after {each} of work each time.", head(figures), times_a_second(messages.waits))
}

/// "8 threads wake 7,000 times a second and find next to nothing to do, which takes 0.40 of 2 cores."
fn polls(polling: Polling, figures: &Figures) -> String {
    let threads = polling.threads.min(figures.threads);
    let Number { s, .. } = if threads == 1 { ONE } else { MANY };
    format!(
        "{} wake{s} {} and find{s} next to nothing to do, which takes {} of {}.",
        counted(threads, "thread"),
        times_a_second(polling.wakeups),
        mean(polling.running),
        counted(figures.cores, "core")
    )
}

/// "1 thread keeps 0.05 of 2 cores busy: its event loop is blocked 95 % of the time outside of its poll, where it sleeps."
fn blocks_its_loop(blocked: BlockedLoop, figures: &Figures) -> String {
    let Number { their, .. } = number(figures);
    let part = percent(blocked.share);
    format!(
        "{}: {their} event loop is blocked {part} of the time outside of its poll, where it {}.",
        head(figures),
        verb(blocked.reason, ONE)
    )
}

/// "5 threads keep 1.00 of 2 cores busy: 71 % of the time one thread (VM Thread, 4711) runs alone while 3 others wait for it."
fn waits_for_one(Bottleneck { comm, tid, alone, waiting, is_process, .. }: &Bottleneck, figures: &Figures) -> String {
    let kind = if *is_process { "process" } else { "thread" };
    let (others, wait) = (grouped(*waiting), if *waiting == 1 { "other waits" } else { "others wait" });
    format!(
        "{}: {} of the time one {kind} ({comm}, {}) runs alone while {others} {wait} for it.",
        head(figures),
        percent(*alone),
        tid.0
    )
}

/// "1 thread sleeps 97 % of its time and wants 0.03 of 2 cores: more cores would not make it faster."
fn at_rest(everyone: &Group, figures: &Figures) -> String {
    let number = number(figures);
    let Number { their, them, s, .. } = number;
    let wants = format!("want{s} {} of {}", mean(figures.demand), counted(figures.cores, "core"));
    let [(first, part), second @ ..] = everyone.main_reasons() else {
        return format!(
            "{} {wants}: on average {} {} alive at a time.",
            subject(figures),
            mean(everyone.mean_alive),
            are(everyone)
        );
    };
    let also = second.first().map_or_else(String::new, |(reason, part)| format!(", {} {},", verb(*reason, number), percent(*part)));
    let outlook =
        if everyone.lacks_cores(figures) { waits_for_cpu(figures) } else { format!("more cores would not make {them} faster") };
    format!("{} {} {} of {their} time{also} and {wants}: {outlook}.", subject(figures), verb(*first, number), percent(*part))
}

fn too_few(group: &Group, figures: &Figures) -> String {
    match (group.size, group.notable_reason()) {
        (_, None) if figures.threads == 1 => "a single thread cannot use more than one".to_owned(),
        (_, Some((reason, part))) if figures.threads == 1 => {
            format!("{} of its time it {}, and a single thread cannot use more than one", percent(part), verb(reason, ONE))
        }
        (Some(1), _) => {
            let named = group.one.as_ref().filter(|(comm, _)| !comm.is_empty());
            let named = named.map_or_else(String::new, |(comm, tid)| format!(" ({comm}, {})", tid.0));
            format!("one thread{named} does {} of the work", percent(group.share_of_work))
        }
        (Some(size), _) => {
            format!("on average {} of the {} busiest threads {} alive", mean(group.mean_alive), grouped(size), are(group))
        }
        (None, _) => format!("on average {} {} alive at a time", mean(group.mean_alive), are(group)),
    }
}

/// "71 % of their time the 8 busiest wait for locks or other threads, 12 % they sleep".
fn blocked(group: &Group, figures: &Figures) -> String {
    let (who, number) = subject_of(group, figures);
    let Number { they, their, are, .. } = number;
    let [(first, part), second @ ..] = group.main_reasons() else { return format!("{who} {are} blocked") };
    let also =
        second.first().map_or_else(String::new, |(reason, part)| format!(", {} {they} {}", percent(*part), verb(*reason, number)));
    format!("{} of {their} time {who} {}{also}", percent(*part), verb(*first, number))
}

/// Waits for locks of the program's own.
fn locked_out(group: &Group, figures: &Figures) -> String {
    locked(group, &[Reason::Futex, Reason::Gil], group.pausing, "locks or other threads", figures)
}

/// "4 threads want 1.04 cores and get 1.00 of 4: 74 % of their time they wait for locks in the kernel, 30 % on a CPU meanwhile". `spinning`
/// is that part.
fn locked(group: &Group, reasons: &[Reason], spinning: f64, what: &str, figures: &Figures) -> String {
    let (who, Number { their, s, .. }) = subject_of(group, figures);
    let blocked = group.reasons.iter().filter(|(reason, _)| reasons.contains(reason)).map(|(_, part)| part).sum::<f64>();
    let meanwhile = if spinning < 0.01 { String::new() } else { format!(", {} on a CPU meanwhile", percent(spinning)) };
    let part = percent((blocked + spinning).min(1.0));
    format!("{}: {part} of {their} time {who} wait{s} for {what}{meanwhile}", wants(figures))
}

fn are(group: &Group) -> &'static str {
    if mean(group.mean_alive) == "1.00" { ONE.are } else { MANY.are }
}

pub(super) fn title(reason: Reason) -> &'static str {
    match reason {
        Reason::Gil => "the GIL",
        Reason::Futex => "a lock or another thread (futex)",
        Reason::Sleep => "a timed sleep",
        Reason::Poll => "events (poll, select, epoll)",
        Reason::PipeSocket => "a pipe, socket or terminal",
        Reason::ChildWait => "a child process",
        Reason::Disk => "the disk",
        Reason::PageFault => "a page fault",
        Reason::MmapLock => "the lock of the address space (mmap, munmap, page faults)",
        Reason::KernelLock => "a lock inside the kernel",
        Reason::Stopped => "being continued (stopped)",
        Reason::Other => "another system call",
        Reason::Unknown => "something the kernel does not tell",
    }
}

/// What blocked threads do, as a verb with its object: "wait for the GIL", "waits for the GIL".
fn verb(reason: Reason, Number { are, s, .. }: Number) -> String {
    match reason {
        Reason::Sleep => format!("sleep{s}"),
        Reason::Stopped => format!("{are} stopped"),
        Reason::Other => format!("{are} blocked in other system calls"),
        Reason::Unknown => format!("{are} blocked for an unknown reason"),
        Reason::Futex => format!("wait{s} for locks or other threads"),
        Reason::Poll => format!("wait{s} for events"),
        Reason::PipeSocket => format!("wait{s} for pipes or sockets"),
        Reason::ChildWait => format!("wait{s} for child processes"),
        Reason::MmapLock => format!("wait{s} for the lock of the address space"),
        Reason::Gil | Reason::Disk | Reason::PageFault | Reason::KernelLock => format!("wait{s} for {}", title(reason)),
    }
}

/// One line for each piece of evidence, the figures first.
fn evidence(diagnosis: &Diagnosis) -> Vec<String> {
    let figures = &diagnosis.figures;
    let place = if figures.working_processes > 1 { format!(", in {} processes", figures.working_processes) } else { String::new() };
    let does = if figures.workers == 1 { "does" } else { "do" };
    let mut lines = vec![
        format!("{} of {} {does} the work{place}", grouped(figures.workers), counted(figures.threads, "thread")),
        format!("C = {:.2}, D = {:.2}", figures.running, figures.demand),
    ];
    lines.extend(diagnosis.evidence.iter().map(|evidence| match evidence {
        Evidence::OneAfterAnother => "its workers ran one after another".to_owned(),
        Evidence::EpollWaits(epoll, all) => format!("{} of its {} waits were in epoll", grouped(*epoll), grouped(*all)),
        Evidence::LoopAndThreads => "an event loop and threads beside it".to_owned(),
        Evidence::GilShare => {
            format!("its workers wait for the GIL {} of the time they would otherwise run", percent(figures.gil_share))
        }
        Evidence::FreeThreaded => "a free-threaded CPython, with its global lock off".to_owned(),
        Evidence::ManyGils => "its interpreters have locks of their own".to_owned(),
        Evidence::GilReleased => "they run at the same time: their work is done with the GIL released".to_owned(),
        Evidence::Collecting(part) => format!("{} of the CPU time is its garbage collector's", percent(*part)),
        Evidence::TakingTurns => {
            "its threads take turns: no more than one runs at a time, the others wait for locks (futex)".to_owned()
        }
        Evidence::LoopsIn(loops) => format!("{loops} of {} processes run an event loop", figures.working_processes),
        Evidence::ThreadsIn(threaded) => {
            format!("{threaded} of {} processes have several working threads", figures.working_processes)
        }
        Evidence::Incomplete => "not everything was observed, see the losses".to_owned(),
        Evidence::GilNotFound => {
            "the interpreter lock of a Python process was not found, so whether its threads wait for it is unknown".to_owned()
        }
    }));
    lines
}

/// What the run would take without its limit.
fn without_limit(diagnosis: &Diagnosis) -> Option<&WhatIf> {
    let obstacle = diagnosis.limit.obstacle()?;
    diagnosis.what_if.iter().find(|what_if| what_if.obstacle == obstacle)
}

fn advise(advice: Advice, diagnosis: &Diagnosis) -> String {
    let figures = &diagnosis.figures;
    match advice {
        Advice::RaiseThePriority => {
            "Run it at the usual priority (nice 0, SCHED_OTHER), or where the others do not run: they go before it.".to_owned()
        }
        Advice::KeepMemory => {
            "Keep memory and use it again instead of giving it back: the kernel has to find and clear each page anew.".to_owned()
        }
        Advice::ShareLessInTheKernel => {
            "Its threads change one thing in the kernel in turn, such as their address space or a file: change it less often, or use \
             processes or files of their own."
                .to_owned()
        }
        Advice::FindTheCycle if matches!(diagnosis.limit, Limit::Hung(hung) if hung.for_pipes) => {
            "Read what the other one writes while you write to it or wait for its end: a pipe that is full stops who writes to it."
                .to_owned()
        }
        Advice::FindTheCycle => {
            "Find who holds what each waits for: a lock that is never given back, or two that are taken in opposite orders."
                .to_owned()
        }
        Advice::BlockInsteadOfYielding => {
            "Let them block on a lock, a condition or a queue: what a thread burns while it yields is not work.".to_owned()
        }
        Advice::LargerTasks => {
            "Pass more work at a time, in larger chunks, and less data with it, or take the lock less often: much of this is the passing."
                .to_owned()
        }
        Advice::WaitForEvents => {
            "Wait without a time limit, or for longer: no core makes this faster, and every wake-up is wasted.".to_owned()
        }
        Advice::MoveOutOfTheLoop => out_of_the_loop(&diagnosis.limit),
        Advice::MoreOfTheBottleneck => more_of_the_bottleneck(&diagnosis.limit),
        Advice::StartMore => start_more(diagnosis),
        Advice::DivideEvenly => {
            "Divide the work into smaller parts, or start the longest first: some are done long before the others.".to_owned()
        }
        Advice::HoldLocksForLess => {
            "More threads would wait for the same locks: hold them for less, or give each thread data of its own.".to_owned()
        }
        Advice::WaitInLoopsForLess => {
            "Give each thread as much to do as the others, or hold locks for less: who waits in a loop keeps a CPU busy with nothing."
                .to_owned()
        }
        Advice::RaiseTheQuota => raise_the_quota(&diagnosis.limit),
        Advice::WidenTheMask => {
            "Widen the mask: look for sched_setaffinity, taskset or a library that pins its threads.".to_owned()
        }
        Advice::MoveToProcesses => "Move the CPU work to processes: each has a GIL of its own.".to_owned(),
        Advice::GilOnOneCore => {
            "Its threads share one GIL, but with one core there is nothing to gain from running at the same time.".to_owned()
        }
        Advice::ProcessesIfPython => {
            "If they compute in Python, processes would run at the same time; threads of one interpreter do not.".to_owned()
        }
        Advice::DivideTheWork => format!(
            "One thread cannot use more than one of the {} cores: divide the work among processes or threads.",
            grouped(figures.cores)
        ),
        Advice::StartTheNextSooner => {
            "Start the next one before the last one is done, where it does not need its result.".to_owned()
        }
        Advice::DoMoreInEachProcess => format!(
            "It starts {} processes a second: do more in each, or in none, as starting one takes a millisecond.",
            grouped(rounded(figures.processes_per_second) as u64)
        ),
        Advice::OverlapWaits => {
            let larger = if diagnosis.limit.waits_first_for(Reason::Disk) { "ask for more at a time, or " } else { "" };
            format!("It mostly waits: {larger}let its waits overlap, with an event loop or with threads, rather than give it more cores.")
        }
        Advice::FreeTheLoop => {
            "The loop never rests, and everything in it waits for its turn: move the computing to processes.".to_owned()
        }
        Advice::OneThreadDoesItAll => {
            format!("One thread does it all, and wants a core {} of the time: no other core can help it.", percent(figures.demand))
        }
    }
}

fn out_of_the_loop(limit: &Limit) -> String {
    let thread = match limit {
        Limit::BlockedLoop(BlockedLoop { is_python: true, .. }) => "a thread, as asyncio.to_thread does",
        _ => "a thread",
    };
    format!("Everything in the loop waits meanwhile: let the loop wait for it in its poll, or give it to {thread}.")
}

fn start_more(diagnosis: &Diagnosis) -> String {
    let figures = &diagnosis.figures;
    let working = if let Limit::TooFewThreads(group) = &diagnosis.limit { group.workers(figures) } else { figures.workers };
    format!("Start more of them: {} work, and there are {} cores.", grouped(working), grouped(figures.cores))
}

fn raise_the_quota(limit: &Limit) -> String {
    let file = if let Limit::Quota(quota) = limit { format!(" ({})", quota.file.display()) } else { String::new() };
    format!("Raise the quota{file}: whenever it is used up, every thread waits for the next period.")
}

fn more_of_the_bottleneck(limit: &Limit) -> String {
    match limit {
        Limit::Bottleneck(Bottleneck { stops_the_world: true, .. }) => {
            "A JVM stops all of its threads for this one, mostly to collect garbage: give it a larger heap (-Xmx, -Xmn) or a collector that \
             works beside them (G1, ZGC), and look for calls of System.gc(); -Xlog:gc,safepoint says what it does."
                .to_owned()
        }
        Limit::Bottleneck(Bottleneck { comm, .. }) => format!(
            "Divide what {comm} does among several, let it work ahead without a lock that the others need, or let it do less."
        ),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests;
