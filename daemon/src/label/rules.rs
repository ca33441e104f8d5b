//! The name of a process: from the first rule of the configuration whose patterns all match, else from its identity.

use std::borrow::Cow;

use glob::Pattern;
use serde::Deserialize;

use super::cgroup::Place;
use super::identity::{
    AFTER_INTERPRETER, HostContainer, IMAGE_CHARS, Identity, KERNEL, NAME_CHARS, NameSource, Named, OTHER, Origin, QUOTE,
    SEPARATOR, qualifier, source_of,
};
use crate::untrusted::harmless;

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
    /// On the name of the systemd unit; that of a user's own has `user-N/` in front.
    unit: Option<String>,
    /// On the program that an interpreter runs, without its directory.
    script: Option<String>,
}

/// Rules in the order of the configuration.
#[derive(Debug, Default)]
pub(crate) struct Rules(pub Vec<Rule>);

#[derive(Debug, Deserialize)]
#[serde(try_from = "RuleConfig")]
pub(crate) struct Rule {
    name: String,
    patterns: Vec<(Attribute, Pattern)>,
}

/// What a pattern is matched against; `None` matches no pattern.
type Attribute = fn(&Identity) -> Option<Cow<'_, str>>;

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
        let (place, known) = (Place::of(&identity.cgroup), identity.container.as_ref());
        if let Some(name) = self.first_match(identity) {
            Named::of_rule(name)
        } else if identity.is_kernel_thread {
            self.named(KERNEL, NameSource::Kernel)
        } else if let Some((name, source)) = place.name(known) {
            Named { origin: origin(&place, known), ..self.named(&name, source) }
        } else if let Some(script) = identity.script() {
            self.named(&format!("{}{AFTER_INTERPRETER}{script}", identity.executable()), NameSource::Script)
        } else {
            self.named(identity.executable(), NameSource::Executable)
        }
    }

    /// What strangers chose becomes a name that can be shown, with its source in front where it would look like another's.
    fn named(&self, name: &str, source: NameSource) -> Named {
        let name = Some(shown(name, NAME_CHARS)).filter(|name| !name.is_empty()).unwrap_or_else(|| "unnamed".to_owned());
        let is_taken = self.0.iter().any(|rule| rule.name == name);
        let is_own = !is_taken && source_of(&name) == source;
        let name = if is_own { name } else { cut(&format!("{}{SEPARATOR}{name}", source.name()), NAME_CHARS) };
        Named { name, source, origin: Origin::default() }
    }
}

/// What the host's container in front of a place comes from. One within that is in the same pod, and nobody but its owner knows its image.
fn origin(place: &Place<'_>, known: Option<&HostContainer>) -> Origin {
    let Some(container) = place.host_container() else { return Origin::default() };
    let image = known.and_then(|known| known.image.as_deref()).filter(|_| place.container_ids().count() == 1);
    let image = image.map(|image| shown(image, IMAGE_CHARS)).filter(|image| !image.is_empty());
    Origin { pod_uid: container.pod_uid, image }
}

/// The text without what cannot be shown, and with each gap one space, as browsers show it.
fn shown(text: &str, chars: usize) -> String {
    let text = harmless(text.trim()).replace(QUOTE, "'");
    let words: Vec<&str> = text.split_whitespace().collect();
    cut(&words.join(" "), chars)
}

fn cut(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect::<String>().trim_end().to_owned()
}

impl TryFrom<RuleConfig> for Rule {
    type Error = String;

