//! The pairs, as `workloads/verdicts/verdicts.toml` has them.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::judge::Cause;
use super::surroundings::Need;
use crate::workspace::read_text;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    #[serde(rename = "pair")]
    pairs: Vec<Pair>,
}

/// A sick program and its cure; a healthy one has no cure.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pair {
    pub(super) name: String,
    /// What is modelled, in a sentence.
    pub(super) models: String,
    pub(super) sick: CommandLine,
    pub(super) cure: Option<CommandLine>,
    /// What may be named, the right one first.
    pub(super) causes: Vec<Cause>,
    #[serde(default)]
    pub(super) needs: Vec<Need>,
    /// Nothing is to be gained, so advice is wrong.
    #[serde(default)]
    pub(super) healthy: bool,
    /// The wall time of the cure is what is to be predicted.
    #[serde(default)]
    pub(super) compare: bool,
    /// CPUs that the sick program may use.
    pub(super) quota: Option<f64>,
    pub(super) others: Option<Others>,
    #[serde(default)]
    pub(super) quick: bool,
}

/// Other programs that run beside the pair.
#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Others {
    /// As many as this share of the CPUs.
    pub(super) percent_of_cpus: usize,
    /// They run beside the cure as well.
    pub(super) beside_cure: bool,
}

/// A program and its arguments, with spaces between them.
#[derive(Clone, Deserialize)]
#[serde(from = "String")]
pub(super) struct CommandLine {
    pub(super) words: Vec<String>,
}

impl From<String> for CommandLine {
    fn from(line: String) -> Self {
        Self { words: line.split_whitespace().map(str::to_owned).collect() }
    }
}

impl CommandLine {
    /// What `timeout` returns when it had to end the program, as it must where it is used; otherwise 0.
    pub(super) fn expected_exit(&self) -> i32 {
        if self.words.first().is_some_and(|program| program == "timeout") { 124 } else { 0 }
    }
}

impl Manifest {
    pub(super) fn read(path: &Path) -> Result<Self> {
        Self::parse(&read_text(path)?).with_context(|| format!("cannot use {}", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let manifest: Self = toml::from_str(text)?;
        for (index, pair) in manifest.pairs.iter().enumerate() {
            let Pair { name, .. } = pair;
            ensure!(!pair.causes.is_empty(), "{name} has no causes");
            ensure!(pair.healthy == pair.cure.is_none(), "{name} must have a cure or be healthy, and not both");
            ensure!(!pair.compare || pair.cure.is_some(), "{name} has no cure to compare with");
            ensure!(manifest.pairs[..index].iter().all(|other| other.name != *name), "there are two pairs {name}");
        }
        Ok(manifest)
    }

    /// Those with these names, or all; or those that are quick.
    pub(super) fn choose(&self, names: &[String], only_quick: bool) -> Result<Vec<&Pair>> {
        if let Some(unknown) = names.iter().find(|name| self.pairs.iter().all(|pair| pair.name != **name)) {
            let known: Vec<&str> = self.pairs.iter().map(|pair| pair.name.as_str()).collect();
            bail!("there is no pair {unknown}; there are {}", known.join(", "));
        }
        let is_chosen = |pair: &&Pair| (names.is_empty() || names.contains(&pair.name)) && (pair.quick || !only_quick);
        Ok(self.pairs.iter().filter(is_chosen).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::HOME;
    use super::*;
    use crate::workspace::root;

    fn pair(more: &str) -> String {
        format!("[[pair]]\nname = \"a\"\nmodels = \"A.\"\nsick = \"a  b\"\n{more}\n")
    }

    #[test]
    fn a_pair_is_either_healthy_or_has_a_cure() {
        for sound in ["causes = [\"gil\"]\ncure = \"c\"\ncompare = true", "causes = [\"cores\"]\nhealthy = true"] {
            let manifest = Manifest::parse(&pair(sound)).unwrap();
            assert_eq!(manifest.pairs[0].sick.words, ["a", "b"]);
        }
        let faults = [
            "causes = []\ncure = \"c\"",
            "causes = [\"gil\"]",
            "causes = [\"gil\"]\ncure = \"c\"\nhealthy = true",
            "causes = [\"cores\"]\nhealthy = true\ncompare = true",
            "causes = [\"magic\"]\nhealthy = true",
            "causes = [\"cores\"]\nhealthy = true\nfast = true",
        ];
        for fault in faults {
            assert!(Manifest::parse(&pair(fault)).is_err(), "{fault}");
        }
        let twice = pair("causes = [\"cores\"]\nhealthy = true").repeat(2);
        assert!(Manifest::parse(&twice).is_err());
    }

    #[test]
    fn names_that_do_not_exist_are_refused() {
        let text = pair("causes = [\"cores\"]\nhealthy = true\nquick = true")
            + &pair("causes = [\"gil\"]\ncure = \"c\"").replace("\"a\"", "\"b\"");
        let manifest = Manifest::parse(&text).unwrap();
        let names = |names: &[&str], quick| {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            let chosen = manifest.choose(&names, quick)?;
            Ok::<_, anyhow::Error>(chosen.iter().map(|pair| pair.name.clone()).collect::<Vec<_>>())
        };
        assert_eq!(names(&[], false).unwrap(), ["a", "b"]);
        assert_eq!(names(&[], true).unwrap(), ["a"]);
        assert_eq!(names(&["b"], false).unwrap(), ["b"]);
        assert!(names(&["b", "c"], false).is_err());
    }

    /// Every file is used, and every cause is the right one at least twice, but those that say nothing.
    #[test]
    fn the_corpus_is_whole() {
        let home = root().join(HOME);
        let manifest = Manifest::read(&home.join("verdicts.toml")).unwrap();
        let mut right: BTreeMap<Cause, usize> = BTreeMap::new();
        for pair in &manifest.pairs {
            *right.entry(pair.causes[0]).or_default() += 1;
        }
        for cause in Cause::all().filter(|cause| !cause.says_nothing()) {
            assert!(right.get(&cause).is_some_and(|pairs| *pairs >= 2), "{cause} is right for fewer than two pairs");
        }
        let commands = manifest.pairs.iter().flat_map(|pair| [&pair.sick].into_iter().chain(&pair.cure));
        let words: Vec<&String> = commands.flat_map(|command| &command.words).collect();
        for entry in std::fs::read_dir(home).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let (stem, extension) = name.split_once('.').unwrap_or((&name, ""));
            let is_helper = extension == "toml" || extension == "h" || ["common", "slow_server", "__pycache__"].contains(&stem);
            assert!(is_helper || words.iter().any(|word| **word == name || *word == stem), "no pair runs {name}");
        }
    }
}
