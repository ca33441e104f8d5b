//! schedscope: how a program's concurrency model maps onto the hardware cores, by the kernel's own evidence.
//!
//! The data goes one way: [`capture`] reads what the kernel recorded, [`diagnose`] and [`verify`] judge it, [`report`], [`metrics`] and
//! [`serve`] show it. No stage names a later one. The [`lab`] runs all of them as a process and reads the
//! report; [`top`] draws what the daemon tells. See `docs/architecture.md`.

pub mod values;

pub mod capture;
pub(crate) mod files;
pub(crate) mod units;
pub(crate) mod untrusted;

pub mod diagnose;
pub mod verify;

pub mod config;
pub mod label;

pub mod metrics;
pub mod report;
pub(crate) mod serve;

pub mod http;
pub mod lab;
pub mod top;

#[cfg(any(test, fuzzing))]
pub mod fuzz;

pub mod args;
pub mod commands;
