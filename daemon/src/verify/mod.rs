//! Whether our figures agree with the kernel's: what is compared with what, how far the two may differ and why, and one verdict.
//!
//! | module | what it compares |
//! |---|---|
//! | [`task_struct`] | every thread that ended with what the kernel kept about it |
//! | [`run_delay`] | its waits with the kernel's `run_delay`, part by part |
//! | [`wait4`] | the tree with the resource usage that a wait for it returns |
//! | [`proc`] | threads at rest with `/proc/PID/task/TID/` |
//! | [`host`] | all switches of the host with `/proc/stat` and with perf's counters of every CPU |
//! | [`comparison`] | one figure, the interval in which it must lie, and whether it does |
//! | [`verdict`] | all comparisons of a run and the verdict on them |
//!
//! `schedscope run` and `check`, the daemon, `cargo xtask accuracy` and `cargo xtask vm` show this verdict and have none of their own.
//!
//! A bound is never a tolerance: it is what the two are known to count differently, measured in the same run. A kernel counter whose
//! difference cannot be explained is left out. perf's counters of a process tree are left out: on 8 CPUs they lack some of the switches
//! and migrations that `task_struct` and `wait4` agree on, and its task clock stands still in parts of the scheduler.

pub mod affinity;
pub mod comparison;
pub mod host;
pub mod proc;
pub mod run_delay;
pub mod task_struct;
pub mod verdict;
pub mod wait4;

pub use comparison::{Bounds, Residual, Verdict};
pub use task_struct::UnseenByOthers;
pub use verdict::Check;

#[cfg(test)]
mod tests;
