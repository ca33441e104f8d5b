//! Quantities and names as words: durations, counts, shares, and names that can't harm a terminal.

use unicode_width::UnicodeWidthStr;

use crate::units::rounded;
pub(super) use crate::untrusted::harmless;

const NAME_CHARS: usize = 120;

/// A name, harmless and cut at 120 characters.
pub(crate) fn clean(untrusted: &str) -> String {
    let mut cleaned: String = harmless(untrusted).chars().take(NAME_CHARS).collect();
    if untrusted.chars().nth(NAME_CHARS).is_some() {
        cleaned.push('…');
    }
    cleaned
}

pub(crate) fn columns(text: &str) -> usize {
    text.width()
}

/// A finite number that is not negative; 0 for anything else.
pub(super) fn sane(number: f64) -> f64 {
    if number.is_finite() && number > 0.0 { number } else { 0.0 }
}

/// `part / whole`, between 0 and 1; 0 of nothing.
pub(crate) fn share(part: f64, whole: f64) -> f64 {
    let (part, whole) = (sane(part), sane(whole));
    if whole > 0.0 { (part / whole).clamp(0.0, 1.0) } else { 0.0 }
}

/// `71 %`. Never rounds to none or all: `<1 %`, `>99 %`.
pub(crate) fn percent(share: f64) -> String {
    let percent = sane(share).min(1.0) * 100.0;
    if percent > 0.0 && percent <= 0.5 {
        "<1 %".to_owned()
    } else if (99.5..100.0).contains(&percent) {
        ">99 %".to_owned()
    } else {
        format!("{percent:.0} %")
    }
}

/// A number of cores, threads or anything of which there are fractions: `1.02`, `128`.
pub(crate) fn mean(number: f64) -> String {
    let number = sane(number);
    if number > 0.0 && number < 0.005 {
        "<0.01".to_owned()
    } else if number < 99.995 {
        format!("{number:.2}")
    } else {
        format!("{number:.0}")
    }
}

/// `12,345`.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

/// `1 thread`, `2 threads`, `2 processes`.
pub(super) fn counted(count: u64, noun: &str) -> String {
    let ending = match (count, noun) {
        (1, _) => "",
        (_, noun) if noun.ends_with('s') => "es",
        _ => "s",
    };
    format!("{} {noun}{ending}", grouped(count))
}

/// Events per second of the run: `1,030/s`, `0.4/s`; empty if the run had no length.
pub(super) fn rate(count: u64, wall_seconds: f64) -> String {
    let wall = sane(wall_seconds);
    if wall == 0.0 {
        return String::new();
    }
    format!("{}/s", per_second(count as f64 / wall))
}

/// A number per second: `1,030`, `0.4`; below ten with a decimal, as there the difference between one and two matters.
pub(crate) fn per_second(rate: f64) -> String {
    if rate == 0.0 {
        "0".to_owned()
    } else if rate < 0.05 {
        "<0.1".to_owned()
    } else if rate < 9.95 {
        format!("{rate:.1}")
    } else {
        grouped(rounded(rate) as u64)
    }
}

