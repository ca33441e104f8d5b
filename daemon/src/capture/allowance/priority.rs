//! How the kernel ranks a thread among others that want the same CPU.

use std::mem::size_of;

use crate::capture::snapshot::Tid;
use crate::values::values;

values! {
    /// Scheduling policies.
    pub enum Policy {
        /// `SCHED_OTHER`: the usual one.
        Other = "other",
        /// `SCHED_FIFO`: before all others, for as long as it likes.
        Fifo = "fifo",
        /// `SCHED_RR`: before all others, in turns with its like.
        RoundRobin = "rr",
        /// `SCHED_BATCH`: as the usual one, but never at once after a wake-up.
        Batch = "batch",
        /// `SCHED_IDLE`: with the least weight.
        Idle = "idle",
        /// `SCHED_DEADLINE`: so much time in each period.
        Deadline = "deadline",
        /// `SCHED_EXT`: as a BPF program decides.
        Ext = "ext",
    }
}

impl Policy {
    /// By the kernel's number (`include/uapi/linux/sched.h`); 4 is no policy.
    fn of(number: u32) -> Option<Policy> {
        Some(match number {
            0 => Policy::Other,
            1 => Policy::Fifo,
            2 => Policy::RoundRobin,
            3 => Policy::Batch,
            5 => Policy::Idle,
            6 => Policy::Deadline,
            7 => Policy::Ext,
            _ => return None,
        })
    }
}

/// What a thread's turn at a CPU depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Priority {
    pub(crate) policy: Policy,
    /// -20 to 19; the greater, the less it gets. Counts under `other` and `batch`.
    pub(crate) nice: i8,
    /// 1 to 99 under `fifo` and `rr`, else 0.
    pub(crate) realtime: u8,
}

/// The kernel's `struct sched_attr` in its first version, which every kernel accepts.
#[derive(Default)]
#[repr(C)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

impl Priority {
    /// A thread's; `None` if it has ended, or under a policy that is not known.
    pub(crate) fn of_thread(tid: Tid) -> Option<Priority> {
        let mut found = Attributes::default();
        // SAFETY: the structure is valid for writing its size, which is given; the kernel writes no more than that.
        let status = unsafe { libc::syscall(libc::SYS_sched_getattr, tid.0, &raw mut found, size_of::<Attributes>(), 0) };
        (status == 0).then(|| Priority::of(&found))?
    }

    fn of(found: &Attributes) -> Option<Priority> {
        Some(Priority {
            policy: Policy::of(found.policy)?,
            nice: i8::try_from(found.nice).ok()?,
            realtime: u8::try_from(found.priority).ok()?,
        })
    }

    /// Whether it gives way to threads that have asked for nothing.
    pub(crate) fn is_meek(self) -> bool {
        match self.policy {
            Policy::Idle => true,
            Policy::Other | Policy::Batch => self.nice > 0,
            Policy::Fifo | Policy::RoundRobin | Policy::Deadline | Policy::Ext => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(policy: i32, nice: i32, priority: u32) -> Option<Priority> {
        Priority::of(&Attributes { policy: policy.cast_unsigned(), nice, priority, ..Attributes::default() })
    }

    #[test]
    fn policies_have_the_kernels_numbers() {
        let numbers = [
            (libc::SCHED_OTHER, Policy::Other),
            (libc::SCHED_FIFO, Policy::Fifo),
            (libc::SCHED_RR, Policy::RoundRobin),
            (libc::SCHED_BATCH, Policy::Batch),
            (libc::SCHED_IDLE, Policy::Idle),
            (libc::SCHED_DEADLINE, Policy::Deadline),
            (7, Policy::Ext),
        ];
        for (number, policy) in numbers {
            assert_eq!(found(number, 0, 0).map(|priority| priority.policy), Some(policy), "{number}");
        }
        assert!(found(4, 0, 0).is_none() && found(8, 0, 0).is_none());
        assert_eq!(found(1, 0, 99), Some(Priority { policy: Policy::Fifo, nice: 0, realtime: 99 }));
    }

    #[test]
    fn who_gives_way_has_asked_to() {
        let is_meek = |policy, nice| found(policy, nice, 0).unwrap().is_meek();
        assert!(is_meek(libc::SCHED_IDLE, 0) && is_meek(libc::SCHED_OTHER, 1) && is_meek(libc::SCHED_BATCH, 19));
        assert!(!is_meek(libc::SCHED_OTHER, 0) && !is_meek(libc::SCHED_OTHER, -5) && !is_meek(libc::SCHED_FIFO, 19));
    }

    #[test]
    fn our_own_is_known_and_one_of_a_process_that_ended_is_not() {
        let own = Priority::of_thread(Tid(std::process::id())).unwrap();
        // SAFETY: a system call that takes no pointers.
        let nice = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
        assert_eq!(i32::from(own.nice), nice);
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        assert_eq!(Priority::of_thread(Tid(child.id())), None);
    }
}
