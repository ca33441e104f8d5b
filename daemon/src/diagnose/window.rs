//! What the engine judges: a program over a window, in nanoseconds.

use std::collections::{HashMap, HashSet};

use schedscope_ebpf::blocked::Reason;

use super::thresholds::{MOSTLY, SHORT_LIVED, SHORT_LIVED_WORK};
use crate::capture::allowance::Quota;
use crate::capture::history::Moment;
use crate::capture::interpreters::Python;
use crate::capture::run::{Run, Usage};
use crate::capture::snapshot::{Tgid, Thread, Tid, Times};
use crate::units::rounded;

/// Reasons to be blocked that no other thread of the program ends, as a rule.
const OUTSIDE: [Reason; 4] = [Reason::Sleep, Reason::Poll, Reason::PipeSocket, Reason::Disk];

/// What one thread did in the window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ledger {
    pub(crate) tid: Tid,
    pub(crate) tgid: Tgid,
    pub(crate) is_main: bool,
    /// What its process has for locks, if that is a Python.
    pub(crate) python: Option<Python>,
    /// When its life in the window began, on any clock that all ledgers share.
    pub(crate) begin_ns: u64,
    /// Where its time went; the parts sum to its life.
    pub(crate) times: Times,
    /// Of its time on CPUs, roughly what it waited for locks inside the kernel, whose holders ran.
    pub(crate) spinning_ns: u64,
    /// The same for what it waited for other threads in loops of its own program.
    pub(crate) pausing_ns: u64,
    /// It has ended: what it did is all it had to do.
    pub(crate) has_ended: bool,
    pub(crate) voluntary: u64,
    /// Of these, waits for a GIL.
    pub(crate) gil_waits: u64,
    /// Waits for other futexes with a time limit; for kernels that do not tell, 0.
    pub(crate) timed_waits: u64,
    /// Times that it gave its CPU up in `sched_yield`.
    pub(crate) yielded: u64,
    pub(crate) epoll_waits: u64,
    /// Its process has an event loop.
    pub(crate) has_loop: bool,
    /// Its name, as the kernel keeps it.
    pub(crate) comm: [u8; 16],
}

impl Ledger {
    /// From its begin to `now_ns`.
    pub(crate) fn of(thread: &Thread, now_ns: u64, python: Option<Python>) -> Ledger {
        Ledger {
            tid: thread.tid(),
            tgid: thread.tgid(),
            is_main: thread.tid().0 == thread.tgid().0,
            python,
            begin_ns: thread.record.start_ns,
            times: thread.times(now_ns),
            spinning_ns: thread.spinning_ns(),
            pausing_ns: thread.pausing_ns(),
            has_ended: thread.has_ended(),
            voluntary: thread.record.voluntary,
            gil_waits: thread.record.gil_waits,
            timed_waits: thread.record.timed_waits.into(),
            yielded: thread.record.yielded,
            epoll_waits: thread.record.epoll_waits,
            has_loop: false,
            comm: thread.record.comm,
        }
    }

    /// What it did after `before` was taken of the same thread.
    #[must_use]
    pub(crate) fn since(&self, before: &Ledger) -> Ledger {
        Ledger {
            begin_ns: before.end_ns(),
            times: self.times.since(&before.times),
            spinning_ns: self.spinning_ns.saturating_sub(before.spinning_ns),
            pausing_ns: self.pausing_ns.saturating_sub(before.pausing_ns),
            voluntary: self.voluntary.saturating_sub(before.voluntary),
            gil_waits: self.gil_waits.saturating_sub(before.gil_waits),
            timed_waits: self.timed_waits.saturating_sub(before.timed_waits),
            yielded: self.yielded.saturating_sub(before.yielded),
            epoll_waits: self.epoll_waits.saturating_sub(before.epoll_waits),
            ..self.clone()
        }
    }

    /// When its life in the window ended.
    pub(super) fn end_ns(&self) -> u64 {
        self.begin_ns + self.times.total_ns()
    }

    /// The share of its time on CPUs that it waited for locks inside the kernel.
    pub(super) fn spinning(&self) -> f64 {
        share(self.spinning_ns, self.times.on_cpu_ns).min(1.0)
    }

    /// The share of it that it waited for other threads in loops of its own program.
    pub(super) fn pausing(&self) -> f64 {
        share(self.pausing_ns, self.times.on_cpu_ns).min(1.0)
    }

    /// On a CPU or waiting for one.
    pub(super) fn wanted_ns(&self) -> u64 {
        self.times.on_cpu_ns + self.times.runnable_ns()
    }

