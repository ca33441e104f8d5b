//! What is resolved of an interpreter from outside against what it says of itself, and against the addresses on which its threads
//! really wait.
//!
//! Interpreters are looked for on `PATH`, in `/usr/bin` and where pyenv puts them; `SCHEDSCOPE_PYTHONS` names further ones, separated
//! by colons.
//!
//! - [`interpreters`]: what there is, and running it.
//! - [`waits`]: the addresses on which threads wait, as the kernel shows them.
//! - [`gil`]: waits for a GIL are inside the ranges that were resolved, others are not.
//! - [`hostile`]: processes that are made to cost much.
//! - [`builds`]: static, stripped, removed, hidden, embedded.

pub(crate) mod hostile;
pub(crate) mod interpreters;
mod waits;

mod builds;
mod gil;
