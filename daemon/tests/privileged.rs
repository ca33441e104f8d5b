//! The real thing on this host. [`kernel`] runs `schedscope` and holds what it reports against what is known otherwise; its tests load
//! BPF programs, and leave themselves out where that is not wanted. [`python`] looks into every CPython that is found.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a failed call is a failed test")]

mod kernel;
mod python;