    /// Asleep, or waiting for files, sockets or the disk.
    pub(super) fn outside_ns(&self) -> u64 {
        OUTSIDE.into_iter().map(|reason| self.times.blocked(reason)).sum()
    }

    /// Whether it spends most of its life waiting for other threads, by whatever means but the GIL.
    pub(super) fn waits_for_others(&self) -> bool {
        let for_others_ns = self.times.blocked_total_ns() - self.times.blocked(Reason::Gil) - self.outside_ns();
        share(for_others_ns, self.times.total_ns()) >= MOSTLY
    }
}

/// A program over a window: what a diagnosis is made from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Window {
    pub(crate) wall_ns: u64,
    /// Where the time of all threads went, of those without a ledger too. C and D follow from it.
    pub(crate) times: Times,
    /// On-CPU time by CPU number; empty if it is not known.
    pub(crate) on_cpu_ns_by_cpu: Vec<u64>,
    /// Cores that it was given; 0 if that is not known.
    pub(crate) allowed_cores: u64,
    /// Cores of the hardware that these are threads of; 0 if that is not known.
    pub(crate) physical_cores: u64,
    /// Cores in the masks of those of its threads that wanted one, on average, if that is known.
    pub(crate) cores_in_masks: Option<f64>,
    /// The cgroup that let it wait longest because its CPU time was used up, if any did.
    pub(crate) quota: Option<Quota>,
    /// How long threads waited for a CPU while they had a priority below the usual one.
    pub(crate) meek_ns: u64,
    pub(crate) online_cores: u64,
    pub(crate) idle_ns: u64,
    /// Time that the cores spent on other programs.
    pub(crate) foreign_ns: u64,
    pub(crate) processes: u64,
    pub(crate) threads: u64,
    /// Voluntary switches of all threads.
    pub(crate) voluntary: u64,
    /// What the kernel counted of the processes that were waited for, if that is known.
    pub(crate) usage: Usage,
    /// Something was not observed.
    pub(crate) is_incomplete: bool,
    /// Threads without a ledger, because there were too many.
    pub(crate) forgotten: u64,
    pub(crate) ledgers: Vec<Ledger>,
    /// Ledgers of threads that waited for a pipe that only the program has, in a standstill.
    pub(crate) waiting_for_own_pipes: HashSet<usize>,
    /// The window from one sample to the next, with what each ledger's thread did; empty if that was not kept.
    pub(crate) moments: Vec<Moment>,
}

impl Window {
    /// What all threads spent on CPUs waiting, inside the kernel or in loops of their own.
    pub(super) fn spinning_ns(&self) -> u64 {
        let of = |ledger: &Ledger| (ledger.spinning_ns + ledger.pausing_ns).min(ledger.times.on_cpu_ns);
        self.ledgers.iter().map(of).sum::<u64>().min(self.times.on_cpu_ns)
    }

    pub(crate) fn of_run(run: &Run) -> Window {
        let (processes, threads) = run.tasks();
        let python = |thread: &Thread| run.interpreters.python(thread.tgid());
        let ledgers = run.threads.iter().map(|thread| Ledger {
            has_loop: run.allowance.loops.contains(&thread.tgid()),
            ..Ledger::of(thread, run.taken_ns, python(thread))
        });
        let waits = |thread: &Thread| run.waiting_for_own_pipes.contains(&thread.key());
        let waiting_for_own_pipes = run.threads.iter().enumerate().filter(|(_, thread)| waits(thread));
        Window {
            wall_ns: run.wall_ns(),
            times: run.totals.times,
            on_cpu_ns_by_cpu: run.totals.on_cpu_ns_by_cpu.clone(),
            allowed_cores: u64::from(run.subject.allowed_cpus),
            physical_cores: run.physical_cores.into(),
            cores_in_masks: run.allowance.cpus,
            quota: run.allowance.binding_quota().cloned(),
            meek_ns: run.allowance.meek_ns,
            online_cores: run.online.len() as u64,
            idle_ns: run.host.idle_ns,
            foreign_ns: run.foreign_on_cpu_ns(),
            processes,
            threads,
            voluntary: run.totals.voluntary,
            usage: run.subject.usage,
            is_incomplete: run.losses.missing() > 0 || run.threads_forgotten > 0,
            forgotten: run.threads_forgotten,
            ledgers: ledgers.collect(),
            waiting_for_own_pipes: waiting_for_own_pipes.map(|(number, _)| number).collect(),
            moments: moments_of(run),
        }
    }

