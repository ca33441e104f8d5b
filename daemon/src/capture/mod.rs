//! What the kernel recorded, as data: the first stage, which knows nothing of the stages that read it.
//!
//! | module | what it holds |
//! |---|---|
//! | [`kernel`] | BPF programs and maps; the only module that names aya |
//! | [`snapshot`] | everything read at one moment, as plain data |
//! | [`totals`], [`distribution`] | snapshots made into sums that never go down |
//! | [`timeline`], [`history`] | which thread was on which CPU over time, and what each did meanwhile |
//! | [`session`] | one traced workload from its first event to its [`run::Run`] |
//! | [`allowance`] | which CPUs a program may use, and how much of them |
//! | [`own_pipes`] | which threads wait for nobody outside, where all stand still |
//! | [`python`], [`interpreters`] | which processes run CPython, and where it keeps its locks |
//! | [`script`] | which program an interpreter runs, by its arguments |
//! | [`reader`] | the process of its own that looks at strangers' |
//! | [`quiescent`] | whether a thread is off its CPU, so that its counters stand still |
//! | [`family`], [`members`] | which processes descend from which, and which are in a cgroup |
//! | [`spawn`], [`inherited`] | starting a child, and the signals that it must find as we found them |
//! | [`topology`], [`preflight`], [`capabilities`] | the host's CPUs, what the host can do, what we may do |

pub(crate) mod allowance;
pub(crate) mod capabilities;
pub mod distribution;
pub(crate) mod family;
pub(crate) mod history;
pub(crate) mod inherited;
pub mod interpreters;
pub mod kernel;
pub(crate) mod members;
pub(crate) mod own_pipes;
pub(crate) mod page_faults;
pub mod preflight;
pub mod python;
pub mod quiescent;
pub mod reader;
pub mod run;
pub(crate) mod script;
pub mod session;
pub mod snapshot;
pub mod spawn;
pub mod timeline;
pub mod topology;
pub mod totals;
