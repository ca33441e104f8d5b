//! What the kernel side knew at one moment, as plain data. Nothing here touches a map.
//!
//! The reader stamps `taken_ns` first, then copies the cells, then the thread records. So closed time can be missing from the cells but
//! is never counted twice; [`crate::capture::totals`] makes totals of it that never go down.

use schedscope_ebpf::abi::{CGROUP_BYTES, Cell, CpuRecord, ExecKey, SAMPLE_PERIOD_NS, TaskRecord};
use schedscope_ebpf::blocked::{REASON_SLOTS, Reason};
use schedscope_ebpf::loss::{Harm, LOSS_SLOTS, Loss};
use schedscope_ebpf::task_clock::{Closed, Phase};
use schedscope_ebpf::wait_account::WaitAccount;

use crate::untrusted::harmless;

/// Logical CPU number as the kernel counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cpu(pub u32);

/// Thread id: the kernel's `pid`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tid(pub u32);

/// Process id: the kernel's `tgid`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tgid(pub u32);

/// Number of a workload, the index into the cells of each CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkloadId(pub u32);

/// One thread and where its time went, on each CPU if that was asked for.
#[derive(Clone, Debug)]
pub struct Thread {
    /// The record as the kernel side keeps it.
    pub record: TaskRecord,
    /// Closed on-CPU nanoseconds by CPU, indexed by CPU number; empty without the thread-by-core map.
    pub on_cpu_ns_by_cpu: Vec<u64>,
    /// How its waits differ from the kernel's run delay; only while figures are verified.
    pub wait_account: Option<WaitAccount>,
}

/// A workload that the kernel side has opened for a program of which it did not know where it belongs.
#[derive(Clone, Debug)]
pub struct ProvisionalWorkload {
    /// Its number, behind those of all workloads with names.
    pub number: WorkloadId,
    /// The program.
    pub key: ExecKey,
    /// Path of its cgroup, written as in [`ExecKey`].
    pub cgroup: Box<[u8; CGROUP_BYTES]>,
    /// Its cells by CPU; none if it was opened during the reading.
    pub cells: Vec<Cell>,
}

/// Processes that an exec has brought from one workload into another and that no cell counts there. They are handed out once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrivals {
    /// Where they had been counted.
    pub from: WorkloadId,
    /// Where they are now; either can be provisional.
    pub to: WorkloadId,
    /// How many.
    pub count: u64,
}

/// Everything read at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// `CLOCK_MONOTONIC` when reading began.
    pub taken_ns: u64,
    /// Cells by CPU, then by workload: `cells[cpu][workload]`. All CPUs have the same number of workloads.
    pub cells: Vec<Vec<Cell>>,
    /// Records by CPU.
    pub cpus: Vec<CpuRecord>,
    /// Threads in the table: alive, or ended and not yet reaped.
    pub threads: Vec<Thread>,
    /// Threads whose slots were freed with this reading. They are handed out once, and were in `threads` before, perhaps of this same
    /// snapshot.
    pub released: Vec<Thread>,
    /// Records that were being written each time they were read. Their threads are in `threads` without an open interval, and the sums
    /// may be older than in the reading before.
    pub torn_records: u64,
    /// Workloads without a name yet. Their cells are read before the records, as the others are.
    pub provisional: Vec<ProvisionalWorkload>,
    /// Processes that changed their workload since the reading before.
    pub arrivals: Vec<Arrivals>,
    /// A forked process is in no cell's count until it calls exec or ends.
    pub are_starts_deferred: bool,
}

impl Thread {
    /// Tells it from all others: ids are reused, start times are not.
    pub fn key(&self) -> (Tid, u64) {
        (self.tid(), self.record.start_ns)
    }

    /// Its id.
    pub fn tid(&self) -> Tid {
        Tid(self.record.tid)
    }

    /// Its process.
    pub fn tgid(&self) -> Tgid {
        Tgid(self.record.tgid)
    }

    /// Its workload.
    pub fn workload(&self) -> WorkloadId {
        WorkloadId(self.record.workload)
    }

    /// True after its last switch.
    pub fn has_ended(&self) -> bool {
        self.record.clock.phase == Phase::Dead as u32
    }

