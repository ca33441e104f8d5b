//! Starting threads, by themselves or so that they wait for each other and go on together.

use std::sync::{OnceLock, mpsc};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, anyhow};

use crate::sys;

/// Enough for what these threads do; thousands with the default of 2 MiB each would need gigabytes of address space.
const STACK_BYTES: usize = 64 << 10;

/// Runs `body` on so many threads. Each calls the function that it is given when it is ready; once all have, `meanwhile` runs, and
/// then all go on. Returns when each was started, and what it returned.
pub(crate) fn together<T: Send>(
    count: usize,
    body: impl Fn(usize, &dyn Fn()) -> T + Sync,
    meanwhile: impl FnOnce() -> Result<()>,
) -> Result<(Vec<u64>, Vec<T>)> {
    let (gate, body) = (&OnceLock::new(), &body);
    let (ready, all_ready) = mpsc::channel();
    thread::scope(|scope| {
        let (mut starts_ns, mut threads) = (Vec::new(), Vec::new());
        for index in 0..count {
            let ready = ready.clone();
            let wait = move || {
                // The receiver outlives the scope, so sending cannot fail.
                let _ = ready.send(());
                gate.wait();
            };
            starts_ns.push(sys::monotonic_ns());
            match thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, move || body(index, &wait)) {
                Ok(handle) => threads.push(handle),
                Err(error) => {
                    gate.get_or_init(|| ());
                    return Err(error).with_context(|| format!("cannot start thread {index}; raise `ulimit -u` or start fewer"));
                }
            }
        }
        // A thread that fails before it is ready drops its sender, so this ends in any case.
        drop(ready);
        all_ready.iter().take(count).for_each(drop);
        let result = meanwhile();
        gate.get_or_init(|| ());
        result?;
        let returned: Result<Vec<T>> = threads.into_iter().map(|thread| joined(thread.join())).collect();
        Ok((starts_ns, returned?))
    })
}

pub(crate) fn spawn<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>> {
    thread::Builder::new().stack_size(STACK_BYTES).spawn(body).context("cannot start a thread; raise `ulimit -u` or start fewer")
}

/// What a thread returned that has been joined.
pub(crate) fn joined<T>(result: thread::Result<T>) -> Result<T> {
    result.map_err(|_| anyhow!("a thread panicked"))
}
