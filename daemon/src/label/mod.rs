//! Which workload a process belongs to.
//!
//! A process gets a name from the first rule of the configuration that matches it; without one from its systemd unit or its
//! container; else from its executable. Kernel threads are `kernel`. Threads follow their process.
//!
//! A name has series of its own once it has a number in [`LabelTable`]. Names from rules have one from the start. Any other
//! name gets one when its threads have used enough CPU time, first come first served while numbers are free; until then, and
//! for ever if none is free, it is counted in `other`. A number is never taken away, so counters never go down. What a name
//! used before it got its number stays in `other`.
//!
//! - [`rules`]: rules of the configuration, compiled.
//! - [`cgroup`]: unit and container from a cgroup path.
//! - [`table`]: names to numbers, bounded.
//! - [`scan`]: thread records to names, reading each process as seldom as possible.
//! - [`proc`]: what `/proc` and the kernel say about a process; the only part that does I/O.

pub mod cgroup;
pub mod proc;
pub mod rules;
pub mod scan;
pub mod table;

pub use rules::{RuleConfig, Rules};
pub use scan::Scanner;
pub use table::LabelTable;

use crate::metrics::catalog;

/// The name of all kernel threads.
pub const KERNEL: &str = "kernel";
/// Names are cut to this many characters.
pub const NAME_CHARS: usize = 96;

/// What no name holds.
const QUOTE: char = '"';

/// What a name was taken from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(usize)]
pub enum NameSource {
    /// It is `other`.
    #[default]
    Other = 0,
    /// A rule of the configuration.
    Rule = 1,
    /// A systemd unit.
    Unit = 2,
    /// A container.
    Container = 3,
    /// The executable, or the thread name where there is none.
    Executable = 4,
    /// Kernel threads.
    Kernel = 5,
}

impl NameSource {
    /// The value of the `source` label.
    pub fn name(self) -> &'static str {
        catalog::NAME_SOURCES[self as usize]
    }
}

/// What is known about a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Name of its main thread.
    pub comm: String,
    /// Path of its executable; `None` if it has none or may not be read.
    pub exe: Option<String>,
    /// Path of its cgroup; empty if unknown.
    pub cgroup: String,
    /// It is a kernel thread.
    pub is_kernel_thread: bool,
}

/// A name, with what it was taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Printable, without double quotes, not empty, at most [`NAME_CHARS`] characters.
    pub name: String,
    /// Where it comes from.
    pub source: NameSource,
}

/// The name of a process.
pub fn name_of(identity: &Identity, rules: &Rules) -> Named {
    let (name, source) = if let Some(name) = rules.first_match(identity) {
        (name.to_owned(), NameSource::Rule)
    } else if identity.is_kernel_thread {
        (KERNEL.to_owned(), NameSource::Kernel)
    } else if let Some(container) = cgroup::container(&identity.cgroup) {
        (container, NameSource::Container)
    } else if let Some(unit) = cgroup::unit(&identity.cgroup) {
        (unit.to_owned(), NameSource::Unit)
    } else {
        (executable(identity).to_owned(), NameSource::Executable)
    };
    let name = printable(&name);
    let source = if name == catalog::OTHER { NameSource::Other } else { source };
    Named { name, source }
}

fn executable(identity: &Identity) -> &str {
    let Some(path) = &identity.exe else { return &identity.comm };
    // The kernel appends this when the file was replaced or removed, as an upgrade does.
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    path.rsplit('/').find(|part| !part.is_empty()).unwrap_or(&identity.comm)
}

/// Names come from processes, which can choose them freely. Without quotes, since Grafana puts a name that a reader selects between
/// quotes in a query and escapes backslashes, but not these.
fn printable(name: &str) -> String {
    let clean = |c: char| match c {
        QUOTE => '\'',
        c if c.is_control() => '?',
        c => c,
    };
    let clean: String = name.trim().chars().take(NAME_CHARS).map(clean).collect();
    if clean.is_empty() { "unnamed".to_owned() } else { clean }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn named(identity: &Identity) -> (String, NameSource) {
        let named = name_of(identity, &Rules::default());
        (named.name, named.source)
    }

    #[test]
    fn without_rules_the_unit_goes_before_the_executable() {
        let mut identity = Identity {
            comm: "nginx".into(),
            exe: Some("/usr/sbin/nginx (deleted)".into()),
            cgroup: "/system.slice/nginx.service".into(),
            is_kernel_thread: false,
        };
        assert_eq!(named(&identity), ("nginx.service".into(), NameSource::Unit));
        identity.cgroup = "/user.slice/user-1000.slice/session-3.scope".into();
        assert_eq!(named(&identity), ("nginx".into(), NameSource::Executable));
        identity.exe = None;
        identity.comm = "worker".into();
        assert_eq!(named(&identity), ("worker".into(), NameSource::Executable));
        identity.is_kernel_thread = true;
        assert_eq!(named(&identity), ("kernel".into(), NameSource::Kernel));
    }

    #[test]
    fn an_executable_cannot_pose_as_a_workload_apart_from_other() {
        let identity = Identity { exe: Some("/tmp/other".into()), ..Identity::default() };
        assert_eq!(named(&identity), ("other".into(), NameSource::Other));
    }

    #[test]
    fn what_a_process_calls_itself_can_stand_between_quotes_in_a_query() {
        let identity = Identity { exe: Some("/tmp/a\"} or \\ <b>'\nc".into()), ..Identity::default() };
        assert_eq!(named(&identity).0, "a'} or \\ <b>'?c");
    }

    proptest! {
        #[test]
        fn a_name_is_printable_and_bounded(comm in any::<String>(), exe in any::<Option<String>>(), cgroup in any::<String>()) {
            let (name, _) = named(&Identity { comm, exe, cgroup, is_kernel_thread: false });
            prop_assert!(!name.is_empty());
            prop_assert!(name.chars().count() <= NAME_CHARS);
            prop_assert!(!name.contains(|c: char| c.is_control() || c == '"'));
        }
    }
}