    /// True once it has begun to end. An exec ends all other threads first, and then gives its own the id of the main one; so of two with
    /// one id only the one that has not begun to end is the process's.
    pub fn is_ending(&self) -> bool {
        self.has_ended() || self.record.at_exit.on_cpu_ns != 0
    }

    /// True if it was alive before tracing began.
    pub fn was_seeded(&self) -> bool {
        self.record.seeded_as != Phase::New as u16
    }

    /// Its name, harmless.
    pub fn comm(&self) -> String {
        harmless_comm(&self.record.comm)
    }

    /// The switch interval of its last wait for a GIL; 0 if unknown.
    pub fn gil_interval_ns(&self) -> u64 {
        1000 * u64::from(self.record.gil_interval_us)
    }

    /// The interval that is still open at `now_ns`.
    pub fn open(&self, now_ns: u64) -> Closed {
        let unseen_as = Phase::from_raw(self.record.seeded_as.into()).unwrap_or(Phase::Blocked);
        self.record.clock.open(now_ns, unseen_as)
    }

    /// Closed and open time up to `now_ns`.
    pub fn times(&self, now_ns: u64) -> Times {
        let mut times = Times::of_thread(&self.record);
        times.add_open(self, now_ns);
        times
    }

    /// Of its time on CPUs, roughly what it waited for locks inside the kernel: as often as a sample found it there.
    pub(crate) fn spinning_ns(&self) -> u64 {
        u64::from(self.record.samples_at_locks) * SAMPLE_PERIOD_NS
    }

    /// The same for what it waited for other threads in loops of its own program.
    pub(crate) fn pausing_ns(&self) -> u64 {
        u64::from(self.record.samples_pausing) * SAMPLE_PERIOD_NS
    }

    /// Time between wakings and getting a CPU, up to now.
    pub fn wakeup_latency_ns(&self, now_ns: u64) -> u64 {
        self.record.wakeup_wait_ns + self.open(now_ns).wakeup_wait_ns
    }

    /// On-CPU time up to now by CPU, if that was asked for.
    pub fn on_cpu_ns_by_cpu(&self, now_ns: u64) -> Vec<u64> {
        let mut by_cpu = self.on_cpu_ns_by_cpu.clone();
        if let Some(ns) = by_cpu.get_mut(self.record.clock.cpu as usize) {
            *ns += self.open(now_ns).on_cpu_ns;
        }
        by_cpu
    }

    /// Index of what it waits for in the counters by reason.
    pub fn reason_index(&self) -> usize {
        self.record.reason as usize % REASON_SLOTS
    }

    /// Length of its life under observation: to its end if it has ended, else to `now_ns`.
    pub fn lifetime_ns(&self, now_ns: u64) -> u64 {
        let end_ns = if self.has_ended() { self.record.clock.since_ns } else { now_ns.max(self.record.clock.since_ns) };
        end_ns.saturating_sub(self.record.start_ns)
    }
}

/// A thread's name as the kernel keeps it, harmless.
pub(crate) fn harmless_comm(comm: &[u8; 16]) -> String {
    let end = comm.iter().position(|&byte| byte == 0).unwrap_or(comm.len());
    harmless(&String::from_utf8_lossy(&comm[..end]))
}

/// Where time went. The parts sum to the life of what they were measured on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// On a CPU.
    pub on_cpu_ns: u64,
    /// In a run queue after a wake-up.
    pub wakeup_wait_ns: u64,
    /// In a run queue after losing the CPU.
    pub preempt_wait_ns: u64,
    /// Woken, and not in a run queue yet; after a wait for a GIL that is part of the wait, since the thread does not have the lock.
    pub transit_ns: u64,
    /// Blocked, by reason.
    pub blocked_ns: [u64; REASON_SLOTS],
}

impl Times {
    /// The closed times of a thread.
    pub fn of_thread(record: &TaskRecord) -> Times {
        let TaskRecord { on_cpu_ns, wakeup_wait_ns, preempt_wait_ns, transit_ns, gil_transit_ns, blocked_ns, .. } = *record;
        Times { on_cpu_ns, wakeup_wait_ns, preempt_wait_ns, transit_ns, blocked_ns }.split(gil_transit_ns)
    }

