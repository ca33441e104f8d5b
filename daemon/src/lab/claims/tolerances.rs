//! The tolerances of the gates and rules: what a machine may be disturbed by, and where one verdict ends and the next begins.

macro_rules! tolerances {
    ($($(#[$doc:meta])+ $name:ident = $value:literal;)+) => {
        $($(#[$doc])+ pub(super) const $name: f64 = $value;)+

        /// All of them by name, for whoever puts the rules into words.
        pub const TOLERANCES: &[(&str, f64)] = &[$((stringify!($name), $name)),+];
    };
}

tolerances! {
    /// Part of the CPUs that they must get before anything is said about speed.
    CALIBRATION_MIN = 0.92;
    /// Part of the CPUs that other programs may take while speed is measured.
    FOREIGN_MAX_SPEED = 0.05;
    /// The same where time goes into waiting.
    FOREIGN_MAX_WAITING = 0.3;
    /// The same for demand and waits for locks, which others' load does not change; above it too little of the cell itself is left.
    FOREIGN_MAX_DEMAND = 0.97;
    /// Part of the CPU time that a hypervisor may give to others.
    STEAL_MAX = 0.01;
    /// Quotient of two costs from which on they differ for good.
    CLEARLY_MORE = 2.0;
    /// Up to this a model is no faster than serial; the rest is noise and luck.
    NO_FASTER = 1.15;
    /// Part of the ideal gain, which is the number of workers or of CPUs, whichever is less, from which on a model counts as parallel.
    PARALLEL = 0.7;
    /// Part of its workers that a parallel model wants to run at any time.
    WANTS_ALL = 0.9;
    /// Most of the time that workers of a parallel model may wait for a GIL.
    GIL_FREE = 0.1;
    /// Of what threads that take turns must wait by arithmetic, (N - 1) / N, the part from which on the GIL is what they wait for.
    GIL_BOUND = 0.5;
    /// C of threads of which one runs at a time. Above 1, as a waiter that wakes up to ask for the lock does run for a moment.
    ONE_RUNS = 1.05;
    /// C from which on threads do run at the same time.
    SEVERAL_RUN = 1.3;
    /// Part of the workers that must overlap for waiting to count as overlapping.
    OVERLAPPING = 0.8;
    /// Quotient of switches from which on they are far fewer.
    FAR_FEWER = 5.0;
    /// Forced hand-offs, per second of CPU time, that no program makes by accident.
    FORCED_PER_SECOND = 5.0;
    /// Quotient of the hand-offs at 0.5 ms and at 50 ms from which on it is the interval that sets them; 100 would be exact.
    FOLLOWS_INTERVAL = 15.0;
    /// Of the time that the answering thread runs or waits for the GIL, the part spent waiting from which on the GIL matters to it.
    MATTERS = 0.5;
    /// The same up to which it does not.
    DOES_NOT_MATTER = 0.05;
    /// Quotient of answers a second from which on one is held up; where the machine is fit to measure speed.
    HELD_UP = 2.0;
    /// Growth of the wait for a CPU from which on it is worse for good.
    WAITS_MORE = 3.0;
    /// Gain in throughput up to which more workers than CPUs are of no use.
    NO_GAIN = 1.1;
    /// Quotient of delays from which on a loop stays responsive by comparison.
    MORE_RESPONSIVE = 5.0;
    /// Delay up to which a loop is responsive.
    RESPONSIVE_SECONDS = 0.01;
}
