//! The two sizes of the lab.

use super::{
    super::{claims, runtime::Listed},
    is_native,
};

/// Cells of the short lab besides those that the claims cannot do without.
const BRIEF_EXTRA: [&str; 7] = [
    "arithmetic-threads-interval-0.5ms",
    "arithmetic-threads-interval-50ms",
    "arithmetic-asyncio",
    "lost-updates-threads-locked",
    "exception-threads",
    "startup-processes-spawn",
    "native-spin-threads",
];
/// Tasks in C code, which are there for the GIL alone and not for every model.
const C_CODE: [&str; 4] = ["regex", "big-int", "zlib", "lzma"];
/// The models that they are for.
const C_CODE_MODELS: [&str; 3] = ["serial", "threads", "processes-fork"];

/// How much is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// Only what the claims need.
    is_brief: bool,
    /// Runs of each cell that a claim rests on, if nothing else is asked for.
    pub(crate) repeats: u16,
    /// Length of a serial run of computing.
    pub(super) serial_seconds: f64,
    /// Length of one simulated download.
    pub(super) download_seconds: &'static str,
    /// Pause between two numbers that are printed.
    pub(super) print_seconds: &'static str,
    /// Short sleeps and requests.
    pub(super) pauses: u32,
    /// Pages fetched.
    pub(super) fetches: u32,
}

impl Scale {
    /// Less than a minute on two CPUs.
    pub(crate) const QUICK: Scale = Scale {
        is_brief: true,
        repeats: 1,
        serial_seconds: 0.6,
        download_seconds: "0.25",
        print_seconds: "0.1",
        pauses: 128,
        fetches: 64,
    };
    /// Some five minutes.
    pub(crate) const FULL: Scale = Scale {
        is_brief: false,
        repeats: 3,
        serial_seconds: 1.0,
        download_seconds: "1",
        print_seconds: "0.5",
        pauses: 192,
        fetches: 128,
    };

    /// Whether a cell is in it.
    pub(super) fn has(&self, cell: &Listed) -> bool {
        if self.is_brief {
            return BRIEF_EXTRA.contains(&cell.id.as_str()) || claims::is_needed(&cell.id);
        }
        is_native(cell) || !C_CODE.contains(&cell.task.as_str()) || C_CODE_MODELS.contains(&cell.model.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_lab_has_what_every_claim_needs() {
        for claim in &claims::ALL {
            for id in claim.cells {
                let cell = Listed { id: (*id).to_owned(), ..Listed::default() };
                assert!(Scale::QUICK.has(&cell) && Scale::FULL.has(&cell), "{id}");
            }
        }
        let other = Listed { id: "factorial-threads".to_owned(), ..Listed::default() };
        assert!(!Scale::QUICK.has(&other) && Scale::FULL.has(&other));
    }
}
