//! Colours of states that are names.
//!
//! Grafana colours a state by the row it is in, by thresholds or by value mappings, but not by its own name; and the names are not
//! known beforehand. So the mappings are patterns that tell names apart by their letters: for each of four sets of letters, whether
//! a name has an even or an odd number of them. A name has the same colour on every row and every screen; two can share one.

use serde_json::{Value, json};

/// The state in which nobody has a core. It is drawn as nothing.
pub(crate) const NOBODY: &str = "(nobody)";
/// Grey for what is not a workload of its own.
const GREY: [(&str, &str); 2] = [("kernel", "#6e7681"), ("other", "#9198a1")];
/// Each holds about half of the letters that names are made of, and no two the same half.
const SETS: [&str; 4] = ["aeginoru13579", "aclnsty2468-", "bdeikoprs0", "acdhimnpu"];
/// Colours that differ in hue or, of the same hue, by much in lightness. Grafana adapts them to its themes.
const COLOURS: [&str; 1 << SETS.len()] = [
    "blue",
    "orange",
    "green",
    "purple",
    "yellow",
    "red",
    "super-light-blue",
    "dark-orange",
    "super-light-green",
    "dark-purple",
    "dark-blue",
    "super-light-red",
    "dark-green",
    "super-light-purple",
    "dark-yellow",
    "super-light-orange",
];

/// Value mappings that give every name a colour and leave its text alone.
pub(super) fn mappings() -> Value {
    let mut exact = json!({ NOBODY: { "color": "transparent", "index": 0, "text": " " } });
    for (index, (name, colour)) in GREY.into_iter().enumerate() {
        exact[name] = json!({ "color": colour, "index": index + 1 });
    }
    let patterns = COLOURS.iter().enumerate().map(|(number, colour)| {
        let result = json!({ "color": colour, "index": GREY.len() + 1 + number });
        json!({ "type": "regex", "options": { "pattern": pattern(number), "result": result } })
    });
    [json!({ "type": "value", "options": exact })].into_iter().chain(patterns).collect()
}

/// Matches the names whose count of each set is even or odd as the bits of `number` say.
fn pattern(number: usize) -> String {
    let parity = |(bit, set): (usize, &&str)| {
        let one = format!("[^{set}]*[{set}]");
        let first = if number >> bit & 1 == 1 { one.as_str() } else { "" };
        format!("(?={first}(?:{one}{one})*[^{set}]*$)")
    };
    format!("/^{}/i", SETS.iter().enumerate().map(parity).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The patterns are for JavaScript, whose expressions can look ahead; this counts instead.
    fn number(name: &str) -> usize {
        let is_odd = |set: &&str| name.to_lowercase().chars().filter(|letter| set.contains(*letter)).count() % 2;
        SETS.iter().enumerate().map(|(bit, set)| is_odd(set) << bit).sum()
    }

    #[test]
    fn names_spread_over_the_colours() {
        let names = "nginx.service postgresql.service python3 cargo rustc arithmetic-threads arithmetic-processes asyncio native-threads \
                     hashing-threads system.slice gunicorn redis java node docker.service";
        let mut used = [0_u32; COLOURS.len()];
        for name in names.split_whitespace() {
            used[number(name)] += 1;
        }
        assert!(used.iter().filter(|count| **count > 0).count() >= 9, "{used:?}");
        assert!(used.iter().all(|count| *count <= 4), "{used:?}");
        assert_eq!(std::collections::BTreeSet::from(COLOURS).len(), COLOURS.len(), "two are the same");
    }
}
