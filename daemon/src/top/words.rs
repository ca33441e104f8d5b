//! Values of the view as text.

use crate::diagnose::{LostCause, ModelName};
use crate::report::words::{duration, grouped, mean, per_second};
use crate::units::{rounded, seconds};

/// Mean number of cores or threads: `1.82`.
pub(super) fn cores(ns: u64, wall_ns: u64) -> String {
    mean(ns as f64 / wall_ns.max(1) as f64)
}

/// Events per second, as a number; from a million on in thousands.
pub(super) fn rate(count: u64, wall_ns: u64) -> String {
    let rate = count as f64 / seconds(wall_ns.max(1));
    if rate < 999_999.5 { per_second(rate) } else { format!("{} k", grouped(rounded(rate / 1e3) as u64)) }
}

/// A latency; nothing if there was none.
pub(super) fn latency(ns: Option<u64>) -> String {
    ns.map_or_else(|| "-".to_owned(), |ns| duration(seconds(ns)))
}

/// A cause in a word or two.
pub(super) fn cause(cause: LostCause) -> &'static str {
    match cause {
        LostCause::Quota => "quota",
        LostCause::Mask => "mask",
        LostCause::Others => "others",
        LostCause::Transit => "waking up",
        LostCause::WaitUnknown => "not known",
        LostCause::WaitGil => "GIL",
        LostCause::WaitFutex => "futex",
        LostCause::WaitSleep => "sleep",
        LostCause::WaitPoll => "poll",
        LostCause::WaitPipeSocket => "pipe",
        LostCause::WaitChildWait => "child",
        LostCause::WaitDisk => "disk",
        LostCause::WaitPageFault => "page fault",
        LostCause::WaitMmapLock => "mmap lock",
        LostCause::WaitKernelLock => "kernel lock",
        LostCause::WaitStopped => "stopped",
        LostCause::WaitOther => "other call",
        LostCause::TooFewThreads => "no thread",
    }
}

/// A model in a word.
pub(super) fn model(model: ModelName) -> &'static str {
    match model {
        ModelName::ThreadsGilBound => "GIL-bound",
        ModelName::ThreadsParallel => "parallel",
        ModelName::ThreadsWaiting => "I/O-bound",
        ModelName::ThreadsTakingTurns => "turns",
        ModelName::SubInterpreters => "sub-int.",
        ModelName::NativeThreads => "native",
        short => short.name(),
    }
}

/// As much of a text as fits, and a sign that there was more.
pub(super) fn cut(text: &str, width: usize) -> String {
    use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};
    if text.width() <= width {
        return text.to_owned();
    }
    let (mut kept, mut used) = (String::new(), 0);
    for sign in text.chars() {
        used += sign.width().unwrap_or(0);
        if used >= width {
            break;
        }
        kept.push(sign);
    }
    if width > 0 {
        kept.push('…');
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_the_unit_of_their_column() {
        assert_eq!(
            [cores(3_640_000_000, 2_000_000_000), cores(u64::MAX, 0), cores(0, 1)],
            ["1.82", "18446744073709551616", "0.00"]
        );
        let rates = [(0, 1), (1, 2_000_000_000), (24_690, 2_000_000_000), (u64::MAX, 1_000_000_000)];
        assert_eq!(rates.map(|(count, wall_ns)| rate(count, wall_ns)), ["0", "0.5", "12,345", "18,446,744,073,709,552 k"]);
        assert_eq!([latency(None), latency(Some(412_000))], ["-", "412 µs"]);
    }

    #[test]
    fn a_text_is_cut_by_columns() {
        for (width, expected) in [(0, ""), (1, "…"), (2, "工作".get(..0).map_or("", |_| "…")), (3, "工…"), (4, "工作"), (9, "工作")]
        {
            assert_eq!(cut("工作", width), expected, "{width}");
        }
        assert_eq!(cut("python3", 6), "pytho…");
    }

    #[test]
    fn words_are_as_short_as_the_narrow_columns() {
        assert!(ModelName::ALL.into_iter().all(|name| model(name).len() <= 10));
        assert!(LostCause::ALL.into_iter().all(|lost| cause(lost).len() <= 11));
    }
}