    /// The closed times of a workload on one CPU.
    pub fn of_cell(cell: &Cell) -> Times {
        let Cell { on_cpu_ns, wakeup_wait_ns, preempt_wait_ns, transit_ns, gil_transit_ns, blocked_ns, .. } = *cell;
        Times { on_cpu_ns, wakeup_wait_ns, preempt_wait_ns, transit_ns, blocked_ns }.split(gil_transit_ns)
    }

    /// The kernel side's waits begin at the waking. Takes the transit out of them.
    fn split(mut self, gil_transit_ns: u64) -> Times {
        self.wakeup_wait_ns = self.wakeup_wait_ns.saturating_sub(self.transit_ns);
        self.transit_ns -= gil_transit_ns.min(self.transit_ns);
        self.blocked_ns[Reason::Gil as usize] += gil_transit_ns;
        self
    }

    /// Adds the interval of a thread that is still open.
    pub fn add_open(&mut self, thread: &Thread, now_ns: u64) {
        let open = thread.open(now_ns);
        self.on_cpu_ns += open.on_cpu_ns;
        self.wakeup_wait_ns += open.wakeup_wait_ns;
        self.preempt_wait_ns += open.preempt_wait_ns;
        self.blocked_ns[thread.reason_index()] += open.blocked_ns;
    }

    /// In a run queue and not running, for either cause: the kernel's `run_delay`, and what the kernel left out of runs. A wait that is
    /// still open counts whole, also if the thread turns out to have been in transit.
    pub fn runnable_ns(&self) -> u64 {
        self.wakeup_wait_ns + self.preempt_wait_ns
    }

    /// Blocked for this reason.
    pub fn blocked(&self, reason: Reason) -> u64 {
        self.blocked_ns[reason as usize]
    }

    /// Blocked for any reason.
    pub fn blocked_total_ns(&self) -> u64 {
        self.blocked_ns.iter().sum()
    }

    /// All of it.
    pub fn total_ns(&self) -> u64 {
        self.on_cpu_ns + self.runnable_ns() + self.transit_ns + self.blocked_total_ns()
    }

    /// What was added since `before`.
    #[must_use]
    pub fn since(&self, before: &Times) -> Times {
        self.zip(before, u64::saturating_sub)
    }

    pub(super) fn zip(&self, other: &Times, each: impl Fn(u64, u64) -> u64) -> Times {
        Times {
            on_cpu_ns: each(self.on_cpu_ns, other.on_cpu_ns),
            wakeup_wait_ns: each(self.wakeup_wait_ns, other.wakeup_wait_ns),
            preempt_wait_ns: each(self.preempt_wait_ns, other.preempt_wait_ns),
            transit_ns: each(self.transit_ns, other.transit_ns),
            blocked_ns: std::array::from_fn(|reason| each(self.blocked_ns[reason], other.blocked_ns[reason])),
        }
    }

    /// Reasons with their time, in the order of [`Reason::ALL`].
    pub fn blocked_by_reason(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        Reason::ALL.into_iter().zip(self.blocked_ns)
    }
}

impl<'a> std::iter::Sum<&'a Times> for Times {
    fn sum<I: Iterator<Item = &'a Times>>(parts: I) -> Times {
        parts.fold(Times::default(), |sum, part| sum.zip(part, u64::saturating_add))
    }
}

/// Losses by reason, summed over CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses(pub [u64; LOSS_SLOTS]);

impl Losses {
    /// Reasons with their counts, in the order of [`Loss::ALL`].
    pub fn by_reason(&self) -> impl Iterator<Item = (Loss, u64)> + '_ {
        Loss::ALL.into_iter().zip(self.0)
    }

    /// Those that leave a gap in the totals.
    pub fn missing(&self) -> u64 {
        self.by_reason().filter(|(loss, _)| loss.harm() == Harm::Missing).map(|(_, count)| count).sum()
    }
}

impl Snapshot {
    /// Threads that have not ended.
    pub fn live(&self) -> impl Iterator<Item = &Thread> {
        self.threads.iter().filter(|thread| !thread.has_ended())
    }

    /// Losses of all CPUs.
    pub fn losses(&self) -> Losses {
        let mut sum = Losses::default();
        for cpu in &self.cpus {
            for (total, count) in sum.0.iter_mut().zip(cpu.loss) {
                *total += count;
            }
        }
        sum
    }
}

#[cfg(test)]
pub(crate) mod tests;
