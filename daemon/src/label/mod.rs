//! Which workload a process belongs to.
//!
//! The first rule of the configuration that matches a process names it; else its container, its systemd unit, the program that it runs as
//! an interpreter, or its executable. Kernel threads are `kernel`. Threads follow their process.
//!
//! A name has series of its own once it has a number in [`table::LabelTable`]. Names from rules have one from the start. Any other
//! name gets one when its threads have used enough CPU time and numbers are free; until then it is counted in `other`. What a name used
//! before it got its number stays in `other`.
//!
//! A name that has been gone for a while loses its number, and so does one that computes much less than another that has none. Its series
//! end, and its threads move to `other`. Only when no thread is counted under the number any more, and no hook can still be about to, are
//! its counters zeroed and the number given out again: under one name, counters never go down.
//!
//! - [`asked`]: processes by what people call them.
//! - [`identity`]: what identifies a process, and what a workload may be called.
//! - [`cgroup`]: unit and container from a cgroup path.
//! - [`containers`]: what the host knows of a container, from files of its runtime.
//! - [`rules`]: the rules of the configuration, and the name that follows from them and the identity.
//! - [`table`]: names to numbers, bounded.
//! - [`scan`]: thread records to names, reading each process as rarely as possible.
//! - [`owners`]: where a process belongs from its exec on, and what the kernel side has counted before it knew.
//! - [`proc`]: what `/proc` and the kernel say about a process. This and [`containers`] are the only parts that do I/O.

pub(crate) mod asked;
pub(crate) mod cgroup;
pub(crate) mod containers;
pub(crate) mod identity;
pub(crate) mod owners;
pub(crate) mod proc;
pub(crate) mod rules;
pub(crate) mod scan;
pub(crate) mod table;

pub use identity::{NameSource, OTHER};
pub(crate) use rules::Rules;
pub(crate) use scan::{Move, Scanner};
