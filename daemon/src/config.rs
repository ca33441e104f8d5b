//! The daemon's configuration file.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use crate::files::read_file;
use crate::label::Rules;
use crate::label::rules::Rule;

/// Address without a configuration.
pub(crate) const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9752);
/// Names with series of their own without a configuration, not counting `other`.
pub const DEFAULT_MAX_WORKLOADS: u32 = 32;
/// Workloads that the kernel side has counters for, including `other`.
pub(crate) const MAX_CELLS: u32 = 64;

/// What the file says, checked.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) listen: SocketAddr,
    /// Names with series of their own.
    pub(crate) max_workloads: u32,
    /// Threads traced at once.
    pub(crate) max_threads: u32,
    /// The host's root directory.
    pub(crate) host_root: PathBuf,
    /// When to measure what the BPF programs cost; `None` for never.
    pub(crate) own_cost: Option<OwnCost>,
    pub(crate) rules: Rules,
}

/// When the kernel's BPF statistics are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OwnCost {
    pub(crate) window: Duration,
    pub(crate) every: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    listen: SocketAddr,
    #[serde(deserialize_with = "within::<1, { MAX_CELLS - 1 }, _>")]
    max_workloads: u32,
    #[serde(deserialize_with = "within::<64, 4_194_304, _>")]
    max_threads: u32,
    #[serde(deserialize_with = "absolute")]
    host_root: PathBuf,
    own_cost: OwnCostTable,
    workload: Vec<Spanned<Rule>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct OwnCostTable {
    window_seconds: Spanned<u32>,
    #[serde(deserialize_with = "within::<0, 86_400, _>")]
    every_seconds: u32,
}

impl Default for File {
    fn default() -> Self {
        File {
            listen: DEFAULT_LISTEN,
            max_workloads: DEFAULT_MAX_WORKLOADS,
            max_threads: 16_384,
            host_root: "/".into(),
            own_cost: OwnCostTable::default(),
            workload: Vec::new(),
        }
    }
}

impl Default for OwnCostTable {
    fn default() -> Self {
        OwnCostTable { window_seconds: Spanned::new(0..0, 1), every_seconds: 60 }
    }
}

fn within<'de, const MIN: u32, const MAX: u32, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let value = u32::deserialize(deserializer)?;
    if !(MIN..=MAX).contains(&value) {
        return Err(D::Error::custom(format!("{value} is out of range: use {MIN} to {MAX}")));
    }
    Ok(value)
}

fn absolute<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let path = PathBuf::deserialize(deserializer)?;
    if path.is_absolute() { Ok(path) } else { Err(D::Error::custom(format!("{} does not begin with /", path.display()))) }
}

impl Default for Config {
    fn default() -> Self {
        File::default().into()
    }
}

impl From<File> for Config {
    fn from(file: File) -> Config {
        let OwnCostTable { window_seconds, every_seconds } = file.own_cost;
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        Config {
            listen: file.listen,
            max_workloads: file.max_workloads,
            max_threads: file.max_threads,
            host_root: file.host_root,
            own_cost: (every_seconds > 0)
                .then(|| OwnCost { window: seconds(window_seconds.into_inner()), every: seconds(every_seconds) }),
            rules: Rules(file.workload.into_iter().map(Spanned::into_inner).collect()),
        }
    }
}

impl Config {
    pub(crate) fn read(path: &Path) -> Result<Config> {
        let text = read_file(path).and_then(|text| String::from_utf8(text).map_err(io::Error::other));
        let text = text.with_context(|| format!("cannot read the configuration {}", path.display()))?;
        Config::parse(&text).with_context(|| format!("configuration {}", path.display()))
    }

