//! How many instructions the verifier may walk per program and kernel: growth that nobody intended ends at a limit on some kernel.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::workspace::{self, read_text, root};

/// The committed budget, relative to the root.
const FILE: &str = "ebpf/verifier-budget.toml";

const HEADER: &str = "\
# Instructions that each kernel's verifier walked, by program; `cargo xtask vm` fails if one walks more than the tolerance above.
# Written by `cargo xtask vm --set-budget`. Linux before 5.16 does not tell.
";

/// Instructions by program; `None` where the kernel does not tell.
pub(crate) type Counts = BTreeMap<String, Option<u32>>;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Budget {
    /// By how much a count may exceed it.
    tolerance_percent: u32,
    /// By kernel and program.
    instructions: BTreeMap<String, BTreeMap<String, u32>>,
}

impl Budget {
    pub(super) fn read() -> Result<Self> {
        toml::from_str(&read_text(&root().join(FILE))?).with_context(|| format!("{FILE} is not a budget"))
    }

    pub(super) fn write(&self) -> Result<()> {
        workspace::write(FILE, format!("{HEADER}{}", toml::to_string(self)?))
    }

    pub(super) fn set(&mut self, kernel: &str, counts: &Counts) {
        let told: BTreeMap<String, u32> = counts.iter().filter_map(|(name, count)| Some((name.clone(), (*count)?))).collect();
        if !told.is_empty() {
            self.instructions.insert(kernel.to_owned(), told);
        }
    }

    /// What exceeds the budget of a kernel, or is not in it.
    pub(super) fn excesses(&self, kernel: &str, counts: &Counts) -> Vec<String> {
        let budget = self.instructions.get(kernel);
        let check = |(name, count): (&String, &Option<u32>)| {
            let count = (*count)?;
            let Some(&allowed) = budget.and_then(|budget| budget.get(name)) else {
                return Some(format!("{name} walks {count} instructions and has no budget in {FILE}"));
            };
            let most = u64::from(allowed) * u64::from(100 + self.tolerance_percent) / 100;
            (u64::from(count) > most)
                .then(|| format!("{name} walks {count} instructions; its budget is {allowed}, and {most} with the tolerance"))
        };
        counts.iter().filter_map(check).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_within_the_tolerance_is_no_excess() {
        let counts = |count: Option<u32>| Counts::from([("sched_switch".to_owned(), count)]);
        let mut budget = Budget { tolerance_percent: 10, instructions: BTreeMap::new() };
        budget.set("6.1", &counts(Some(1000)));
        assert!(budget.excesses("6.1", &counts(Some(1100))).is_empty());
        assert_eq!(budget.excesses("6.1", &counts(Some(1101))).len(), 1);
        assert!(budget.excesses("6.12", &counts(Some(1))).first().unwrap().contains("no budget"));
        assert!(budget.excesses("5.10", &counts(None)).is_empty());
    }

    #[test]
    fn the_committed_budget_can_be_read_back() {
        let text = toml::to_string(&Budget::read().unwrap()).unwrap();
        assert_eq!(format!("{HEADER}{text}"), read_text(&root().join(FILE)).unwrap());
    }
}
