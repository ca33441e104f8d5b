//! Where the threads' time went, as bars.

use super::{
    super::{
        Options, RunReport,
        palette::{BLOCKED, Colour, RUNNABLE, RUNNING},
        reason,
        words::{clean, columns, duration, percent, sane, share},
    },
    Block,
};

/// Columns of a full bar.
const BAR: usize = 30;
/// What fills a column to 1/8, 2/8 and so on.
const EIGHTHS: [char; 8] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];

pub(super) fn lines(report: &RunReport, options: &Options) -> Block {
    let time = &report.time_seconds;
    let whole = sane(time.on_cpu) + sane(time.runnable) + sane(time.blocked);
    let mut rows: Vec<(String, f64, Colour)> = vec![
        ("running".to_owned(), time.on_cpu, RUNNING),
        ("runnable after a wake-up".to_owned(), time.runnable_after_wakeup, RUNNABLE),
        ("runnable after preemption".to_owned(), time.runnable_after_preemption, RUNNABLE),
    ];
    let mut blocked: Vec<(&String, f64)> = report.blocked_seconds_by_reason.iter().map(|(name, &s)| (name, sane(s))).collect();
    blocked.retain(|(_, seconds)| *seconds > 0.0);
    blocked.sort_by(|a, b| b.1.total_cmp(&a.1));
    rows.extend(blocked.into_iter().map(|(name, seconds)| (format!("blocked: {}", clean(reason::title(name))), seconds, BLOCKED)));
    let label = rows.iter().map(|(name, ..)| columns(name)).max().unwrap_or(0);
    let mut lines = vec![options.colour.strong(&format!("Where the time went, {} over all threads", duration(whole)))];
    for (name, seconds, colour) in rows {
        let part = share(seconds, whole);
        let bar = bar(part);
        let rest = " ".repeat(BAR - columns(&bar));
        let padding = " ".repeat(label - columns(&name));
        let bar = options.colour.paint(&bar, colour, None);
        lines.push(format!("  {name}{padding}  {bar}{rest}  {:>5}  {:>10}", percent(part), duration(seconds)));
    }
    lines
}

/// A bar for a share between 0 and 1; anything above 0 is visible.
fn bar(share: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 8 * BAR")]
    let eighths = (share * (8 * BAR) as f64).ceil() as usize;
    let mut bar = "█".repeat(eighths / 8);
    if !eighths.is_multiple_of(8) {
        bar.push(EIGHTHS[eighths % 8 - 1]);
    }
    bar
}
