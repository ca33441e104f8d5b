//! The daemon's web server. It knows nothing of tracing: it asks the daemon's loop through a [`LoopHandle`] and waits.
//!
//! Everything is bounded: the number of connections, the time for each, one request per connection. The loop answers one request
//! at a time, and scrapes in quick succession share a reading. The server has a thread of its own, so encryption does not delay
//! the loop.

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
mod tests;
