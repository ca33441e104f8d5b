//! The daemon's web server. It knows nothing of tracing: it asks the daemon's loop through a [`LoopHandle`] and waits.
//!
//! Bounded in every direction: connections at once, time per connection, one request per connection, and the loop answers
//! requests one after another from a reading that they may share. It runs on a thread of its own, so that encryption does not
//! delay the loop.

pub mod handle;
pub mod history;
mod host;
pub mod listen;
mod page;
mod routes;
pub mod server;
pub mod web;

pub use handle::{LoopHandle, Request};
pub use listen::{Listener, listen};
pub use server::Server;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
