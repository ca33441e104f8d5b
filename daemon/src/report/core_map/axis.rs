//! The time axis.

/// Columns between two ticks, at least.
const SPACING: usize = 12;

/// The axis and its labels, for `columns` columns that stand for `seconds`.
pub(super) fn lines(seconds: f64, columns: usize) -> [String; 2] {
    let step = step(seconds * SPACING as f64 / columns as f64);
    let (unit, name) =
        [(1.0, "s"), (1e-3, "ms"), (1e-6, "µs")].into_iter().find(|(unit, _)| step >= 0.1 * unit).unwrap_or((1e-9, "ns"));
    let decimals = usize::from(step / unit < 0.999);
    let mut line = vec!['─'; columns];
    let mut labels = String::new();
    let mut written = 0;
    for tick in 0..=columns / SPACING + 1 {
        let time = tick as f64 * step;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "not negative, and compared with `columns` next"
        )]
        let column = (time / seconds * columns as f64).round() as usize;
        if column >= columns {
            break;
        }
        line[column] = '┬';
        let label = if tick == 0 { format!("0 {name}") } else { format!("{:.decimals$}", time / unit) };
        labels.extend(std::iter::repeat_n(' ', column - written));
        written = column + label.chars().count();
        labels.push_str(&label);
    }
    [line.into_iter().collect(), labels]
}

/// The smallest of 1, 2 and 5 times a power of ten that is not below `least`.
fn step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|step| *step >= least * 0.999).unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_stand_at_round_times() {
        let [line, labels] = lines(4.0, 80);
        assert_eq!(labels, format!("0 s{0}1{1}2{1}3", " ".repeat(17), " ".repeat(19)));
        assert_eq!(line.chars().enumerate().filter(|(_, c)| *c == '┬').map(|(i, _)| i).collect::<Vec<_>>(), [0, 20, 40, 60]);
        assert_eq!(lines(0.025, 50)[1], "0 ms                10                  20");
        assert_eq!(lines(0.000_09, 50)[1].split_whitespace().collect::<Vec<_>>(), ["0", "µs", "50"]);
        assert_eq!(lines(0.000_000_09, 50)[1].split_whitespace().collect::<Vec<_>>(), ["0", "ns", "50"]);
        assert_eq!(lines(1.0, 50)[1].split_whitespace().collect::<Vec<_>>(), ["0", "s", "0.5"]);
    }

    #[test]
    fn a_step_is_one_two_or_five_and_not_below_what_is_needed() {
        for (least, expected) in [(1.0, 1.0), (1.1, 2.0), (2.0, 2.0), (2.1, 5.0), (5.1, 10.0), (0.03, 0.05), (700.0, 1000.0)] {
            assert!((step(least) / expected - 1.0).abs() < 1e-9, "{least}: {}", step(least));
        }
    }

    #[test]
    fn labels_stand_under_their_ticks() {
        for (seconds, columns) in [(4.0, 80), (0.7, 61), (123.0, 183), (0.000_3, 60), (9.9, 44)] {
            let [line, labels] = lines(seconds, columns);
            assert_eq!(line.chars().count(), columns);
            let starts = |text: &str| {
                let chars: Vec<char> = text.chars().collect();
                (0..chars.len()).filter(|&at| chars[at].is_ascii_digit() && (at == 0 || chars[at - 1] == ' ')).collect::<Vec<_>>()
            };
            let ticks: Vec<usize> = line.chars().enumerate().filter(|(_, c)| *c == '┬').map(|(at, _)| at).collect();
            assert_eq!(starts(&labels), ticks, "{labels}");
            assert!(ticks.windows(2).all(|pair| pair[1] - pair[0] >= SPACING - 1), "{ticks:?}");
            // The next tick would stand beyond the end.
            let step = ticks[1] - ticks[0];
            assert!(ticks.last().is_some_and(|last| last + step + 1 >= columns), "{ticks:?} of {columns}");
        }
    }
}