    fn try_from(config: RuleConfig) -> Result<Rule, String> {
        let RuleConfig { name, patterns: Patterns { comm, exe, cgroup, unit, script } } = config;
        if name.contains(QUOTE) {
            return Err(format!(
                "workload name {name:?}: double quotes break Grafana's queries for that workload; write ' instead"
            ));
        }
        if qualifier(&name).is_some() {
            return Err(format!(
                "workload name {name:?}: what is in front of `{SEPARATOR}` would say that it is no rule's; use another character"
            ));
        }
        let is_printable = !name.contains(char::is_control) && name.trim() == name && !name.is_empty();
        if !is_printable || name.chars().count() > NAME_CHARS || name == OTHER {
            return Err(format!(
                "workload name {name:?}: use 1 to {NAME_CHARS} printable characters, and not {OTHER:?}, which holds what no name fits"
            ));
        }
        let keys: [(_, _, Attribute); 5] = [
            ("comm", comm, |identity| Some(identity.comm.as_str().into())),
            ("exe", exe, |identity| identity.exe.as_deref().map(Cow::from)),
            ("cgroup", cgroup, |identity| Some(identity.cgroup.as_str().into())),
            ("unit", unit, |identity| Place::of(&identity.cgroup).unit().map(Cow::from)),
            ("script", script, |identity| identity.script().map(Cow::from)),
        ];
        let mut patterns = Vec::new();
        for (key, pattern, attribute) in keys {
            let Some(pattern) = pattern else { continue };
            let glob =
                Pattern::new(&pattern).map_err(|error| format!("workload {name:?}: `match.{key}` is not a valid glob: {error}"))?;
            if pattern.contains('{') {
                return Err(format!("workload {name:?}: `match.{key}`: write one rule for each alternative instead of braces"));
            }
            patterns.push((attribute, glob));
        }
        if patterns.is_empty() {
            return Err(format!("workload {name:?}: `match` is empty; give at least one of comm, exe, cgroup, unit, script"));
        }
        Ok(Rule { name, patterns })
    }
}

