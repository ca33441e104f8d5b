//! `cargo xtask bench`: what tracing costs in the worst case, beside a tool that does a part of it.
//!
//! The load is `perf bench sched pipe` on one CPU: two processes that do nothing but switch. The speed of a machine changes within a
//! minute, so only ratios are judged, of figures measured in turns: a program's cost against an empty one's on the same hook in the
//! same run, ours against runqlat's, a traced run against the untraced ones beside it.

mod cost;
mod daemon_cost;
mod load;
mod quartiles;
mod report;

use anyhow::Result;
use load::Load;

use crate::workspace::{self, build_release, require_root};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Repeats of every measurement; the median is reported.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=99))]
    repeats: u32,
    /// Round trips in one run of the load.
    #[arg(long, default_value_t = 400_000)]
    round_trips: u32,
    /// Only print the page; leave docs/overhead.md alone.
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    require_root("bench")?;
    load::require()?;
    let binary = build_release()?.join("schedscope");
    let (repeats, pipe) = (arguments.repeats, Load::pipe(arguments.round_trips));
    let pairs = repeats * 2 - 1;

    eprintln!("cost per event, and runqlat's: {repeats} runs of each, in turns");
    let (events, rival) = cost::beside_runqlat(repeats, &pipe)?;
    eprintln!("the same load with and without blocked reasons");
    let reasons = cost::reasons(repeats, &pipe)?;
    eprintln!("slowdown: {pairs} interleaved pairs");
    let slowdown = load::slowdown(&binary, pairs, &pipe)?;
    eprintln!("the daemon under load");
    let daemon = daemon_cost::measure(&binary)?;

    let text = report::markdown(&report::Measured { events, rival, reasons, slowdown, daemon, repeats, pipe: &pipe });
    println!("{text}");
    if !arguments.dry_run {
        workspace::write("docs/overhead.md", text)?;
    }
    Ok(())
}
