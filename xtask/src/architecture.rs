//! The processors that schedscope is built for.

use std::env;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Architecture {
    #[value(name = "x86_64")]
    X86_64,
    #[value(name = "aarch64")]
    Aarch64,
}

impl Architecture {
    /// As the kernel and Rust have it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// Debian's name for it.
    pub(crate) fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    /// The compiler's target.
    pub(crate) const fn triple(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-linux-gnu",
            Self::Aarch64 => "aarch64-unknown-linux-gnu",
        }
    }

    /// Whether this host runs programs for it.
    pub(crate) fn is_this_hosts(self) -> bool {
        self.name() == env::consts::ARCH
    }

    /// A name with the architecture behind it, if it is another than this host's.
    pub(crate) fn suffixed(self, name: &str) -> String {
        if self.is_this_hosts() { name.to_owned() } else { format!("{name}-{}", self.name()) }
    }
}