/// A length of time with three digits in the unit that suits it: `850 ns`, `4.05 ms`, `12.3 s`, `5 min 20 s`.
pub(crate) fn duration(seconds: f64) -> String {
    const UNITS: [(f64, &str); 4] = [(1e-9, "ns"), (1e-6, "µs"), (1e-3, "ms"), (1.0, "s")];
    let seconds = sane(seconds);
    if seconds <= 0.5e-9 {
        return "0".to_owned();
    }
    if seconds >= 299.5 {
        let seconds = rounded(seconds) as u64;
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        return if hours > 0 { format!("{} h {minutes} min", grouped(hours)) } else { format!("{minutes} min {seconds} s") };
    }
    // The next unit begins after rounding, so that 999.6 µs reads 1.00 ms.
    let (unit, name) = UNITS.into_iter().find(|(unit, _)| seconds / unit < 999.5).unwrap_or((1.0, "s"));
    let value = seconds / unit;
    let decimals = match value {
        _ if name == "ns" => 0,
        value if value < 9.995 => 2,
        value if value < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits_and_a_unit() {
        for (seconds, text) in [
            (0.0, "0"),
            (f64::NAN, "0"),
            (-1.0, "0"),
            (0.5e-9, "0"),
            (0.51e-9, "1 ns"),
            (5.4e-9, "5 ns"),
            (999.4e-9, "999 ns"),
            (999.6e-9, "1.00 µs"),
            (9.994e-6, "9.99 µs"),
            (9.996e-6, "10.0 µs"),
            (99.94e-6, "99.9 µs"),
            (99.96e-6, "100 µs"),
            (999.6e-6, "1.00 ms"),
            (0.004_05, "4.05 ms"),
            (1.0, "1.00 s"),
            (299.4, "299 s"),
            (299.5, "5 min 0 s"),
            (3599.0, "59 min 59 s"),
            (3600.0, "1 h 0 min"),
            (3_600_000.0, "1,000 h 0 min"),
        ] {
            assert_eq!(duration(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn numbers_of_which_there_are_fractions_have_two_decimals() {
        for (number, text) in [
            (-1.0, "0.00"),
            (0.0, "0.00"),
            (0.0049, "<0.01"),
            (0.0051, "0.01"),
            (1.0, "1.00"),
            (99.99, "99.99"),
            (99.996, "100"),
            (128.4, "128"),
        ] {
            assert_eq!(mean(number), text, "{number}");
        }
    }

    #[test]
    fn shares_round_to_none_or_all_only_if_they_are() {
        for (share, text) in [
            (f64::NAN, "0 %"),
            (0.0, "0 %"),
            (0.005, "<1 %"),
            (0.0051, "1 %"),
            (0.714, "71 %"),
            (0.9949, "99 %"),
            (0.995, ">99 %"),
            (0.999_999, ">99 %"),
            (1.0, "100 %"),
            (7.0, "100 %"),
        ] {
            assert_eq!(percent(share), text, "{share}");
        }
        for (part, whole, expected) in
            [(1.0, 4.0, 0.25), (5.0, 4.0, 1.0), (-1.0, 4.0, 0.0), (1.0, -4.0, 0.0), (1.0, 0.0, 0.0), (f64::INFINITY, 1.0, 0.0)]
        {
            assert!((share(part, whole) - expected).abs() < 1e-12, "{part} of {whole}");
        }
    }

    #[test]
    fn counts_are_grouped_and_agree_with_their_noun() {
        assert_eq!([999, 1_234_567].map(grouped), ["999", "1,234,567"]);
        assert_eq!(
            [counted(1, "process"), counted(2, "process"), counted(1000, "thread")],
            ["1 process", "2 processes", "1,000 threads"]
        );
        for (count, text) in [(0, "0/s"), (4, "<0.1/s"), (5, "0.1/s"), (994, "9.9/s"), (996, "10/s"), (206_000, "2,060/s")] {
            assert_eq!(rate(count, 100.0), text, "{count}");
        }
        assert_eq!([rate(1, 0.0), rate(5, f64::NAN)], ["", ""]);
    }

    #[test]
    fn names_cannot_reach_the_terminal() {
        assert_eq!(clean("a\x1b[31mb\n\u{202e}c\u{200b}\u{9b}\u{2028}"), "a?[31mb??c?? ");
        assert_eq!((clean("工作 é").as_str(), columns("工作 é")), ("工作 é", 6));
        assert_eq!(clean(&"x".repeat(NAME_CHARS)), "x".repeat(NAME_CHARS));
        assert_eq!(clean(&"x".repeat(NAME_CHARS + 1)), "x".repeat(NAME_CHARS) + "…");
    }
}
