//! How far the lab is: a bar on a terminal, else one plain line per run. Both on standard error.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Redrawn this seldom, as every redrawing takes CPU time from what is being measured.
const TICK: Duration = Duration::from_millis(500);

pub(crate) struct Progress(ProgressBar);

impl Progress {
    pub(crate) fn new(total: usize) -> Progress {
        let bar = ProgressBar::new(total as u64);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len}  {elapsed}  {wide_msg}") {
            bar.set_style(style);
        }
        if !bar.is_hidden() {
            bar.enable_steady_tick(TICK);
        }
        Progress(bar)
    }

    pub(crate) fn begin(&self, label: &str) {
        self.0.set_message(label.to_owned());
    }

    pub(crate) fn finished(&self, label: &str, line: &str) {
        self.0.inc(1);
        if self.0.is_hidden() {
            eprintln!("{:>3}/{}  {label:<40} {line}", self.0.position(), self.0.length().unwrap_or(0));
        }
    }

    pub(crate) fn clear(&self) {
        self.0.finish_and_clear();
    }
}
