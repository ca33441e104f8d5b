//! Rules of the configuration: the first whose patterns all match names the process.

use globset::{Glob, GlobMatcher};
use serde::Deserialize;

use super::{Identity, NAME_CHARS, QUOTE, cgroup, printable};
use crate::metrics::catalog;

/// A `[[workload]]` table of the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleConfig {
    /// The value of the `workload` label.
    pub name: String,
    /// What a process must look like.
    #[serde(rename = "match")]
    pub patterns: Patterns,
}

/// Glob patterns; every one that is given must match. `*` also matches `/`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Patterns {
    /// On the name of the main thread, at most 15 bytes.
    pub comm: Option<String>,
    /// On the path of the executable.
    pub exe: Option<String>,
    /// On the path of the cgroup.
    pub cgroup: Option<String>,
    /// On the name of the systemd unit.
    pub unit: Option<String>,
}

/// What is wrong with a rule.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// The name cannot be a label.
    #[error("workload name {0:?}: use 1 to {NAME_CHARS} printable characters, and not \"other\", which holds what no name fits")]
    Name(String),
    /// The name would break queries.
    #[error("workload name {0:?}: double quotes break Grafana's queries for that workload; write ' instead")]
    Quote(String),
    /// It would match nothing or everything.
    #[error("workload {0:?}: `match` is empty; give at least one of comm, exe, cgroup, unit")]
    Empty(String),
    /// A pattern is no glob.
    #[error("workload {name:?}: `match.{key}` is not a valid glob: {source}")]
    Pattern {
        /// Name of the rule.
        name: String,
        /// Key of the pattern.
        key: &'static str,
        /// Why.
        source: globset::Error,
    },
}

/// Rules in the order of the configuration.
#[derive(Debug, Default)]
pub struct Rules(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    name: String,
    comm: Option<GlobMatcher>,
    exe: Option<GlobMatcher>,
    cgroup: Option<GlobMatcher>,
    unit: Option<GlobMatcher>,
}

impl Rules {
    /// Compiles the rules.
    pub fn compile(rules: &[RuleConfig]) -> Result<Rules, RuleError> {
        rules.iter().map(Rule::compile).collect::<Result<_, _>>().map(Rules)
    }

    /// The distinct names, in order.
    pub fn names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for rule in &self.0 {
            if !names.contains(&rule.name.as_str()) {
                names.push(rule.name.as_str());
            }
        }
        names
    }

    /// The name that the first matching rule gives.
    pub fn first_match(&self, identity: &Identity) -> Option<&str> {
        self.0.iter().find(|rule| rule.matches(identity)).map(|rule| rule.name.as_str())
    }
}

