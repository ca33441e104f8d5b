//! Keeps a [`WaitAccount`] of every thread while figures are verified: reads what each event needs from the kernel. Otherwise this costs
//! nothing: the loader sets [`HAS_WAIT_ACCOUNTS`] to 0, and the verifier removes the calls.

use schedscope_ebpf::task_clock::TaskClock;
use schedscope_ebpf::wait_account::{Instant, KernelWaits, WaitAccount};

use crate::charge::{this_cpu, time_of_switch};
use crate::kernel_types::{HAS_WAIT_ACCOUNTS, Task};
use crate::maps::WAIT_ACCOUNTS;
use crate::tasks::{Traced, find};

/// The account of a thread; `None`, known to the verifier, unless figures are verified.
#[inline(always)]
fn account(slot: u32) -> Option<&'static mut WaitAccount> {
    if HAS_WAIT_ACCOUNTS.load() == 0 {
        return None;
    }
    // SAFETY: map values live as long as the program. Every writer holds the lock of the thread's run queue, or is about to fork it.
    WAIT_ACCOUNTS.get_ptr_mut(slot).map(|account| unsafe { &mut *account })
}

/// The time of an event by our clock and by the scheduler's.
#[inline(always)]
fn instant(task: Task, monotonic_ns: u64) -> Instant {
    Instant { monotonic_ns, scheduler_ns: task.rq_clock_ns().unwrap_or(0) }
}

/// The time by the clock of the task's run queue, whose lock is held.
#[inline(always)]
fn now(task: Task) -> Option<Instant> {
    Some(instant(task, time_of_switch(this_cpu(task.cpu())?, task.rq_clock_ns())))
}

/// Clears the account of a slot that is used again.
#[inline(always)]
pub(crate) fn clear(slot: u32) {
    if let Some(account) = account(slot) {
        *account = WaitAccount::default();
    }
}

/// A forked thread has been queued at `now_ns`.
#[inline(always)]
pub(crate) fn forked(task: Task, slot: u32, now_ns: u64) {
    if let Some(account) = account(slot) {
        account.forked(instant(task, now_ns));
    }
}

/// A woken thread has been queued.
#[inline(always)]
pub(crate) fn queued(task: Task, slot: u32, clock: &TaskClock) {
    if let (Some(account), Some(now)) = (account(slot), now(task)) {
        account.queued(clock, now, task.queued_for_ns(task.rq_clock_ns()).unwrap_or(0));
    }
}

/// A thread moves to another CPU. A thread placed at its wake-up is on no queue; whoever moves one from queue to queue holds the lock of
/// the queue that it leaves.
#[inline(always)]
pub(crate) fn migrates(task: Task, slot: u32, clock: &TaskClock) {
    let Some(account) = account(slot) else { return };
    let run_delay_ns = task.run_delay_ns().unwrap_or(0);
    if task.sleeps_queued() {
        account.moved_asleep(run_delay_ns);
    } else if task.is_queued() {
        if let Some(now) = now(task) {
            account.moved(clock, now, run_delay_ns);
        }
    }
}

/// A thread has ended, and the ledger has made its waits longer by `settled_ns`.
#[inline(always)]
pub(crate) fn settled(slot: u32, settled_ns: i64) {
    if let Some(account) = account(slot) {
        account.settled(settled_ns);
    }
}

/// A switch has been charged to both threads.
#[inline(always)]
pub(crate) fn switched(prev: Task, next: Task) {
    if HAS_WAIT_ACCOUNTS.load() != 0 {
        departed(prev);
        arrived(next);
    }
}

#[inline(never)]
fn departed(prev: Task) {
    let Some(Traced { slot, record }) = find(prev) else { return };
    let Some(account) = account(slot) else { return };
    let kernel = KernelWaits {
        run_delay_ns: prev.run_delay_ns().unwrap_or(0),
        last_arrival_ns: prev.last_arrival_ns(),
        is_asleep: prev.state() != 0,
    };
    account.departed(record, instant(prev, record.clock.since_ns), kernel);
}

#[inline(never)]
fn arrived(next: Task) {
    let Some(Traced { slot, record }) = find(next) else { return };
    let Some(account) = account(slot) else { return };
    account.arrived(record, instant(next, record.clock.since_ns), next.queued_for_ns(next.rq_clock_ns()).unwrap_or(0));
}
