//! `cargo xtask bench`: what tracing costs, measured at the worst case, beside a tool that does a part of it.
//!
//! The load is `perf bench sched pipe` on one CPU: two processes that do nothing but switch. Cost per event comes from the
//! kernel's own statistics, less what they count for an empty program on the same hook in the same run; the slow-down is wall
//! time with statistics off, in interleaved pairs.

mod daemon_cost;
mod events;
mod pipe;
mod reasons;
mod report;
mod rival;
mod slowdown;

use anyhow::{Result, bail};

use crate::workspace::{cargo, root, run as run_command, target_dir};

/// What `cargo xtask bench` is told.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Repeats of every measurement; the median is reported.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=99))]
    repeats: u32,
    /// Round trips of one run of the load.
    #[arg(long, default_value_t = 400_000)]
    round_trips: u32,
    /// Print the table only, and leave docs/overhead.md alone.
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    // SAFETY: it only reads the process's own user id.
    if unsafe { libc::geteuid() } != 0 {
        bail!("measuring needs root: run `sudo -E env \"PATH=$PATH\" cargo xtask bench`");
    }
    pipe::require()?;
    run_command(cargo().args(["build", "--release", "--quiet", "-p", "schedscope"]))?;
    let binary = target_dir().join("release/schedscope");
    let repeats = arguments.repeats;

    eprintln!("cost per event and runqlat's, {repeats} runs of each in turns");
    let (events, rival) = side_by_side(repeats, arguments.round_trips)?;
    eprintln!("the same load with and without reasons");
    let reasons = reasons::measure(repeats, arguments.round_trips)?;
    eprintln!("slow-down, {} interleaved pairs", repeats * 2 - 1);
    let slowdown = slowdown::measure(&binary, repeats * 2 - 1, arguments.round_trips)?;
    eprintln!("the daemon under load");
    let daemon = daemon_cost::measure(&binary)?;

    let text = report::markdown(&report::Measured { events, reasons, rival, slowdown, daemon, arguments });
    println!("{text}");
    if !arguments.dry_run {
        std::fs::write(root().join("docs/overhead.md"), text)?;
    }
    Ok(())
}

/// Ours and runqlat's in turns, since the speed of a machine changes within a minute: what is compared was measured in the same one.
fn side_by_side(repeats: u32, round_trips: u32) -> Result<(events::Events, Option<rival::Rival>)> {
    let runqlat = rival::find();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..repeats {
        ours.push(events::measure(round_trips)?);
        if let Some(runqlat) = &runqlat {
            theirs.push(rival::measure(runqlat, round_trips)?);
        }
    }
    let pairs: Vec<_> = ours.iter().zip(theirs).collect();
    Ok((events::Events::of(&ours), rival::Rival::of(&pairs)))
}

/// A median and the middle half of what was measured.
#[derive(Clone, Copy)]
struct Quartiles {
    median: f64,
    low: f64,
    high: f64,
}

impl Quartiles {
    /// Not a number without values.
    fn of(values: &mut [f64]) -> Quartiles {
        values.sort_by(f64::total_cmp);
        let at = |quarters: usize| values.get(quarters * values.len() / 4).copied().unwrap_or(f64::NAN);
        Quartiles { median: at(2), low: at(1), high: at(3) }
    }
}

/// The middle value; of an even number the higher one of the two.
fn median(values: &mut [f64]) -> f64 {
    Quartiles::of(values).median
}
