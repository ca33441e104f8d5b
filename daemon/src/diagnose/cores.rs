//! Where the cores went: every CPU-second that a program was given, used by it or lost to one cause.
//!
//! What was used, and how long threads waited in a run queue, is exact; whose fault the wait was is attributed, in this order, each to at
//! most what is left of both the waits and the cores:
//!
//! 1. a quota, for as long as the kernel says that it was used up;
//! 2. masks, for as long as cores outside of them were free;
//! 3. others, for as long as they had cores;
//! 4. the way to a core that was free: what is left, and the time from a waking to the run queue.
//!
//! What threads were on a CPU for while they waited for a lock inside the kernel, or for each other in loops of their own, is sampled, and
//! lost to spinning.
//! Cores that nobody waited for are lost to what the program's workers were blocked for, and if too few were alive, to that.

use schedscope_ebpf::blocked::Reason;

use super::window::Window;
use super::workers::Workers;

/// Why a core was not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cause {
    /// The quota of a cgroup was used up.
    Quota,
    /// It was free, and no mask of those that wanted one allowed it.
    Mask,
    /// Other programs, the kernel or a hypervisor had it.
    Others,
    /// It was free, and a thread on its way to it.
    Transit,
    /// A thread was on it, and waited for a lock inside the kernel, or in a loop of its own for another thread.
    Spinning,
    /// A thread that does the work was blocked.
    Wait(Reason),
    /// There was nobody to run on it.
    TooFewThreads,
}

impl Cause {
    /// As it is written in JSON.
    pub(crate) fn name(self) -> String {
        match self {
            Cause::Quota => "quota".to_owned(),
            Cause::Mask => "mask".to_owned(),
            Cause::Others => "others".to_owned(),
            Cause::Transit => "transit".to_owned(),
            Cause::Spinning => "spinning".to_owned(),
            Cause::Wait(reason) => format!("wait_{}", reason.name()),
            Cause::TooFewThreads => "too_few_threads".to_owned(),
        }
    }
}

/// The parts of the cores over a window.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Cores {
    /// All that there was.
    pub(crate) given_ns: u64,
    pub(crate) used_ns: u64,
    /// What was not used, by cause; none of them 0. Together with what was used it is all that there was.
    pub(crate) lost: Vec<(Cause, u64)>,
}

impl Cores {
    pub(super) fn of(window: &Window, workers: &Workers) -> Cores {
        let spinning_ns = window.spinning_ns();
        let used_ns = window.times.on_cpu_ns - spinning_ns;
        let given_ns = (window.wall_ns * window.given_cores().max(window.cores())).max(window.times.on_cpu_ns);
        let mut rest = Rest { cores_ns: given_ns - used_ns, waits_ns: window.times.runnable_ns(), lost: Vec::new() };
        rest.lose(Cause::Spinning, spinning_ns);
        let throttled_ns = window.quota.as_ref().map_or(0, |quota| quota.usage.throttled_ns);
        let outside = window.cores_in_masks.map_or(0.0, |inside| (window.given_cores() as f64 - inside).max(0.0));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of the cores' time")]
        let outside_ns = (outside * window.wall_ns as f64) as u64;
        rest.lose_waits(Cause::Quota, throttled_ns);
        rest.lose_waits(Cause::Mask, outside_ns.saturating_sub(window.foreign_ns));
        rest.lose_waits(Cause::Others, window.foreign_ns);
        rest.lose(Cause::Transit, rest.waits_ns + window.times.transit_ns);
        let blocked_ns = workers.times.blocked_total_ns();
        let cores_ns = rest.cores_ns.min(blocked_ns);
        for (reason, ns) in workers.times.blocked_by_reason() {
            // In 128 bits, for the product.
            let part_ns = u128::from(cores_ns) * u128::from(ns) / u128::from(blocked_ns.max(1));
            rest.lose(Cause::Wait(reason), u64::try_from(part_ns).unwrap_or(u64::MAX));
        }
        rest.lose(Cause::TooFewThreads, rest.cores_ns);
        Cores { given_ns, used_ns, lost: rest.lost }
    }
}

/// What nobody has answered for yet.
struct Rest {
    cores_ns: u64,
    /// Of threads that could run.
    waits_ns: u64,
    lost: Vec<(Cause, u64)>,
}

impl Rest {
    fn lose(&mut self, cause: Cause, at_most_ns: u64) {
        let ns = at_most_ns.min(self.cores_ns);
        self.cores_ns -= ns;
        if ns > 0 {
            self.lost.push((cause, ns));
        }
    }

    /// Loses no more than threads have waited.
    fn lose_waits(&mut self, cause: Cause, at_most_ns: u64) {
        let ns = at_most_ns.min(self.cores_ns).min(self.waits_ns);
        self.waits_ns -= ns;
        self.lose(cause, ns);
    }
}
