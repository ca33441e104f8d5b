//! The tolerances of gates and rules: how much may disturb a machine, and where one verdict ends and the next begins.

macro_rules! tolerances {
    ($($(#[$doc:meta])+ $name:ident = $value:literal;)+) => {
        $($(#[$doc])+ pub(crate) const $name: f64 = $value;)+

        /// All tolerances by name, so that the rules can be put into words.
        pub const TOLERANCES: &[(&str, f64)] = &[$((stringify!($name), $name)),+];
    };
}

tolerances! {
    /// Part of the CPUs that native threads, one per CPU, must get before anything is said about speed.
    CALIBRATION_MIN = 0.92;
    /// Part of the CPUs that other programs may take while speed is measured.
    FOREIGN_MAX_SPEED = 0.05;
    /// The same where time goes into waiting.
    FOREIGN_MAX_WAITING = 0.3;
    /// The same for demand and waits for locks, which load does not change; above it too little of the cell itself is left.
    FOREIGN_MAX_DEMAND = 0.97;
    /// Part of the CPU time that a hypervisor may give to others.
    STEAL_MAX = 0.01;
    /// One cost is clearly larger than another if it is this many times as large.
    CLEARLY_MORE = 2.0;
    /// A model that is at most this many times as fast as serial is no faster; the rest is noise and luck.
    NO_FASTER = 1.15;
    /// A model is parallel if it gains this part of the ideal, which is the number of workers or of CPUs, whichever is less.
    PARALLEL = 0.7;
    /// A parallel model wants at least this part of its workers to run at any time.
    WANTS_ALL = 0.9;
    /// The workers of a parallel model wait for a GIL for at most this part of their time.
    GIL_FREE = 0.1;
    /// Threads that take turns must wait for (N - 1) / N of their time. If they wait for the GIL for this part
    /// of that, it binds them.
    GIL_BOUND = 0.5;
    /// C of threads of which one runs at a time. Above 1, as a waiter that wakes up to ask for the lock does run for a moment.
    ONE_RUNS = 1.05;
    /// Threads run at the same time if their C is at least this.
    SEVERAL_RUN = 1.3;
    /// Waiting overlaps if this part of the workers does.
    OVERLAPPING = 0.8;
    /// Switches are far fewer if there are this many times fewer.
    FAR_FEWER = 5.0;
    /// Forced hand-offs, per second of CPU time, that no program makes by accident.
    FORCED_PER_SECOND = 5.0;
    /// The interval sets the hand-offs if there are this many times as many at 0.5 ms as at 50 ms; 100 would be exact.
    FOLLOWS_INTERVAL = 15.0;
    /// The GIL matters to a thread that waits for it for this part of the time that it runs or waits for it.
    MATTERS = 0.5;
    /// It does not matter to one that waits for at most this part.
    DOES_NOT_MATTER = 0.05;
    /// A thread is held up if it answers this many times as often without the other, on a machine fit to measure speed.
    HELD_UP = 2.0;
    /// Workers wait clearly more for a CPU if they wait this many times as long.
    WAITS_MORE = 3.0;
    /// More workers than CPUs are of no use if the throughput grows at most this many times.
    NO_GAIN = 1.1;
    /// A loop stays responsive by comparison if its delay is this many times shorter.
    MORE_RESPONSIVE = 5.0;
    /// A loop is responsive if its delay is at most this.
    RESPONSIVE_SECONDS = 0.01;
}