impl Rule {
    fn compile(config: &RuleConfig) -> Result<Rule, RuleError> {
        let RuleConfig { name, patterns: Patterns { comm, exe, cgroup, unit } } = config;
        if name.contains(QUOTE) {
            return Err(RuleError::Quote(name.clone()));
        }
        if printable(name) != *name || name == catalog::OTHER {
            return Err(RuleError::Name(name.clone()));
        }
        if [comm, exe, cgroup, unit].iter().all(|pattern| pattern.is_none()) {
            return Err(RuleError::Empty(name.clone()));
        }
        let glob = |key: &'static str, pattern: &Option<String>| {
            let compiled = pattern.as_deref().map(Glob::new).transpose();
            let compiled = compiled.map_err(|source| RuleError::Pattern { name: name.clone(), key, source })?;
            Ok(compiled.map(|glob| glob.compile_matcher()))
        };
        Ok(Rule {
            name: name.clone(),
            comm: glob("comm", comm)?,
            exe: glob("exe", exe)?,
            cgroup: glob("cgroup", cgroup)?,
            unit: glob("unit", unit)?,
        })
    }

    fn matches(&self, identity: &Identity) -> bool {
        let fits = |pattern: &Option<GlobMatcher>, value: Option<&str>| match pattern {
            Some(pattern) => value.is_some_and(|value| pattern.is_match(value)),
            None => true,
        };
        fits(&self.comm, Some(&identity.comm))
            && fits(&self.exe, identity.exe.as_deref())
            && fits(&self.cgroup, Some(&identity.cgroup))
            && fits(&self.unit, cgroup::unit(&identity.cgroup))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn rule(name: &str, patterns: Patterns) -> RuleConfig {
        RuleConfig { name: name.into(), patterns }
    }

    fn python() -> Identity {
        Identity {
            comm: "python3".into(),
            exe: Some("/usr/bin/python3.11".into()),
            cgroup: "/system.slice/shop.service".into(),
            is_kernel_thread: false,
        }
    }

    #[test]
    fn the_first_rule_whose_patterns_all_match_wins() {
        let rules = Rules::compile(&[
            rule("ruby", Patterns { exe: Some("*/ruby*".into()), ..Patterns::default() }),
            rule("cron-python", Patterns { exe: Some("*/python*".into()), unit: Some("cron.*".into()), ..Patterns::default() }),
            rule("shop", Patterns { exe: Some("*/python*".into()), unit: Some("shop.service".into()), ..Patterns::default() }),
            rule("python", Patterns { comm: Some("python?".into()), ..Patterns::default() }),
        ])
        .unwrap();
        assert_eq!(rules.first_match(&python()), Some("shop"));
        assert_eq!(rules.first_match(&Identity { cgroup: "/".into(), ..python() }), Some("python"));
        assert_eq!(rules.first_match(&Identity { comm: "sh".into(), exe: None, ..python() }), None);
        assert_eq!(rules.names(), ["ruby", "cron-python", "shop", "python"]);
    }

    #[test]
    fn each_pattern_alone_decides_and_names_are_listed_once() {
        let (fits, fails) = (|pattern: &str| Some(pattern.to_owned()), Some("nothing".to_owned()));
        let cases: [(Patterns, Patterns); 4] = [
            (Patterns { comm: fits("pyth*"), ..Patterns::default() }, Patterns { comm: fails.clone(), ..Patterns::default() }),
            (Patterns { exe: fits("/usr/*"), ..Patterns::default() }, Patterns { exe: fails.clone(), ..Patterns::default() }),
            (
                Patterns { cgroup: fits("/system.slice/*"), ..Patterns::default() },
                Patterns { cgroup: fails.clone(), ..Patterns::default() },
            ),
            (Patterns { unit: fits("shop.*"), ..Patterns::default() }, Patterns { unit: fails.clone(), ..Patterns::default() }),
        ];
        for (fitting, failing) in cases {
            let rules = Rules::compile(&[rule("no", failing), rule("yes", fitting.clone()), rule("yes", fitting)]).unwrap();
            assert_eq!(rules.first_match(&python()), Some("yes"));
            assert_eq!(rules.names(), ["no", "yes"]);
        }
    }

    #[test]
    fn a_name_may_hold_anything_else_that_can_be_printed() {
        let name = "it's <b>odd</b> & \\ {},=";
        let rules = Rules::compile(&[rule(name, Patterns { comm: Some("*".into()), ..Patterns::default() })]).unwrap();
        assert_eq!(rules.first_match(&python()), Some(name));
    }

    #[test]
    fn a_rule_that_cannot_work_is_refused() {
        let comm = |pattern: &str| Patterns { comm: Some(pattern.into()), ..Patterns::default() };
        for (name, patterns, part) in [
            ("other", comm("x"), "\"other\""),
            ("", comm("x"), "printable"),
            ("a\nb", comm("x"), "printable"),
            ("the \"web\"", comm("x"), "workload name \"the \\\"web\\\"\": double quotes"),
            ("web", Patterns::default(), "at least one of"),
            ("web", comm("[x"), "match.comm"),
        ] {
            let error = Rules::compile(&[rule(name, patterns)]).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
