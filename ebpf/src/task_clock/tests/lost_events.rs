//! Lives of which some events are not seen, compared with the truth: a thread that the test schedules itself, a kernel that accounts
//! for it, and an observer that asks the ledger as the hooks do.

use proptest::prelude::*;

use super::*;

/// From one switch-in to the next.
#[derive(Clone, Copy, Debug)]
struct Round {
    run_ns: u64,
    departure: Departure,
    asleep_ns: u64,
    queued_ns: u64,
    /// The waker's clock minus that of the CPU that the thread left.
    waker_error_ns: i64,
    out_seen: bool,
    waking_seen: bool,
    in_seen: bool,
}

fn round(lossy: bool) -> impl Strategy<Value = Round> {
    let seen = move || if lossy { prop::bool::weighted(0.7).boxed() } else { Just(true).boxed() };
    let departure = prop_oneof![3 => Just(Departure::Blocked), 1 => Just(Departure::Preempted), 1 => Just(Departure::Yielded)];
    let length = || prop_oneof![3 => 1_u64..5_000, 1 => 200_000_u64..3_000_000];
    (length(), departure, length(), length(), -40_000_i64..40_000, (seen(), seen(), seen())).prop_map(
        |(run_ns, departure, asleep_ns, queued_ns, waker_error_ns, (out_seen, waking_seen, in_seen))| {
            let asleep_ns = if departure == Departure::Blocked { asleep_ns } else { 0 };
            Round { run_ns, departure, asleep_ns, queued_ns, waker_error_ns, out_seen, waking_seen, in_seen }
        },
    )
}

/// What the kernel keeps about the thread, and what it really did.
#[derive(Debug, Default)]
#[expect(clippy::struct_field_names, reason = "units are in the names")]
struct Kernel {
    now_ns: u64,
    runtime_ns: u64,
    run_delay_ns: u64,
    asleep_ns: u64,
}

/// What the hooks keep about the thread.
#[derive(Default)]
struct Observer {
    clock: TaskClock,
    runtime_at_departure_ns: u64,
    on_cpu_ns: u64,
    wait_ns: u64,
    blocked_ns: u64,
    losses: Vec<Loss>,
}

impl Observer {
    fn charge(&mut self, closed: Closed) {
        self.on_cpu_ns += closed.on_cpu_ns;
        self.wait_ns += (closed.wakeup_wait_ns + closed.preempt_wait_ns).checked_add_signed(closed.correction_ns).unwrap();
        self.blocked_ns += closed.blocked_ns;
        self.losses.extend(closed.loss);
    }

    fn switch_in(&mut self, kernel: &Kernel, queued_ns: u64) {
        let closed = self.clock.switch_in(kernel.now_ns, 0, Some(queued_ns));
        self.charge(closed);
    }

    fn switch_out(&mut self, kernel: &Kernel, departure: Departure) {
        let growth = KernelGrowth {
            runtime_ns: kernel.runtime_ns - self.runtime_at_departure_ns,
            run_delay_ns: Some(kernel.run_delay_ns.saturating_sub(self.wait_ns)),
        };
        self.runtime_at_departure_ns = kernel.runtime_ns;
        let closed = self.clock.switch_out(kernel.now_ns, departure, growth);
        self.charge(closed);
    }

    /// Everything so far, including what is carried to the next wait.
    fn life_ns(&self) -> u64 {
        (self.on_cpu_ns + self.wait_ns + self.blocked_ns).checked_add_signed(self.clock.carry_ns).unwrap()
    }
}

const FORKED_NS: u64 = 1_000_000_000;

