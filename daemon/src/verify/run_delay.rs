//! Waits against the kernel's `run_delay`, thread by thread. Pure.
//!
//! Our wait after a wake-up begins when the waker calls, the kernel's when the thread is queued, perhaps by another CPU after an
//! interrupt. Time that the kernel takes out of a run, because a hypervisor or an interrupt had the CPU, is a wait for us and nothing
//! for `run_delay`. So are the moment that a thread spends between two queues when it is moved, and a wait after a preemption on the
//! way to sleep. Since 6.12, once the kernel has moved a sleeping thread, it counts the rest of that sleep. While figures are verified,
//! each of these is measured for each thread ([`WaitAccount`]), and the rest of its waits must equal its run delay.

use schedscope_ebpf::switch_clock::OFFSET_ERROR_NS;
use schedscope_ebpf::task_clock::CLOCK_ERROR_NS;
use schedscope_ebpf::wait_account::WaitAccount;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::comparison::{Bounds, Residual};
use crate::capture::snapshot::Thread;
use crate::units::seconds;

/// How the waits of threads compare with the kernel's run delay, and how they differ from it by design.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Waits {
    /// Threads compared.
    pub threads: u64,
    /// Of these, threads whose waits and run delay differ.
    pub threads_differing: u64,
    /// In our waits only: from the waking until the thread was queued.
    pub before_queued_seconds: f64,
    /// In our waits only: what the kernel took out of runs.
    pub out_of_runs_seconds: f64,
    /// In our waits only: between two queues.
    pub between_queues_seconds: f64,
    /// In our waits only: after a preemption on the way to sleep.
    pub uncounted_seconds: f64,
    /// In run delay only: sleep after a move.
    pub counted_sleep_seconds: f64,
    /// By how much the conversion of the scheduler's clock made our waits longer.
    pub clock_seconds: f64,
    /// Waits with a missed event. Their length is the kernel's, so they are not compared.
    pub unobserved: u64,
}

impl Waits {
    /// The number of threads that differ, if any was compared.
    pub(super) fn row(&self, source: &str) -> Option<Residual> {
        (self.threads > 0).then(|| Residual::counts(source, "threads with another run delay", self.threads_differing, 0))
    }

    /// Says which of our waits the kernel does not count, and which of its own we do not.
    fn reason(&self) -> String {
        let told = |parts: &[(f64, &str)]| -> Vec<String> {
            let told = parts.iter().filter(|(part, _)| part.abs() >= 0.5e-6);
            told.map(|(part, what)| format!("{part:.6} s {what}")).collect()
        };
        let off = told(&[
            (self.before_queued_seconds, "before threads were queued"),
            (self.out_of_runs_seconds, "that the kernel took out of runs"),
            (self.between_queues_seconds, "between two queues"),
            (self.uncounted_seconds, "after preemptions on the way to sleep"),
            (self.clock_seconds, "by which converting the scheduler's clock made them longer"),
        ]);
        let added = told(&[(self.counted_sleep_seconds, "of sleep, which the kernel counts once it has moved the sleeper")]);
        let mut reasons = Vec::new();
        for (what, parts) in [("taken off our waits", off), ("added to them", added)] {
            if !parts.is_empty() {
                reasons.push(format!("{what}: {}", parts.join(", ")));
            }
        }
        if self.unobserved > 0 {
            reasons.push(format!("waits with a missed event, which are as long as the kernel says: {}", self.unobserved));
        }
        reasons.join("; ")
    }
}

/// Why run delay by our clock may differ.
const CLOCK: &str = "the scheduler's clock is converted into ours: corrections of the clock may make waits longer or shorter by 500 ppm, and \
     clocks of two CPUs may disagree by 50 us at each migration; the first offset of a CPU may be wrong by a millisecond until it is \
     measured again";

/// The clocks may drift apart by one part in this many: NTP corrects `CLOCK_MONOTONIC` by at most 500 ppm, and not the scheduler's clock.
const DRIFT: u64 = 2_000;

/// At most one wait per this many switches may lack an event; with more, the comparison would say too little.
const UNOBSERVED_PER_SWITCHES: u64 = 100;

/// Compares the waits of `threads`, each given with the growth of its run delay. `accounts` says why no thread has an account.
pub(super) fn compare<'a>(
    source: &str,
    quantity: &str,
    threads: impl Iterator<Item = (&'a Thread, u64)>,
    accounts: &Result<(), String>,
) -> (Vec<Residual>, Waits) {
    let (mut wait_ns, mut delay_ns, mut switches, mut migrations, mut compared, mut differing) = (0, 0, 0, 0, 0, 0);
    let mut sum = WaitAccount::default();
    for (thread, grown_ns) in threads {
        let thread_wait_ns = thread.record.wait_ns();
        wait_ns += thread_wait_ns;
        delay_ns += grown_ns;
        switches += thread.record.switches();
        let Some(account) = thread.wait_account else { continue };
        compared += 1;
        migrations += thread.record.migrations.iter().sum::<u64>();
        differing += u64::from(account.as_run_delay(thread_wait_ns) != grown_ns.cast_signed());
        sum.add(&account);
    }
    let signed = |ns: i64| ns as f64 / 1e9;
    let waits = Waits {
        threads: compared,
        threads_differing: differing,
        before_queued_seconds: signed(sum.before_queued_ns),
        out_of_runs_seconds: signed(sum.left_out_of_runs_ns),
        between_queues_seconds: signed(sum.between_queues_ns),
        uncounted_seconds: seconds(sum.uncounted_ns),
        counted_sleep_seconds: seconds(sum.counted_sleep_ns),
        clock_seconds: signed(sum.converted_ns),
        unobserved: sum.unobserved_waits,
    };
    let kernel = seconds(delay_ns);
    let not_compared = |why: &str| Residual::new(source, quantity, seconds(wait_ns), kernel, Bounds::NONE).because(why);
    let residuals = match accounts {
        Err(why) => vec![not_compared(why)],
        Ok(()) if delay_ns == 0 => vec![not_compared("this kernel keeps none: CONFIG_SCHED_INFO is off")],
        Ok(()) if waits.unobserved * UNOBSERVED_PER_SWITCHES > switches.max(UNOBSERVED_PER_SWITCHES) => {
            vec![not_compared(&format!("of {} waits before {switches} switches an event was missed", waits.unobserved))]
        }
        Ok(()) => {
            let ours_ns = sum.as_run_delay(wait_ns);
            let ours = Residual::new(source, quantity, signed(ours_ns), kernel, Bounds::EQUAL).because(waits.reason());
            let by_clock = quantity.replace("run_delay", "run_delay_by_our_clock");
            let allowed = Bounds::within(seconds(delay_ns / DRIFT + migrations * CLOCK_ERROR_NS + OFFSET_ERROR_NS));
            vec![ours, Residual::new(source, &by_clock, signed(ours_ns + sum.converted_ns), kernel, allowed).because(CLOCK)]
        }
    };
    (residuals, waits)
}