    /// Threads whose ledgers are all there is, on so many cores.
    pub(crate) fn of_ledgers(wall_ns: u64, cores: u64, ledgers: Vec<Ledger>) -> Window {
        let processes: std::collections::BTreeSet<Tgid> = ledgers.iter().map(|ledger| ledger.tgid).collect();
        Window {
            wall_ns,
            times: ledgers.iter().map(|ledger| &ledger.times).sum(),
            allowed_cores: cores,
            online_cores: cores,
            processes: processes.len() as u64,
            threads: ledgers.len() as u64,
            voluntary: ledgers.iter().map(|ledger| ledger.voluntary).sum(),
            ledgers,
            ..Window::default()
        }
    }

    /// A sum over threads or cores as their mean number.
    pub(super) fn mean(&self, ns: u64) -> f64 {
        ratio(ns, self.wall_ns)
    }

    /// Whether it lived for a small part of the window only.
    pub(super) fn is_short_lived(&self, ledger: &Ledger) -> bool {
        share(ledger.times.total_ns(), self.wall_ns) < SHORT_LIVED
    }

    /// Whether those that come and go do much together: a worker for each task, rather than a launcher's helpers.
    pub(super) fn has_short_lived_workers(&self) -> bool {
        let short_ns: u64 = self.ledgers.iter().filter(|ledger| self.is_short_lived(ledger)).map(Ledger::wanted_ns).sum();
        short_ns as f64 >= SHORT_LIVED_WORK * self.wall_ns as f64
    }

    /// A count as a rate.
    pub(super) fn per_second(&self, count: u64) -> f64 {
        if self.wall_ns == 0 { 0.0 } else { count as f64 * 1e9 / self.wall_ns as f64 }
    }

    /// Cores that it may use; never 0. Where nobody has seen its masks they are those that it was given or has used, as a program may
    /// widen its mask.
    pub(super) fn cores(&self) -> u64 {
        let cores = self.cores_in_masks.map(|cores| rounded(cores) as u64);
        cores.unwrap_or_else(|| self.given_cores().max(self.cores_with(1.0))).max(1)
    }

    /// Cores that it was given.
    pub(super) fn given_cores(&self) -> u64 {
        if self.allowed_cores == 0 { self.online_cores } else { self.allowed_cores }
    }

    /// Threads that it can run on the cores given without two of them sharing one of the hardware's.
    pub(super) fn unshared_cores(&self) -> u64 {
        let given = self.given_cores().max(1);
        if self.physical_cores == 0 { given } else { self.physical_cores.min(given) }
    }

    /// Fewest cores that together have this share of the on-CPU time.
    pub(super) fn cores_with(&self, part: f64) -> u64 {
        let mut by_cpu: Vec<u64> = self.on_cpu_ns_by_cpu.iter().copied().filter(|ns| *ns > 0).collect();
        by_cpu.sort_unstable_by(|a, b| b.cmp(a));
        let all: u64 = by_cpu.iter().sum();
        let mut so_far = 0;
        by_cpu
            .iter()
            .take_while(|ns| {
                let is_missing = share(so_far, all) < part;
                so_far += **ns;
                is_missing
            })
            .count() as u64
    }
}

/// The history with the numbers of the ledgers, as far as the run's window goes.
fn moments_of(run: &Run) -> Vec<Moment> {
    let ledgers: HashMap<(Tid, u64), usize> =
        run.threads.iter().enumerate().map(|(number, thread)| (thread.key(), number)).collect();
    let mut rest_ns = run.wall_ns();
    let mut moments = Vec::with_capacity(run.history.moments.len());
    for moment in &run.history.moments {
        let length_ns = moment.length_ns.min(rest_ns);
        rest_ns -= length_ns;
        let known = |&(thread, times): &(usize, Times)| Some((*ledgers.get(&run.history.threads[thread])?, times));
        let parts = moment.parts.iter().filter_map(known).collect();
        moments.push(Moment { length_ns, idle_ns: moment.idle_ns, parts });
    }
    // What came after the end was read with what came before.
    while let [.., _, last] = moments.as_slice()
        && last.length_ns == 0
    {
        let last = moments.pop().unwrap_or_default();
        if let Some(before) = moments.last_mut() {
            before.join(last);
        }
    }
    moments
}

/// A part of a whole, between 0 and 1; 0 of nothing.
pub(super) fn share(part: u64, whole: u64) -> f64 {
    ratio(part, whole).min(1.0)
}

/// A quotient; 0 of nothing.
pub(super) fn ratio(dividend: u64, divisor: u64) -> f64 {
    if divisor == 0 { 0.0 } else { dividend as f64 / divisor as f64 }
}