    pub(crate) fn parse(text: &str) -> Result<Config> {
        // Its errors name line and column, and quote the line.
        let file: File = toml::from_str(text)?;
        let line = |offset: usize| 1 + text.bytes().take(offset).filter(|&byte| byte == b'\n').count();
        let OwnCostTable { window_seconds: window, every_seconds } = &file.own_cost;
        // A window as long as the interval keeps statistics on all the time.
        let longest = (*every_seconds).max(1);
        if !(1..=longest).contains(window.get_ref()) {
            let (line, seconds) = (line(window.span().start), window.get_ref());
            bail!("line {line}: own_cost.window_seconds = {seconds} is out of range: use 1 to {longest}");
        }
        let last_rule = file.workload.last().map_or(0, |rule| rule.span().start);
        let config = Config::from(file);
        let (names, most) = (config.rules.names().len(), config.max_workloads);
        if names > most as usize {
            let line = line(last_rule);
            bail!("line {line}: {names} workload names, but max_workloads is {most}: raise it or join rules");
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::files::MAX_FILE;
    use crate::label::identity::Identity;

    #[test]
    fn the_example_says_what_the_defaults_are() {
        let example = Config::parse(include_str!("../config/schedscope.toml")).unwrap();
        let empty = Config::parse("").unwrap();
        for config in [&example, &empty] {
            let defaults = Config::default();
            assert_eq!(config.listen, defaults.listen);
            assert_eq!((config.max_workloads, config.max_threads), (defaults.max_workloads, defaults.max_threads));
            assert_eq!((&config.host_root, config.own_cost), (&defaults.host_root, defaults.own_cost));
        }
    }

    #[test]
    fn the_rules_of_the_example_work_once_uncommented() {
        let example = include_str!("../config/schedscope.toml");
        let text: Vec<&str> =
            example.lines().map(|line| line.strip_prefix("# ").filter(|l| l.contains(['[', '='])).unwrap_or(line)).collect();
        let (_, rules) = text.split_at(text.iter().position(|line| line.starts_with("[[workload]]")).unwrap());
        let config = Config::parse(&rules.join("\n")).unwrap();
        let python = Identity { exe: Some("/usr/bin/python3.11".into()), ..Identity::default() };
        assert_eq!(config.rules.first_match(&python), Some("python"));
    }

    #[test]
    fn errors_name_line_and_key() {
        for (text, parts) in [
            ("\nlisten = 5", &["line 2", "listen"][..]),
            ("listn = \"127.0.0.1:1\"", &["line 1", "listn"]),
            ("host_root = \"srv\"", &["line 1", "srv does not begin with /"]),
            ("\n\nmax_workloads = 64", &["line 3", "max_workloads = 64", "1 to 63"]),
            ("[own_cost]\nwindow_seconds = 5\nevery_seconds = 2", &["line 2", "own_cost.window_seconds", "1 to 2"]),
            ("\n[[workload]]\nname = \"web\"\nmatch = { com = \"x\" }", &["line 4", "com"]),
            ("\n[[workload]]\nname = \"web\"\nmatch = { comm = \"[x\" }", &["line 2", "\"web\"", "match.comm"]),
            ("max_workloads = 1\n[[workload]]\nname='a'\nmatch={comm='a'}\n[[workload]]\nname='b'\nmatch={comm='b'}", &["line 5"]),
        ] {
            let error = format!("{:#}", Config::parse(text).unwrap_err());
            for part in parts {
                assert!(error.contains(part), "{part} is not in: {error}");
            }
        }
    }

    #[test]
    fn values_on_the_bounds_are_taken() {
        let two = "[[workload]]\nname='a'\nmatch={comm='a'}\n[[workload]]\nname='b'\nmatch={comm='b'}";
        assert_eq!(Config::parse(&format!("max_workloads = 2\n{two}")).unwrap().rules.names(), ["a", "b"]);
        for text in ["max_workloads = 1", "max_workloads = 63", "max_threads = 64", "max_threads = 4194304"] {
            assert!(Config::parse(text).is_ok(), "{text}");
        }
        for text in ["max_workloads = 0", "max_threads = 63", "max_threads = 4194305", "[own_cost]\nwindow_seconds = 0"] {
            assert!(Config::parse(text).is_err(), "{text}");
        }
        let always = Config::parse("[own_cost]\nwindow_seconds = 5\nevery_seconds = 5").unwrap().own_cost.unwrap();
        assert_eq!((always.window.as_secs(), always.every.as_secs()), (5, 5));
        assert_eq!(Config::parse("[own_cost]\nevery_seconds = 0").unwrap().own_cost, None);
    }

    #[test]
    fn the_file_is_named_and_a_pipe_a_device_or_a_huge_one_not_read() {
        let dir = tempfile::TempDir::new().unwrap();
        let [file, pipe, huge] = ["file", "pipe", "huge"].map(|name| dir.path().join(name));
        fs::write(&file, "listen = 5").unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
        fs::File::create(&huge).unwrap().set_len(MAX_FILE + 1).unwrap();
        for (path, part) in [
            (Path::new("/nonexistent/schedscope.toml"), "No such file"),
            (&file, "line 1"),
            (&pipe, "not a regular file"),
            (Path::new("/dev/zero"), "not a regular file"),
            (dir.path(), "not a regular file"),
            (&huge, "larger than 4 MiB"),
        ] {
            let error = format!("{:#}", Config::read(path).unwrap_err());
            assert!(error.contains(path.to_str().unwrap()) && error.contains(part), "{error}");
        }
    }
}
