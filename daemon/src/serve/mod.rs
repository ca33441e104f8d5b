//! The daemon's web server. It knows nothing of tracing: it asks the daemon's loop through a [`LoopHandle`] and waits.
//!
//! Everything is bounded: the number of connections, the time for each, one request per connection. When all places are taken the slowest
//! client makes room. The loop answers one request
//! at a time, and scrapes in quick succession share a reading. The server has a thread of its own, so encryption does not delay
//! the loop.

mod clients;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub(crate) mod handle;
pub(crate) mod history;
mod host;
pub(crate) mod listen;
mod page;
mod routes;
pub(crate) mod server;
pub(crate) mod web;

pub(crate) use handle::{LoopHandle, Request};
pub(crate) use listen::listen;
pub(crate) use server::Server;

#[cfg(test)]
mod tests;
