//! What identifies a process, and what a workload may be called.

use crate::values::values;

/// The workload that holds everything without a name of its own.
pub const OTHER: &str = "other";
pub(crate) const KERNEL: &str = "kernel";
pub(crate) const NAME_CHARS: usize = 96;
/// No name contains it: Grafana puts selected names between quotes in queries, and escapes backslashes in them but not quotes.
pub(crate) const QUOTE: char = '"';

values! {
    /// Where a name comes from.
    pub enum NameSource {
        /// It is [`OTHER`].
        Other = "other",
        /// A rule of the configuration.
        Rule = "rule",
        /// A systemd unit.
        Unit = "unit",
        /// A container.
        Container = "container",
        /// The executable, or the thread name where there is none.
        Executable = "executable",
        /// Kernel threads.
        Kernel = "kernel",
    }
}

/// What is known about a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    pub comm: String,
    /// Path of its executable; `None` if it has none or may not be read.
    pub exe: Option<String>,
    /// Path of its cgroup; empty if unknown.
    pub cgroup: String,
    pub is_kernel_thread: bool,
}

impl Identity {
    /// Name of the executable; that of the main thread where there is none.
    pub(crate) fn executable(&self) -> &str {
        let Some(path) = &self.exe else { return &self.comm };
        path.rsplit('/').find(|part| !part.is_empty()).unwrap_or(&self.comm)
    }
}

/// A name, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    /// Printable, without double quotes, not empty, at most [`NAME_CHARS`] characters.
    pub name: String,
    pub source: NameSource,
}

impl Named {
    /// Processes choose their names freely: unprintable characters are replaced, and one that is called `other` is counted there.
    pub(crate) fn new(name: &str, source: NameSource) -> Named {
        let name = printable(name);
        let source = if name == OTHER { NameSource::Other } else { source };
        Named { name, source }
    }
}

/// The name with everything replaced that cannot be shown.
pub(super) fn printable(name: &str) -> String {
    let clean = |c: char| match c {
        QUOTE => '\'',
        c if c.is_control() => '?',
        c => c,
    };
    let clean: String = name.trim().chars().take(NAME_CHARS).map(clean).collect();
    if clean.is_empty() { "unnamed".to_owned() } else { clean }
}