/// Schedules a thread from its fork to its last switch, which is seen. Returns the truth and what was made of it.
fn live(rounds: &[Round]) -> (Kernel, Observer) {
    let mut kernel = Kernel { now_ns: FORKED_NS, ..Kernel::default() };
    let mut observer = Observer { clock: TaskClock::starting(Phase::New, FORKED_NS), ..Observer::default() };
    observer.switch_in(&kernel, 0);
    for round in rounds {
        kernel.now_ns += round.run_ns;
        kernel.runtime_ns += round.run_ns;
        if round.out_seen {
            observer.switch_out(&kernel, round.departure);
        }
        kernel.now_ns += round.asleep_ns;
        kernel.asleep_ns += round.asleep_ns;
        if round.departure == Departure::Blocked && round.waking_seen {
            observer.clock.waking(kernel.now_ns.saturating_add_signed(round.waker_error_ns));
        }
        kernel.now_ns += round.queued_ns;
        kernel.run_delay_ns += round.queued_ns;
        if round.in_seen {
            observer.switch_in(&kernel, round.queued_ns);
        }
        assert_eq!(observer.life_ns(), observer.clock.since_ns - FORKED_NS);
    }
    observer.switch_out(&kernel, Departure::Dead);
    (kernel, observer)
}

proptest! {
    /// However many events are missed, on-CPU time is the kernel's, nothing is charged twice, and the sum is the life.
    #[test]
    fn a_life_sums_up_whatever_was_missed(rounds in prop::collection::vec(round(true), 0..30)) {
        let (kernel, observer) = live(&rounds);
        prop_assert_eq!(observer.on_cpu_ns, kernel.runtime_ns);
        prop_assert_eq!(observer.life_ns(), kernel.now_ns - FORKED_NS);
    }

    /// A switch counts a loss if it shows that the one before it was missed, and no other switch does.
    #[test]
    fn a_missed_switch_is_counted_when_the_next_one_shows_it(rounds in prop::collection::vec(round(true), 0..30)) {
        let (_, observer) = live(&rounds);
        let seen = rounds.iter().flat_map(|round| [(round.out_seen, 'o'), (round.in_seen, 'i')]).filter(|(seen, _)| *seen);
        let switches: Vec<char> = ['i'].into_iter().chain(seen.map(|(_, switch)| switch)).chain(['o']).collect();
        let shown = switches.windows(2).filter_map(|pair| match pair {
            ['i', 'i'] => Some(Loss::SwitchOutUnseen),
            ['o', 'o'] => Some(Loss::SwitchInUnseen),
            _ => None,
        });
        prop_assert_eq!(&observer.losses, &shown.collect::<Vec<_>>());
    }

    /// A waking on a CPU whose clock is off moves time between blocked and waiting by the error, once per wait; one
    /// that was not seen at all is found by the kernel's accounting.
    #[test]
    fn time_blocked_is_right_but_for_the_clocks(mut rounds in prop::collection::vec(round(true), 0..30)) {
        for round in &mut rounds {
            (round.out_seen, round.in_seen) = (true, true);
        }
        let (kernel, observer) = live(&rounds);
        let error_ns: u64 = rounds
            .iter()
            .filter(|round| round.departure == Departure::Blocked)
            .map(|round| if round.waking_seen { round.waker_error_ns.unsigned_abs() } else { 0 })
            .sum();
        prop_assert!(observer.blocked_ns.abs_diff(kernel.asleep_ns) <= error_ns, "{} of {kernel:?}", observer.blocked_ns);
        prop_assert!(observer.wait_ns.abs_diff(kernel.run_delay_ns) <= error_ns, "{} of {kernel:?}", observer.wait_ns);
        prop_assert_eq!(observer.losses, []);
    }

    /// With every event seen and one clock, the ledger is the truth.
    #[test]
    fn a_life_that_is_seen_is_known_to_the_nanosecond(mut rounds in prop::collection::vec(round(false), 0..30)) {
        for round in &mut rounds {
            round.waker_error_ns = 0;
        }
        let (kernel, observer) = live(&rounds);
        let truth = (kernel.runtime_ns, kernel.run_delay_ns, kernel.asleep_ns);
        prop_assert_eq!((observer.on_cpu_ns, observer.wait_ns, observer.blocked_ns), truth);
    }
}
