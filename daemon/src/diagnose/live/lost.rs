//! What a workload has lost since tracing began, by names that a metric can have.

use schedscope_ebpf::blocked::Reason;

use crate::capture::allowance::Quota;
use crate::diagnose::Cores;
use crate::diagnose::cores::Cause;
use crate::values::values;

values! {
    /// Why a core was not used: the [`Cause`] of the same name.
    pub enum LostCause {
        /// The quota of a cgroup was used up.
        Quota = "quota",
        /// It was free, and no mask of those that wanted one allowed it.
        Mask = "mask",
        /// Other programs, the kernel or a hypervisor had it.
        Others = "others",
        /// It was free, and a thread on its way to it.
        Transit = "transit",
        /// Threads that do the work waited for what the kernel does not tell,
        WaitUnknown = "wait_unknown",
        /// for Python's lock,
        WaitGil = "wait_gil",
        /// a lock or another thread,
        WaitFutex = "wait_futex",
        /// a timed sleep to end,
        WaitSleep = "wait_sleep",
        /// events,
        WaitPoll = "wait_poll",
        /// a pipe, socket or terminal,
        WaitPipeSocket = "wait_pipe_socket",
        /// a child,
        WaitChildWait = "wait_child_wait",
        /// the disk,
        WaitDisk = "wait_disk",
        /// a page fault,
        WaitPageFault = "wait_page_fault",
        /// the lock of the address space,
        WaitMmapLock = "wait_mmap_lock",
        /// another lock in the kernel,
        WaitKernelLock = "wait_kernel_lock",
        /// being continued,
        WaitStopped = "wait_stopped",
        /// or in another system call.
        WaitOther = "wait_other",
        /// There was nobody to run on it.
        TooFewThreads = "too_few_threads",
    }
}

impl From<Cause> for LostCause {
    fn from(cause: Cause) -> LostCause {
        match cause {
            Cause::Quota => LostCause::Quota,
            Cause::Mask => LostCause::Mask,
            Cause::Others => LostCause::Others,
            Cause::Transit => LostCause::Transit,
            Cause::Wait(Reason::Gil) => LostCause::WaitGil,
            Cause::Wait(Reason::Futex) => LostCause::WaitFutex,
            Cause::Wait(Reason::Sleep) => LostCause::WaitSleep,
            Cause::Wait(Reason::Poll) => LostCause::WaitPoll,
            Cause::Wait(Reason::PipeSocket) => LostCause::WaitPipeSocket,
            Cause::Wait(Reason::ChildWait) => LostCause::WaitChildWait,
            Cause::Wait(Reason::Disk) => LostCause::WaitDisk,
            Cause::Wait(Reason::PageFault) => LostCause::WaitPageFault,
            Cause::Wait(Reason::Stopped) => LostCause::WaitStopped,
            Cause::Wait(Reason::MmapLock) => LostCause::WaitMmapLock,
            // The daemon takes no samples, so it sees those only that sleep.
            Cause::Wait(Reason::KernelLock) | Cause::Spinning => LostCause::WaitKernelLock,
            Cause::Wait(Reason::Other) => LostCause::WaitOther,
            Cause::Wait(Reason::Unknown) => LostCause::WaitUnknown,
            Cause::TooFewThreads => LostCause::TooFewThreads,
        }
    }
}

/// Sums over the windows of a workload. None of them ever goes down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// CPU time that was there for it and that it did not use, by [`LostCause`].
    pub ns: [u64; LostCause::ALL.len()],
    /// How long the quota that held it up longest in each window was used up, added up over CPUs.
    pub throttled_ns: u64,
    /// Periods in which it was.
    pub throttled_periods: u64,
}

impl Lost {
    /// Adds a window.
    pub(super) fn add(&mut self, cores: &Cores, quota: Option<&Quota>) {
        for (cause, ns) in &cores.lost {
            self.ns[LostCause::from(*cause) as usize] += ns;
        }
        if let Some(Quota { usage, .. }) = quota {
            self.throttled_ns += usage.throttled_ns;
            self.throttled_periods += usage.throttled_periods;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_the_name_that_it_has_in_a_report() {
        let waits = Reason::ALL.into_iter().map(Cause::Wait);
        let causes =
            [Cause::Quota, Cause::Mask, Cause::Others, Cause::Transit].into_iter().chain(waits).chain([Cause::TooFewThreads]);
        let causes: Vec<Cause> = causes.collect();
        let names: Vec<String> = causes.iter().map(|cause| cause.name()).collect();
        assert_eq!(names, LostCause::ALL.map(LostCause::name));
        for (cause, lost) in causes.into_iter().zip(LostCause::ALL) {
            assert_eq!(LostCause::from(cause), lost);
        }
    }
}
