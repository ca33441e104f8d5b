//! `cargo xtask accuracy`: how far our figures are from the kernel's, written to `docs/accuracy.md`.
//!
//! This host is measured: `schedscope check`, then workloads whose scheduling is known, under `run --check`. For other
//! kernels, the page takes what `cargo xtask vm` found on them.

mod measure;
mod page;

use anyhow::{Context, Result, bail};

use crate::workspace::{self, read_text, root};

/// The page, from the root.
const PAGE: &str = "docs/accuracy.md";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Measure nothing; fail if the page lacks a workload or a kernel, or has a figure out of bounds.
    #[arg(long)]
    check: bool,
    /// Print the page, and leave docs/accuracy.md alone.
    #[arg(long, conflicts_with = "check")]
    dry_run: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.check {
        return check();
    }
    let host = measure::host()?;
    let others = measure::other_kernels()?;
    let before = read_text(&root().join(PAGE)).unwrap_or_default();
    let text = page::markdown(&host, others.as_ref(), &before);
    if arguments.dry_run {
        print!("{text}");
    } else {
        std::fs::write(root().join(PAGE), &text)?;
        println!("wrote {PAGE}");
    }
    if page::has_failures(&text) {
        bail!("some figures are out of bounds: see {PAGE}, where they are bold; `schedscope check` tells more");
    }
    Ok(())
}

/// Writes the part on single events, and leaves the rest of the page alone.
pub(crate) fn write_oracles(part: &str) -> Result<()> {
    let text = page::with_oracles(&read_text(&root().join(PAGE))?, part).with_context(|| format!("{PAGE} is not that page"))?;
    workspace::write(PAGE, text)
}

fn check() -> Result<()> {
    let text = read_text(&root().join(PAGE))?;
    let lacking = page::lacks(&text);
    if !lacking.is_empty() {
        bail!("{PAGE} lacks {}; run `cargo xtask accuracy`, after `cargo xtask vm` for other kernels", lacking.join(", "));
    }
    if page::has_failures(&text) {
        bail!("{PAGE} shows figures out of bounds, in bold");
    }
    println!("{PAGE} is complete, and all of it in bounds");
    Ok(())
}
