//! What a check is and how it can end.

use anyhow::{Error, Result};

use super::needs::Need;

/// One line of the summary.
pub(super) struct Check {
    pub name: &'static str,
    /// Takes minutes, so that `--skip-slow` leaves it out.
    pub is_slow: bool,
    /// What the host must have.
    pub needs: &'static [Need],
    /// Runs it with our terminal.
    pub run: fn() -> Result<Outcome>,
}

/// How many tests a check ran. A check that is not made of tests counts as one.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Counts {
    pub passed: usize,
    pub failed: usize,
    /// Why tests left themselves out, one reason each.
    pub skipped: Vec<String>,
}

/// How a check ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Passed(Counts),
    Failed {
        counts: Counts,
        reason: String,
    },
    Skipped {
        reason: String,
        /// This host could have run it.
        is_avoidable: bool,
    },
}

impl Outcome {
    /// A check without tests of its own that passed.
    pub(super) fn passed() -> Self {
        Self::Passed(Counts { passed: 1, ..Counts::default() })
    }

    /// A check without tests of its own that failed.
    pub(super) fn failed(error: &Error) -> Self {
        eprintln!("error: {error:#}");
        let reason = error.to_string().lines().next().unwrap_or_default().to_owned();
        Self::Failed { counts: Counts { failed: 1, ..Counts::default() }, reason }
    }

    /// In CI nothing may be left out that the host can run.
    pub(super) fn without_avoidable_skips(self) -> Self {
        match self {
            Self::Skipped { reason, is_avoidable: true } => Self::Failed {
                counts: Counts { failed: 1, ..Counts::default() },
                reason: format!("skipped, though this host can run it: {reason}"),
            },
            other => other,
        }
    }

    /// For the table.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Passed(_) => "passed",
            Self::Failed { .. } => "FAILED",
            Self::Skipped { .. } => "skipped",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ci_accepts_only_the_skips_of_things_the_host_cannot_run() {
        let skip = |is_avoidable| Outcome::Skipped { reason: "no kernel".into(), is_avoidable };
        assert_eq!(skip(false).without_avoidable_skips(), skip(false));
        assert_eq!(skip(true).without_avoidable_skips().word(), "FAILED");
        assert_eq!(Outcome::passed().without_avoidable_skips(), Outcome::passed());
    }
}
