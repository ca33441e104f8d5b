//! Runs every CPython of this host and holds what is resolved from outside against what it says of itself, and against the
//! addresses on which its threads really wait.
//!
//! Interpreters are looked for on `PATH`, in `/usr/bin` and where pyenv puts them; `SCHEDSCOPE_PYTHONS` names further ones, separated
//! by colons.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a failed call is a failed test")]

mod python;
