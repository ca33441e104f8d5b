//! Tests that load BPF programs.
//!
//! - [`host`], [`traced`], [`exact`]: what this host has, a traced run, and what must hold in every report.
//! - [`truth`]: workloads whose tasks, switches and migrations are known beforehand.
//! - [`oracle`]: the same figures from other parts of the kernel: resource usage, perf events, `/proc`.
//! - [`models`]: C and D of the concurrency models. [`gil`]: waits for the interpreter's lock.
//! - [`cli`], [`signals`]: what the user sees when things go wrong, and what stays in the kernel: nothing.
//! - [`daemon`]: the daemon over HTTP, also with encryption and a password to a real Prometheus; [`page`]: its page in a browser.
//! - [`chosen`]: processes that are traced by what they are called.
//! - [`allowance`]: what the kernel lets a program use: masks and quotas. [`lost`]: where the cores of the daemon's workloads went.
//! - [`top`]: the daemon's figures on a terminal, and the terminal afterwards.
//! - [`clients`]: clients of the daemon that mean no good.
//! - [`reader`]: the process that reads others for the daemon, killed, stopped and frozen.
//! - [`scripts`]: interpreters under the names of what they run.
//! - [`soak`]: everything at once, for minutes or hours.
//! - [`machine`]: what only a machine of its own allows.

mod accounts;
mod attached;
mod browser;
mod exact;
pub(crate) mod host;
mod served;
mod traced;

mod allowance;
mod chosen;
mod cli;
mod clients;
mod crowds;
mod daemon;
mod degraded;
mod gil;
mod lost;
mod machine;
mod models;
mod names;
mod oracle;
mod outages;
mod owners;
mod page;
mod perf;
mod policies;
mod reader;
mod scripts;
mod seeded;
mod signals;
mod soak;
mod top;
mod truth;
