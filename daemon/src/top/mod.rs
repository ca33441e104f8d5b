//! `schedscope top`: what the daemon's page shows, on a terminal.
//!
//! In reading order: [`source`] asks a daemon, or the daemon's loop in this process; [`wire`] is what it answers; [`history`] keeps the last
//! minutes of it; [`controls`] is what the user has set; [`view`] is what is to be seen; [`draw`] draws it, all of them pure. [`screen`] has
//! the terminal, and [`once`] prints the table where there is none.

mod controls;
mod draw;
mod history;
mod once;
mod palette;
mod screen;
mod source;
mod view;
mod wire;
mod words;

use std::io::{IsTerminal, stdout};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result};
use tokio::sync::oneshot;

use crate::commands::daemon::{TracedHost, event_loop};
use crate::config::Config;
use crate::serve::history::Position;
use source::{Authority, Own, Remote, Source};

/// Arguments of `schedscope top`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct TopArgs {
    /// Daemon to ask, by plain HTTP without a password; it need not be on this host [default: the one that listens where --config or its
    /// default says; if none answers there, this program traces by itself, which needs root]
    #[arg(long, value_name = "URL")]
    connect: Option<Authority>,
    /// Configuration of the daemon: where it listens, and names for workloads if this program traces by itself
    #[arg(long, value_name = "FILE", conflicts_with = "connect")]
    config: Option<PathBuf>,
    /// Print one plain table and end, as is done anyway where standard output is no terminal
    #[arg(long)]
    once: bool,
}

/// Shows what a daemon tells, or what this process traces. `program` is this very program, for the process that reads others.
///
/// # Errors
///
/// If the daemon that was named does not answer, if this host cannot be traced, or if the terminal cannot be used.
pub fn run(args: TopArgs, program: &Path) -> Result<()> {
    let is_once = args.once || !stdout().is_terminal();
    if let Some(authority) = args.connect {
        let remote = Remote::new(authority);
        remote.ask(Position::default())?;
        return show(Box::new(remote), is_once);
    }
    let config = args.config.as_deref().map_or_else(|| Ok(Config::default()), Config::read)?;
    let conventional: Authority = config.listen.to_string().parse().map_err(anyhow::Error::msg)?;
    let remote = Remote::new(conventional);
    match remote.ask(Position::default()) {
        Ok(_) => show(Box::new(remote), is_once),
        Err(nobody) => trace(config, program, is_once)
            .with_context(|| format!("no daemon can be asked ({nobody:#}), and this program cannot trace by itself")),
    }
}

fn show(source: Box<dyn Source>, is_once: bool) -> Result<()> {
    if is_once { once::print(&*source) } else { screen::show(source) }
}

/// Traces as the daemon does, but serves nobody else. The loop has this thread, which is the only one with rights while it begins; what
/// draws names of strangers has none.
fn trace(config: Config, program: &Path, is_once: bool) -> Result<()> {
    // What is missing is said before the terminal is ours, or beside the table.
    let log = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_writer(std::io::stderr).finish();
    // Its cost is no part of what is shown.
    let begin = || TracedHost::start(Config { own_cost: None, ..config }, None, program);
    let host = tracing::subscriber::with_default(log, begin)?;
    let own = Own(host.handle());
    let (seen_enough, end) = oneshot::channel::<()>();
    let shown = thread::Builder::new().name("top".to_owned()).spawn(move || {
        let shown = show(Box::new(own), is_once);
        // Also by a panic.
        drop(seen_enough);
        shown
    })?;
    let followed = event_loop()?.block_on(host.follow(None, async { drop(end.await) }));
    shown.join().unwrap_or_else(|panic| resume_unwind(panic)).and(followed)
}
