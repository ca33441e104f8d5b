//! Every number that a verdict turns on, with its reason. A share is of the whole that its name or comment says.
//!
//! Each use of one is held from both sides, by a program that reaches it and one that just does not: in `report/golden/answers.txt`, or in
//! `tests/moments.rs` where only moments tell.

/// More than half of a life: what a thread does for so long is what it is there for.
pub(super) const MOSTLY: f64 = 0.5;

/// A thread is a worker if it wants a CPU for at least this share of what the thread that wants one most does.
pub(super) const WORKER_SHARE: f64 = 0.1;
/// Share of the window that is a short life.
pub(super) const SHORT_LIVED: f64 = 0.1;
/// What all short-lived threads together want of a CPU, as a share of the window, from which on they do the work.
pub(super) const SHORT_LIVED_WORK: f64 = 0.25;
/// Demand, in cores, below which a program mostly waits: then those that wait for something outside do its work.
pub(super) const HALF_A_CORE: f64 = 0.5;
/// Share of the window below which a wait outside is a pause and not what a thread is there for.
pub(super) const LONG_WAIT: f64 = 0.2;
/// Share of the waits of the one that waits most often below which a waiting thread only looks on: a supervisor, a heartbeat.
pub(super) const ONLOOKER_SHARE: f64 = 0.1;
/// Share of all on-CPU time that the workers must have to stand for the program.
pub(super) const ENOUGH_OF_THE_WORK: f64 = 0.8;

/// An event loop waits in epoll this often a second; below, nothing is going on.
pub(super) const LOOP_WAITS_PER_SECOND: f64 = 5.0;
/// Or so often at all, while it wants a CPU for this share of its life: a loop that is busy seldom waits.
pub(super) const LOOP_WAITS: u64 = 10;
pub(super) const LOOP_BUSY: f64 = 0.1;
/// Share of the time blocked that is spent in polls, where most of the waits are not: who loads a large program first waits hundreds of
/// times for the disk.
pub(super) const LOOP_POLLING: f64 = 0.8;

/// C below which a program is idle, if D and its switches say so too.
pub(super) const IDLE_RUNNING: f64 = 0.05;
/// D below which it is: on a crowded host a program that hardly runs may want to all the time.
pub(super) const IDLE_DEMAND: f64 = 0.2;
/// Voluntary switches a second that are work, however short: a program that waits for others all the time.
pub(super) const ACTIVE_SWITCHES_PER_SECOND: f64 = 20.0;
/// Mean number of workers alive below which they came one after another.
pub(super) const ONE_AFTER_ANOTHER: f64 = 1.2;

/// GIL share from which on the lock is what binds.
pub(super) const GIL_BOUND: f64 = 0.25;
/// GIL share below which it may as well be something else that binds.
pub(super) const GIL_CLEAR: f64 = 0.4;
/// GIL share that is worth a word. The same of the workers' lives, below which the lock does not bind: where threads hardly run, a few
/// microseconds at the lock are a large share of next to nothing.
pub(super) const GIL_NOTABLE: f64 = 0.05;
/// Share of the time on a CPU or blocked (but for the GIL) that is blocked, from which on workers wait rather than compute.
pub(super) const WAITS_MOSTLY: f64 = 0.7;

/// C up to which no more than one thread runs at a time.
pub(super) const ONE_AT_A_TIME: f64 = 1.1;
/// Share of the workers' lives spent at locks from which on they may be taking turns.
pub(super) const TURNS_AT_LOCKS: f64 = 0.25;
/// Demand per worker below which they take turns. Woken waiters queue behind the one that holds the lock for moments: measured at 0.3;
/// parallel workers want nearly all of it.
pub(super) const TURNS_DEMAND: f64 = 0.6;
/// The same for two workers, of which one in the queue is more.
pub(super) const TURNS_DEMAND_OF_TWO: f64 = 1.5;

/// Share of the cores that counts as all of them: short gaps are the price of any switch.
pub(super) const SATURATED: f64 = 0.85;
/// Share of the demand that has to wait for a CPU before it is worth saying; likewise of a life that is blocked.
pub(super) const NOTABLE_WAIT: f64 = 0.1;
/// Share of its life that a program may wait for a CPU before more cores could make a difference.
pub(super) const HARDLY_WAITS: f64 = 0.02;
/// Share of the first reason to block from which on the second is told too.
pub(super) const SECOND_REASON: f64 = 0.5;
/// Share of the cores that must be idle before it is a riddle that a thread waits for one.
pub(super) const IDLE_CORES: f64 = 0.15;

/// Cores that others must have to be mentioned.
pub(super) const HOST_NOTABLE: f64 = 0.1;

/// What the start and the end of a process cost where nobody measured it: a fork of a small interpreter.
pub(crate) const START_NS_PER_PROCESS: u64 = 5_000_000;

/// Share of the wall time that a Python takes before it has other threads, from which on a process for each could take as long to begin.
pub(super) const IMPORTS_NOTABLY: f64 = 0.07;

/// What other programs must cost, beside what the program costs itself, before they are named: that it can mend itself.
pub(super) const OTHERS_FIRST: f64 = 1.25;
/// Share of the wall time that the end of an obstacle must save before it is called one.
pub(super) const WORTH_SAYING: f64 = 0.1;

