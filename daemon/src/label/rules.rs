//! The name of a process: from the first rule of the configuration whose patterns all match, else from its identity.

use globset::{Glob, GlobMatcher};
use serde::Deserialize;

use super::{
    cgroup,
    identity::{Identity, KERNEL, NAME_CHARS, NameSource, Named, OTHER, QUOTE, printable},
};

/// A `[[workload]]` table of the configuration.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleConfig {
    /// The value of the `workload` label.
    name: String,
    #[serde(rename = "match")]
    patterns: Patterns,
}

/// Glob patterns, all of which must match. `*` also matches `/`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Patterns {
    /// On the name of the main thread, at most 15 bytes.
    comm: Option<String>,
    /// On the path of the executable.
    exe: Option<String>,
    /// On the path of the cgroup.
    cgroup: Option<String>,
    /// On the name of the systemd unit.
    unit: Option<String>,
}

/// Rules in the order of the configuration.
#[derive(Debug, Default)]
pub(crate) struct Rules(pub Vec<Rule>);

#[derive(Debug, Deserialize)]
#[serde(try_from = "RuleConfig")]
pub(crate) struct Rule {
    name: String,
    patterns: Vec<(Attribute, GlobMatcher)>,
}

/// What a pattern is matched against; `None` matches no pattern.
type Attribute = fn(&Identity) -> Option<&str>;

impl Rules {
    pub(crate) fn names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for rule in &self.0 {
            if !names.contains(&rule.name.as_str()) {
                names.push(rule.name.as_str());
            }
        }
        names
    }

    pub(crate) fn first_match(&self, identity: &Identity) -> Option<&str> {
        self.0.iter().find(|rule| rule.matches(identity)).map(|rule| rule.name.as_str())
    }

    pub(crate) fn name_of(&self, identity: &Identity) -> Named {
        if let Some(name) = self.first_match(identity) {
            Named::new(name, NameSource::Rule)
        } else if identity.is_kernel_thread {
            Named::new(KERNEL, NameSource::Kernel)
        } else if let Some(container) = cgroup::container(&identity.cgroup) {
            Named::new(&container, NameSource::Container)
        } else if let Some(unit) = cgroup::unit(&identity.cgroup) {
            Named::new(unit, NameSource::Unit)
        } else {
            Named::new(identity.executable(), NameSource::Executable)
        }
    }
}

impl TryFrom<RuleConfig> for Rule {
    type Error = String;

    fn try_from(config: RuleConfig) -> Result<Rule, String> {
        let RuleConfig { name, patterns: Patterns { comm, exe, cgroup, unit } } = config;
        if name.contains(QUOTE) {
            return Err(format!(
                "workload name {name:?}: double quotes break Grafana's queries for that workload; write ' instead"
            ));
        }
        if printable(&name) != name || name == OTHER {
            return Err(format!(
                "workload name {name:?}: use 1 to {NAME_CHARS} printable characters, and not {OTHER:?}, which holds what no name fits"
            ));
        }
        let keys: [(_, _, Attribute); 4] = [
            ("comm", comm, |identity| Some(&identity.comm)),
            ("exe", exe, |identity| identity.exe.as_deref()),
            ("cgroup", cgroup, |identity| Some(&identity.cgroup)),
            ("unit", unit, |identity| cgroup::unit(&identity.cgroup)),
        ];
        let mut patterns = Vec::new();
        for (key, pattern, attribute) in keys {
            let Some(pattern) = pattern else { continue };
            let glob =
                Glob::new(&pattern).map_err(|error| format!("workload {name:?}: `match.{key}` is not a valid glob: {error}"))?;
            patterns.push((attribute, glob.compile_matcher()));
        }
        if patterns.is_empty() {
            return Err(format!("workload {name:?}: `match` is empty; give at least one of comm, exe, cgroup, unit"));
        }
        Ok(Rule { name, patterns })
    }
}

