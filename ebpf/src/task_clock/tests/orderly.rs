//! Lives of which every event was seen.

use proptest::prelude::*;

use super::*;

proptest! {
    /// An orderly life, as the kernel lives it: in, out, perhaps woken, in again. Each wait gets its own kind.
    #[test]
    fn an_orderly_life_has_no_loss(steps in prop::collection::vec((0_u8..6, 1_u64..1_000, 1_u64..1_000, 1_u64..1_000), 1..40)) {
        let mut now_ns = 5_000_u64;
        let mut clock = TaskClock::starting(Phase::New, now_ns);
        let (mut on_cpu, mut wakeup, mut preempt, mut blocked) = (0, 10, 0, 0);
        let mut sum = Closed::default();
        let mut add = |closed: Closed| {
            prop_assert_eq!(closed.loss, None);
            // What was measured from beginning to end belongs in a histogram.
            prop_assert!(closed.total_ns() == 0 || closed.observed, "{:?}", closed);
            sum.on_cpu_ns += closed.on_cpu_ns;
            sum.wakeup_wait_ns += closed.wakeup_wait_ns;
            sum.preempt_wait_ns += closed.preempt_wait_ns;
            sum.blocked_ns += closed.blocked_ns;
            Ok(())
        };
        now_ns += 10;
        add(clock.switch_in(now_ns, 0, None))?;
        let mut queued = 0; // What the kernel adds to run_delay between two switch-outs.
        for (kind, run, off, wait) in steps {
            now_ns += run;
            on_cpu += run;
            let growth = KernelGrowth { runtime_ns: run, run_delay_ns: Some(queued) };
            match kind {
                0 => {
                    add(clock.switch_out(now_ns, Departure::Preempted, growth))?;
                    now_ns += wait;
                    (preempt, queued) = (preempt + wait, wait);
                }
                1 => {
                    add(clock.switch_out(now_ns, Departure::Blocked, growth))?;
                    now_ns += off;
                    blocked += off;
                    clock.waking(now_ns);
                    now_ns += wait;
                    (wakeup, queued) = (wakeup + wait, wait);
                    clock.waking(now_ns); // A second waking does not shorten the latency.
                }
                2 => {
                    // The waker stamps its time before the switch-out does.
                    clock.waking(now_ns - 1);
                    add(clock.switch_out(now_ns, Departure::Blocked, growth))?;
                    now_ns += wait;
                    (wakeup, queued) = (wakeup + wait, wait);
                }
                3 => {
                    // A signal was pending, or the waker found it queued still: no waking.
                    add(clock.switch_out(now_ns, Departure::Blocked, growth))?;
                    now_ns += wait;
                    (wakeup, queued) = (wakeup + wait, wait);
                }
                4 => {
                    // Woken while it ran, by itself or another thread: it stays queued, and no wait begins.
                    clock.waking(now_ns - 1);
                    add(clock.switch_out(now_ns, Departure::Yielded, growth))?;
                    now_ns += wait;
                    (preempt, queued) = (preempt + wait, wait);
                }
                _ => {
                    // The waking was not seen.
                    add(clock.switch_out(now_ns, Departure::Blocked, growth))?;
                    now_ns += off + wait;
                    (wakeup, queued) = (wakeup + wait, wait);
                    blocked += off;
                }
            }
            add(clock.switch_in(now_ns, 1, Some(queued)))?;
            prop_assert_eq!((clock.cpu, clock.waking_ns), (1, 0));
        }
        let last = KernelGrowth { runtime_ns: 0, run_delay_ns: Some(queued) };
        add(clock.switch_out(now_ns, Departure::Dead, last))?;
        prop_assert_eq!(sum, Closed { on_cpu_ns: on_cpu, wakeup_wait_ns: wakeup, preempt_wait_ns: preempt, blocked_ns: blocked, ..sum });
    }
}