impl Rule {
    fn matches(&self, identity: &Identity) -> bool {
        self.patterns.iter().all(|(attribute, glob)| attribute(identity).is_some_and(|value| glob.matches(&value)))
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

    fn named(name: &str, source: NameSource) -> Named {
        Named { name: name.to_owned(), source, origin: Origin::default() }
    }

    fn python() -> Identity {
        Identity {
            comm: "python3".into(),
            exe: Some("/usr/bin/python3.11".into()),
            cgroup: "/system.slice/shop.service".into(),
            script: Some("worker.py".into()),
            ..Identity::default()
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
        for (key, pattern) in
            [("comm", "pyth*"), ("exe", "/usr/*"), ("cgroup", "/system.slice/*"), ("unit", "shop.*"), ("script", "w*.py")]
        {
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
            ("executable/kernel", "comm = 'x'", "would say that it is no rule's"),
        ] {
            let error = rules(&[(name, patterns)]).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn without_rules_the_unit_goes_before_the_executable() {
        let python = python();
        let in_session = Identity { cgroup: "/user.slice/user-1000.slice/session-3.scope".into(), script: None, ..python.clone() };
        let executable = |exe: Option<&str>| Identity { exe: exe.map(str::to_owned), ..in_session.clone() };
        for (identity, name, source) in [
            (python.clone(), "shop.service", NameSource::Unit),
            (executable(Some("/usr/sbin/nginx")), "nginx", NameSource::Executable),
            (executable(None), "python3", NameSource::Executable),
            // It cannot break out of quotes in a query.
            (executable(Some("/tmp/a\"} or \\ <b>'\u{7}c")), "a'} or \\ <b>'?c", NameSource::Executable),
            (Identity { is_kernel_thread: true, ..python }, "kernel", NameSource::Kernel),
        ] {
            assert_eq!(Rules::default().name_of(&identity), named(name, source));
        }
    }

    #[test]
    fn a_name_that_could_be_anothers_says_where_it_comes_from() {
        let rules = rules(&[("web", "comm = 'the web'"), ("db.service", "comm = 'the db'"), ("it is", "comm = 'it'")]).unwrap();
        let user = "/user.slice/user-7.slice/user@7.service/app.slice/";
        for (exe, cgroup, name, source) in [
            ("python3.11", "/", "python3.11", NameSource::Executable),
            ("kernel", "/", "executable/kernel", NameSource::Executable),
            ("other", "/", "executable/other", NameSource::Executable),
            ("web", "/", "executable/web", NameSource::Executable),
            (" web\t", "/", "executable/web", NameSource::Executable),
            ("it \u{a0}\u{2028}is ", "/", "executable/it is", NameSource::Executable),
            ("web\u{200b}", "/", "web?", NameSource::Executable),
            ("it\nis", "/", "it?is", NameSource::Executable),
            ("sshd.service", "/", "executable/sshd.service", NameSource::Executable),
            ("docker:0123456789ab", "/", "executable/docker:0123456789ab", NameSource::Executable),
            ("x", "/system.slice/db.service", "unit/db.service", NameSource::Unit),
            ("x", "/system.slice/docker:1.service", "docker:1.service", NameSource::Unit),
            ("x", "/lxc.payload.db.service", "container/lxc:db.service", NameSource::Container),
            ("x", &format!("{user}sshd.service"), "user-7/sshd.service", NameSource::User),
            ("x", &format!("{user}web"), "x", NameSource::Executable),
            ("python3 web", "/", "executable/python3 web", NameSource::Executable),
            ("x", "/system.slice/bash x.service", "unit/bash x.service", NameSource::Unit),
            ("x", "/lxc.payload.a b", "lxc:a b", NameSource::Container),
        ] {
            let path = Some(format!("/bin/{exe}"));
            let identity = Identity { comm: "x".into(), exe: path, cgroup: cgroup.into(), ..Identity::default() };
            assert_eq!(rules.name_of(&identity), named(name, source), "{exe} {cgroup}");
        }
        let without_exe = Identity { comm: "user-7/a.scope".into(), ..Identity::default() };
        assert_eq!(rules.name_of(&without_exe).name, "executable/user-7/a.scope");
        assert_eq!(rules.name_of(&Identity { comm: "the web".into(), ..Identity::default() }).source, NameSource::Rule);
    }

    #[test]
    fn an_interpreter_is_called_after_what_it_runs() {
        let rules = rules(&[("web", "comm = 'nobody'"), ("python3 job.py", "script = 'job.p?'")]).unwrap();
        let of = |exe: &str, script: &str, cgroup: &str| {
            let (exe, script) = (Some(format!("/usr/bin/{exe}")), Some(script.to_owned()));
            rules.name_of(&Identity { comm: "x".into(), exe, script, cgroup: cgroup.into(), ..Identity::default() })
        };
        let long = "x".repeat(300);
        for (exe, script, name, source) in [
            ("python3.11", "worker.py", "python3.11 worker.py", NameSource::Script),
            ("java", "com.acme.Main", "java com.acme.Main", NameSource::Script),
            // What looks like another source's name is behind the interpreter's.
            ("bash", "web", "bash web", NameSource::Script),
            ("bash", "sshd.service", "bash sshd.service", NameSource::Script),
            ("bash", "docker:0123456789ab", "bash docker:0123456789ab", NameSource::Script),
            ("bash", " \u{202e}a\"\u{2028}b ", "bash ?a' b", NameSource::Script),
            ("bash", "\u{2028}", "script/bash", NameSource::Script),
            ("bash", &long, &format!("bash {}", &long[..NAME_CHARS - 5]), NameSource::Script),
            // It has become another program since it was asked for.
            ("sleep", "worker.py", "sleep", NameSource::Executable),
            ("python3", "job.py", "python3 job.py", NameSource::Rule),
        ] {
            assert_eq!(of(exe, script, "/"), named(name, source), "{exe} {script}");
        }
        assert_eq!(of("python3", "job.py", "/system.slice/shop.service").name, "python3 job.py", "a rule goes before the unit");
        assert_eq!(of("python3", "worker.py", "/system.slice/shop.service").name, "shop.service", "the unit before the program");
        // A name of a rule is the rule's.
        let rules = self::rules(&[("bash web", "comm = 'nobody'")]).unwrap();
        let bash = Identity { exe: Some("/bin/bash".into()), script: Some("web".into()), ..Identity::default() };
        assert_eq!(rules.name_of(&bash).name, "script/bash web");
        // Whoever has no executable to be read has chosen his name himself.
        let nobody = Identity { comm: "bash".into(), script: Some("web".into()), ..Identity::default() };
        assert_eq!(rules.name_of(&nobody), named("bash", NameSource::Executable));
    }

    #[test]
    fn a_container_has_a_pod_and_an_image_and_what_is_called_otherwise_has_none() {
        let rules = rules(&[("web", "comm = 'the web'")]).unwrap();
        let uid = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9";
        let id = "0123456789abcdef".repeat(4);
        let pod = format!("/kubepods/pod{uid}/{id}");
        let of = |comm: &str, cgroup: &str, image: &str| {
            let container = Some(HostContainer { name: "k8s:shop/web-0/app".into(), image: Some(image.into()) });
            let identity = Identity { comm: comm.into(), cgroup: cgroup.into(), container, ..Identity::default() };
            let Named { name, origin: Origin { pod_uid, image }, .. } = rules.name_of(&identity);
            (name, pod_uid, image)
        };
        let long = "x".repeat(300);
        for (comm, cgroup, image, expected) in [
            ("x", &*pod, "nginx:1.27", ("k8s:shop/web-0/app", Some(uid), Some("nginx:1.27"))),
            ("x", &*format!("/docker/{id}"), "nginx:1.27", ("k8s:shop/web-0/app", None, Some("nginx:1.27"))),
            ("x", &*pod, " a\"\u{202e}b\n", ("k8s:shop/web-0/app", Some(uid), Some("a'?b"))),
            ("x", &*pod, &*long, ("k8s:shop/web-0/app", Some(uid), Some(&long[..IMAGE_CHARS]))),
            ("x", &*pod, " ", ("k8s:shop/web-0/app", Some(uid), None)),
            // That of the container around it is not its own.
            ("x", &*format!("{pod}/lxc.payload.db"), "nginx:1.27", ("k8s:shop/web-0/app/lxc:db", Some(uid), None)),
            ("the web", &*pod, "nginx:1.27", ("web", None, None)),
            ("x", "/system.slice/db.service", "nginx:1.27", ("db.service", None, None)),
            ("x", &*format!("/system.slice/ci.service{pod}"), "nginx:1.27", ("ci.service/container:0123456789ab", None, None)),
            ("x", &*format!("/user.slice/user@7.service{pod}"), "nginx:1.27", ("user-7/container:0123456789ab", None, None)),
            ("x", "/", "nginx:1.27", ("x", None, None)),
        ] {
            let (name, pod_uid, image) = of(comm, cgroup, image);
            assert_eq!((&*name, pod_uid.as_deref(), image.as_deref()), expected, "{comm} {cgroup}");
        }
    }

    /// Names that mean something, and what they are made of.
    fn name_like() -> impl Strategy<Value = String> {
        let parts = "(kernel|other|web|unit|user|executable|container|script|user-7|docker|lxc|bash |python3|[/: \"\u{200b}]|\\.service|\\.scope|a{90}|\\PC)";
        prop::collection::vec(parts, 0..5).prop_map(|parts| parts.concat())
    }

    fn cgroup_like() -> impl Strategy<Value = String> {
        let parts = "(/|/user@7.service/|/lxc.payload.|/docker-[0-9a-f]{64}.scope|\\.slice/)";
        prop::collection::vec(prop_oneof![name_like(), parts.prop_map(|part| part)], 0..6).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn a_name_tells_its_source_and_is_harmless_and_bounded(
            comm in name_like(), exe in prop::option::of(name_like()), cgroup in cgroup_like(), is_kernel_thread in any::<bool>(),
            script in prop::option::of(name_like()), named in name_like(), rule in name_like().prop_map(|name| cut(&name, NAME_CHARS)),
        ) {
            // Nobody is called like that, so the rule matches nobody.
            let table = format!("name = {}\nmatch = {{ comm = 'nobody' }}", toml::Value::from(rule.clone()));
            let rules = Rules(toml::from_str(&table).into_iter().collect());
            let Named { name, source, .. } = {
                let host_container = Place::of(&cgroup).host_container();
                let container = host_container.map(|_| HostContainer { name: format!("docker:{named}"), image: None });
                rules.name_of(&Identity { comm, exe, cgroup, container, is_kernel_thread, script })
            };
            prop_assert_eq!(source_of(&name), source);
            prop_assert!(rules.names().iter().all(|rule| **rule != name));
            prop_assert!(!name.is_empty() && name.chars().count() <= NAME_CHARS);
            prop_assert!(harmless(&name) == name && !name.contains(QUOTE));
        }

        #[test]
        fn nothing_that_a_process_calls_itself_is_a_name_of_the_system_or_of_a_user(
            comm in name_like(), exe in prop::option::of(name_like()), script in prop::option::of(name_like()),
        ) {
            let identity = Identity { comm, exe, cgroup: "/user.slice/x".into(), script, ..Identity::default() };
            let expected = if identity.script().is_some() { NameSource::Script } else { NameSource::Executable };
            let named = Rules::default().name_of(&identity);
            prop_assert_eq!((source_of(&named.name), named.source), (expected, expected));
        }
    }
}