impl Rule {
    fn matches(&self, identity: &Identity) -> bool {
        self.patterns.iter().all(|(attribute, glob)| attribute(identity).is_some_and(|value| glob.is_match(value)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Rules as a user writes them: each a name and what is between the braces of `match`.
    fn rules(tables: &[(&str, &str)]) -> Result<Rules, String> {
        let rule = |(name, patterns): &(&str, &str)| toml::from_str(&format!("name = '{name}'\nmatch = {{ {patterns} }}"));
        let rules: Result<_, toml::de::Error> = tables.iter().map(rule).collect();
        rules.map(Rules).map_err(|error| error.to_string())
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
        let rules = rules(&[
            ("ruby", "exe = '*/ruby*'"),
            ("cron-python", "exe = '*/python*', unit = 'cron.*'"),
            ("shop", "exe = '*/python*', unit = 'shop.service'"),
            ("python", "comm = 'python?'"),
        ]);
        let rules = rules.unwrap();
        assert_eq!(rules.first_match(&python()), Some("shop"));
        assert_eq!(rules.first_match(&Identity { cgroup: "/".into(), ..python() }), Some("python"));
        assert_eq!(rules.first_match(&Identity { comm: "sh".into(), exe: None, ..python() }), None);
        assert_eq!(rules.names(), ["ruby", "cron-python", "shop", "python"]);
    }

    #[test]
    fn each_pattern_alone_decides_and_names_are_listed_once() {
        for (key, pattern) in [("comm", "pyth*"), ("exe", "/usr/*"), ("cgroup", "/system.slice/*"), ("unit", "shop.*")] {
            let (fails, fits) = (format!("{key} = 'nothing'"), format!("{key} = '{pattern}'"));
            let rules = rules(&[("no", &fails), ("odd <b>&</b> \\ {},=", &fits), ("odd <b>&</b> \\ {},=", &fits)]);
            let rules = rules.unwrap();
            assert_eq!(rules.first_match(&python()), Some("odd <b>&</b> \\ {},="));
            assert_eq!(rules.names(), ["no", "odd <b>&</b> \\ {},="]);
        }
    }

    #[test]
    fn a_rule_that_cannot_work_is_refused() {
        for (name, patterns, part) in [
            ("other", "comm = 'x'", "\"other\""),
            ("", "comm = 'x'", "printable"),
            ("a\tb", "comm = 'x'", "printable"),
            ("the \"web\"", "comm = 'x'", "workload name \"the \\\"web\\\"\": double quotes"),
            ("web", "", "at least one of"),
        ] {
            let error = rules(&[(name, patterns)]).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn without_rules_the_unit_goes_before_the_executable() {
        let python = python();
        let in_session = Identity { cgroup: "/user.slice/user-1000.slice/session-3.scope".into(), ..python.clone() };
        let executable = |exe: Option<&str>| Identity { exe: exe.map(str::to_owned), ..in_session.clone() };
        for (identity, name, source) in [
            (python.clone(), "shop.service", NameSource::Unit),
            (executable(Some("/usr/sbin/nginx")), "nginx", NameSource::Executable),
            (executable(None), "python3", NameSource::Executable),
            // It cannot pose as `other`, nor break out of quotes in a query.
            (executable(Some("/tmp/other")), "other", NameSource::Other),
            (executable(Some("/tmp/a\"} or \\ <b>'\nc")), "a'} or \\ <b>'?c", NameSource::Executable),
            (Identity { is_kernel_thread: true, ..python }, "kernel", NameSource::Kernel),
        ] {
            assert_eq!(Rules::default().name_of(&identity), Named { name: name.to_owned(), source });
        }
    }

    proptest! {
        #[test]
        fn a_name_is_printable_and_bounded(comm in any::<String>(), exe in any::<Option<String>>(), cgroup in any::<String>()) {
            let Named { name, .. } = Rules::default().name_of(&Identity { comm, exe, cgroup, is_kernel_thread: false });
            prop_assert!(!name.is_empty());
            prop_assert!(name.chars().count() <= NAME_CHARS);
            prop_assert!(!name.contains(|c: char| c.is_control() || c == '"'));
        }
    }
}
