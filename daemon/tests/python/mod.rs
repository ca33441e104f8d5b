//! - [`interpreters`]: what there is, and running it.
//! - [`waits`]: the addresses on which threads wait, as the kernel shows them.
//! - [`gil`]: waits for a GIL are inside the ranges that were resolved, others are not.
//! - [`builds`]: static, stripped, removed, hidden, embedded.

mod interpreters;
mod waits;

mod builds;
mod gil;
