//! Text that strangers wrote: names of processes, files and cgroups.

use std::ops::RangeInclusive;

use unicode_general_category::{GeneralCategory, get_general_category};

/// What takes no room, or is blank, though its category is that of letters, marks or symbols: fillers, selectors and tags.
const UNSEEN: [RangeInclusive<char>; 9] = [
    '\u{34f}'..='\u{34f}',
    '\u{115f}'..='\u{1160}',
    '\u{17b4}'..='\u{17b5}',
    '\u{180b}'..='\u{180f}',
    '\u{2800}'..='\u{2800}',
    '\u{3164}'..='\u{3164}',
    '\u{fe00}'..='\u{fe0f}',
    '\u{ffa0}'..='\u{ffa0}',
    '\u{e0000}'..='\u{e0fff}',
];

/// The text as it can be shown anywhere, a terminal included: what could move the cursor, change colours, reorder the line or be there
/// unseen becomes `?`, and white space that is no control character a space.
pub(crate) fn harmless(text: &str) -> String {
    text.chars().map(shown).collect()
}

fn shown(c: char) -> char {
    let category = get_general_category(c);
    if matches!(category, GeneralCategory::Control | GeneralCategory::Format | GeneralCategory::Unassigned)
        || UNSEEN.iter().any(|range| range.contains(&c))
    {
        '?'
    } else if c.is_whitespace() {
        ' '
    } else {
        c
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_seen_stays_and_what_is_not_is_marked() {
        for (text, expected) in [
            ("a\x1b[31mb\n\u{9b}", "a?[31mb??"),
            // Bidirectional overrides and isolates, an invisible joiner, a soft hyphen, a byte order mark.
            ("\u{202e}\u{2066}\u{200f}\u{200d}\u{ad}\u{feff}", "??????"),
            // Separators of lines and paragraphs, and spaces of other widths.
            ("\u{2028}\u{2029}\u{a0}\u{3000}", "    "),
            ("\u{3164}\u{34f}\u{fe0f}\u{e0041}\u{2065}\u{2800}", "??????"),
            ("工作 é e\u{301} नमस्ते ✓", "工作 é e\u{301} नमस्ते ✓"),
        ] {
            assert_eq!(harmless(text), expected);
        }
    }

    proptest! {
        #[test]
        fn nothing_is_left_to_replace(text in any::<String>()) {
            let once = harmless(&text);
            prop_assert_eq!(once.chars().count(), text.chars().count());
            prop_assert_eq!(harmless(&once), once);
        }
    }
}
