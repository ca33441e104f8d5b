//! Where the cores of a workload went, as a bar with its key.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::diagnose::LostCause;
use crate::report::ColourDepth;
use crate::report::words::{columns, percent, share};
use crate::top::palette::{fill, fore, of_part};
use crate::top::wire::LastWindow;
use crate::top::words::{cause, cores};
use crate::units::rounded;

/// What was used, or lost to a cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    lost_to: Option<LostCause>,
    ns: u64,
}

impl Part {
    fn name(self) -> &'static str {
        self.lost_to.map_or("used", cause)
    }
}

/// What was used comes first, then causes, the largest first; none of nothing.
fn parts(last: &LastWindow) -> Vec<Part> {
    let mut causes: Vec<Part> = last.lost_ns.iter().map(|(cause, ns)| Part { lost_to: Some(*cause), ns: *ns }).collect();
    causes.sort_by_key(|part| std::cmp::Reverse(part.ns));
    let used = Part { lost_to: None, ns: last.used_ns };
    std::iter::once(used).chain(causes).filter(|part| part.ns > 0).collect()
}

/// The column in which each part ends, of `width`. The last one ends the bar.
fn ends(parts: &[Part], width: u16) -> Vec<u16> {
    let whole = parts.iter().map(|part| part.ns as f64).sum::<f64>();
    let mut sum = 0.0;
    let end = |part: &Part| {
        sum += part.ns as f64;
        u16::try_from(rounded(share(sum, whole) * f64::from(width))).unwrap_or(width).min(width)
    };
    parts.iter().map(end).collect()
}

pub(super) fn draw(buffer: &mut Buffer, bar: Rect, key: Rect, last: &LastWindow, depth: ColourDepth) {
    let parts = parts(last);
    if !bar.is_empty() {
        let mut begin = 0;
        for (rank, (part, end)) in parts.iter().zip(ends(&parts, bar.width)).enumerate() {
            let text = fill(depth, rank).to_string().repeat(usize::from(end - begin));
            buffer.set_string(bar.x + begin, bar.y, text, fore(depth, of_part(part.lost_to)));
            begin = end;
        }
    }
    if key.is_empty() {
        return;
    }
    let whole = parts.iter().map(|part| part.ns as f64).sum::<f64>();
    let mut x = key.x;
    for (rank, part) in parts.iter().enumerate() {
        let words = format!(" {} {} ({})", part.name(), cores(part.ns, last.wall_ns), percent(share(part.ns as f64, whole)));
        let needed = u16::try_from(columns(&words)).unwrap_or(u16::MAX).saturating_add(1);
        if x.saturating_add(needed) > key.right() {
            break;
        }
        buffer.set_string(x, key.y, fill(depth, rank).to_string(), fore(depth, of_part(part.lost_to)));
        buffer.set_string(x + 1, key.y, &words, Style::new());
        x = x.saturating_add(needed + 2);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parts_are_as_long_as_they_are_large() {
        let last = LastWindow {
            used_ns: 50,
            lost_ns: vec![(LostCause::Others, 15), (LostCause::WaitGil, 35), (LostCause::Mask, 0)],
            ..LastWindow::default()
        };
        let parts = parts(&last);
        assert_eq!(parts.iter().map(|part| part.name()).collect::<Vec<_>>(), ["used", "GIL", "others"]);
        assert_eq!(ends(&parts, 20), [10, 17, 20]);
    }

    proptest! {
        #[test]
        fn a_bar_is_as_wide_as_it_may_be(amounts in prop::collection::vec(1..=u64::MAX, 1..18), width in 0..300_u16) {
            let parts: Vec<Part> = amounts.iter().map(|ns| Part { lost_to: None, ns: *ns }).collect();
            let ends = ends(&parts, width);
            prop_assert!(ends.is_sorted());
            prop_assert_eq!(ends.last(), Some(&width));
        }
    }
}
