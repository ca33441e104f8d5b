//! What identifies a process, and what a workload may be called.

use super::cgroup;
use crate::capture::script::is_interpreter;
use crate::values::values;

/// The workload that holds everything without a name of its own.
pub const OTHER: &str = "other";
pub(super) const KERNEL: &str = "kernel";
pub(crate) const NAME_CHARS: usize = 96;
/// Room for a registry, a long path and a digest of 71.
pub(crate) const IMAGE_CHARS: usize = 256;
/// No name contains it: Grafana puts selected names between quotes in queries, and escapes backslashes in them but not quotes.
pub(crate) const QUOTE: char = '"';
/// Between a name and who gives it. None of an executable, a cgroup or a unit contains it.
pub(super) const SEPARATOR: char = '/';
/// Between an interpreter and the program that it runs. No interpreter's name contains it.
pub(super) const AFTER_INTERPRETER: char = ' ';

values! {
    /// Where a name comes from.
    pub enum NameSource {
        /// It is [`OTHER`].
        Other = "other",
        /// A rule of the configuration.
        Rule = "rule",
        /// A systemd unit of the system.
        Unit = "unit",
        /// A container of the system.
        Container = "container",
        /// A unit or a container that a user has made.
        User = "user",
        /// An interpreter, with the program that it runs.
        Script = "script",
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
    /// What the host knows of the container that the cgroup says; `None` if it knows none.
    pub container: Option<HostContainer>,
    pub is_kernel_thread: bool,
    /// The program that it runs as an interpreter, by its arguments; `None` as long as it is unknown.
    pub script: Option<String>,
}

impl Identity {
    /// Name of the executable; that of the main thread where there is none.
    pub(crate) fn executable(&self) -> &str {
        let Some(path) = &self.exe else { return &self.comm };
        path.rsplit('/').find(|part| !part.is_empty()).unwrap_or(&self.comm)
    }

    /// The program that it runs, if its executable is an interpreter. It was asked for at another time, and may have called exec since.
    pub(super) fn script(&self) -> Option<&str> {
        self.script.as_deref().filter(|_| self.exe.is_some() && is_interpreter(self.executable()))
    }
}

/// What files of the host say of a container. Whoever has started it has chosen both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostContainer {
    /// As `docker:web` or `k8s:namespace/pod/container`.
    pub name: String,
    pub image: Option<String>,
}

/// A name, and where it comes from. No two sources give the same name, see [`source_of`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    /// Harmless, without double quotes, not empty, at most [`NAME_CHARS`] characters.
    pub name: String,
    pub source: NameSource,
    pub origin: Origin,
}

impl Named {
    pub(super) fn of_rule(name: &str) -> Named {
        Named { name: name.to_owned(), source: NameSource::Rule, origin: Origin::default() }
    }
}

/// What a container comes from, as far as it is known; nothing for what is no container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    /// UID of its pod.
    pub pod_uid: Option<String>,
    /// Its image, by what it was started with. Harmless and without double quotes, as names are; at most [`IMAGE_CHARS`] characters.
    pub image: Option<String>,
}

impl Origin {
    /// Forgets what differs in another.
    pub(super) fn keep_common(&mut self, other: &Origin) {
        let Origin { pod_uid, image } = self;
        pod_uid.take_if(|own| other.pod_uid.as_ref() != Some(own));
        image.take_if(|own| other.image.as_ref() != Some(own));
    }
}

/// The source that a name shows, unless a rule has it. A name that shows another source than its own is written with its own in front,
/// so that whoever chooses a name cannot choose one of somebody else's.
pub(crate) fn source_of(name: &str) -> NameSource {
    let (first, is_qualified) = name.split_once(SEPARATOR).map_or((name, false), |(first, _)| (first, true));
    if name == OTHER {
        NameSource::Other
    } else if name == KERNEL {
        NameSource::Kernel
    } else if let Some(source) = qualifier(name) {
        source
    } else if name.split_once(AFTER_INTERPRETER).is_some_and(|(first, _)| is_interpreter(first)) {
        NameSource::Script
    } else if is_qualified && first.starts_with(cgroup::USER) {
        NameSource::User
    } else if cgroup::is_unit(first) {
        NameSource::Unit
    } else if first.contains(cgroup::AFTER_RUNTIME) {
        NameSource::Container
    } else {
        NameSource::Executable
    }
}

/// The source that is written in front of a name.
pub(super) fn qualifier(name: &str) -> Option<NameSource> {
    let (first, _) = name.split_once(SEPARATOR)?;
    NameSource::ALL.into_iter().find(|source| source.name() == first)
}
