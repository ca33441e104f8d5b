//! Cells that the lab makes of others by an option.

use super::Listed;

/// The cell that is run with other switch intervals.
const THREADS: &str = "arithmetic-threads";
/// The intervals: name and seconds. The usual one is 5 ms.
const INTERVALS: [(&str, &str); 2] = [("0.5ms", "0.0005"), ("50ms", "0.05")];

/// The variants of what is listed.
pub(super) fn of(listed: &[Listed]) -> Vec<Listed> {
    let Some(threads) = listed.iter().find(|cell| cell.id == THREADS) else { return Vec::new() };
    let variant = |(name, seconds): (&str, &str)| Listed {
        id: format!("{THREADS}-interval-{name}"),
        model: format!("{}, {name}", threads.model),
        variant_of: Some(THREADS.to_owned()),
        extra: vec!["--switch-interval".to_owned(), seconds.to_owned()],
        ..threads.clone()
    };
    INTERVALS.into_iter().map(variant).collect()
}
