//! schedscope: how a program's concurrency model maps onto the hardware cores, by the kernel's own evidence.
//!
//! The way of the data: `kernel` (BPF programs and maps) -> `snapshot` (plain data) -> `aggregate` (totals that never go down)
//! -> `report` or `expose`. See `docs/architecture.md`.

pub mod args;
pub mod commands;

pub mod preflight;
pub mod spawn;
pub mod topology;

pub mod kernel;

pub mod snapshot;

pub mod aggregate;
pub mod session;

pub mod model;
pub mod oracle;
pub mod report;

pub mod interpreters;
pub mod python;

pub mod config;
pub mod label;

pub mod expose;
pub mod history;
pub mod server;
