//! Runs the real `schedscope` on the running kernel and holds what it reports against what is known otherwise.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a failed call is a failed test")]

mod kernel;