/// Processes started in a second, and in all, from which on starting them is much of the work: on one core, none lives for more than ten
/// milliseconds.
pub(super) const MANY_STARTS: f64 = 100.0;
/// Yields a second that are a way to wait: a thread that works between them yields less often.
pub(super) const MANY_YIELDS: f64 = 1000.0;
/// Share of the on-CPU time of those that yield from which on it matters.
pub(super) const SPINS_NOTABLY: f64 = 0.25;
/// Waits, or wake-ups, a second from which on they are what a program does.
pub(super) const MANY_WAKEUPS: f64 = 500.0;
/// The same of one thread.
pub(super) const OFTEN: f64 = 200.0;
/// Waits a second of a thread that waits for another again and again; one that waits for its end waits once.
pub(super) const FEW_WAITS: f64 = 3.0;
/// The same in all: a process that begins, waits once and ends has waited three times at most.
pub(super) const WAITS_AGAIN: u64 = 4;
/// On-CPU nanoseconds from one wait to the next below which waking and switching cost as much as the work.
pub(super) const TINY_TASKS: u64 = 100_000;
/// The same of one that looks whether there is anything to do, in a slow language.
pub(super) const TINY_LOOK: u64 = 250_000;
/// Share of the on-CPU time of a process that hands out work from which on the handing out is much of the work.
pub(super) const HUB: f64 = 0.3;
/// CPUs that polling takes, all together, from which on it costs something.
pub(super) const POLLS_NOTABLY: f64 = 0.05;
/// Share of the window that an event loop waits outside of its poll before it is blocked: each wait holds up all that is in it.
pub(super) const BLOCKED_LOOP: f64 = 0.2;
/// Share of the window that one thread runs alone while others wait for it before it is what they wait for.
pub(super) const BOTTLENECK: f64 = 0.2;
/// Share of a moment's demand that one thread has when it runs alone, and of the moment that those have which wait for it.
pub(super) const ALONE: f64 = 0.6;
/// Share of all time in which some thread ran alone that is the same one's, if it is the one that all wait for.
pub(super) const IT_ALONE: f64 = 0.66;
/// A program that is on a CPU for less than one part in so many stands still.
pub(super) const STANDSTILL: u64 = 1000;
/// Shortest time that is a standstill: nothing waits for a clock, and nobody computes.
pub(super) const STANDSTILL_NS: u64 = 300_000_000;
/// Share of the window that a standstill must last.
pub(super) const STANDS_STILL: f64 = 0.25;

/// Share of the wall time below which a prediction saves nothing at all.
pub(super) const SAVES_NOTHING: f64 = 0.01;
/// Share of the wall time that dividing the work must save where threads want all cores as it is.
pub(super) const WORTH_DIVIDING: f64 = 0.2;
/// How far a prediction is off where nothing is unknown: caches, the kernel's own balancing, and CPUs that compute beside each other and so
/// share a core, its clock or memory. `docs/verdicts.md` has the measurements: nine in ten of the cures that only let the threads run
/// that are there took 0.92 to 1.12 times the prediction; those that give the work to new processes 0.93 to 1.25 times, as each has a
/// start, memory and caches of its own. The tracer slows the run that is predicted from, not the cure.
pub(super) const LEAST: f64 = 0.92;
pub(super) const MOST: f64 = 1.12;
pub(super) const MOST_DIVIDED: f64 = 1.2;
/// The most that a wait for a lock costs the CPUs: going to sleep, waking another CPU, cold caches. Threads that wrote a line, read a row or
/// a message, or called a short function each time that they had the GIL took 12, 15, 22 and 30 us of CPU time more for each wait than
/// processes that did the same.
pub(super) const HAND_OVER_NS: f64 = 30_000.0;
/// The least that it may cost: below the 12 us that were measured, for hosts that wake a CPU sooner.
pub(super) const HAND_OVER_AT_LEAST_NS: f64 = 5_000.0;
/// What a wait for the GIL beside other programs may cost without them. Threads that wrote lines or read rows waited six times as often on
/// CPUs of their own, and took 9 us longer for each.
pub(super) const CONVOY_NS: f64 = 50_000.0;
/// Share of what threads computed that is work in any case, however often they waited.
pub(super) const AT_LEAST_WORK: f64 = 0.33;
/// Of what threads do in the kernel in turn, the least that each does for itself. Threads that changed the protection of pages took ten times
/// the CPU time of processes that did, where telling the other CPUs of it takes long.
pub(super) const ALONE_IN_THE_KERNEL: f64 = 0.2;
/// Length of the moments in which who waits for its turn, or for the next period, gets some of it: twice the usual period of a quota.
pub(super) const COARSE_NS: u64 = 200_000_000;

/// Page faults for each page that a program has at most, in each of its processes, from which on it uses memory that it had given back.
pub(super) const PAGES_ANEW: u64 = 4;
/// Of the time in the kernel of who faults pages in, what goes with the faults at least.
pub(super) const FAULTS_AT_LEAST: f64 = 0.9;
/// What caches save at most of the time that computes in memory which is kept. Measured with three programs: 0, 35 and 48 %.
pub(super) const CACHED: f64 = 0.5;
/// Part of the CPU time in the kernel that is worth a word.
pub(super) const IN_KERNEL: f64 = 0.5;
