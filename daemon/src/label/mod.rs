//! Which workload a process belongs to.
//!
//! A process gets a name from the first rule of the configuration that matches it; without one from its systemd unit or its
//! container; else from its executable. Kernel threads are `kernel`. Threads follow their process.
//!
//! A name has series of its own once it has a number in [`LabelTable`]. Names from rules have one from the start. Any other
//! name gets one when its threads have used enough CPU time, first come first served while numbers are free; until then, and
//! for ever if none is free, it is counted in `other`. A number is never taken away, so counters never go down. What a name
//! used before it got its number stays in `other`.
//!
//! - [`identity`]: who a process is, and what its workload is called.
//! - [`cgroup`]: unit and container from a cgroup path.
//! - [`rules`]: rules of the configuration, compiled; they and the identity give the name.
//! - [`table`]: names to numbers, bounded.
//! - [`scan`]: thread records to names, reading each process as seldom as possible.
//! - [`proc`]: what `/proc` and the kernel say about a process; the only part that does I/O.

pub mod cgroup;
pub mod identity;
pub mod proc;
pub mod rules;
pub mod scan;
pub mod table;

pub use identity::{Identity, NameSource, OTHER};
pub use rules::Rules;
pub use scan::Scanner;
pub use table::LabelTable;
