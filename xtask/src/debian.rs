//! Packages of Debian's releases, for any of its architectures. apt gets them with its state in a directory of its own: the system's
//! sources stay untouched, and so does what is installed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::workspace::{output, run, unpack_package};

const NO_MIRROR: &str = "the apt sources of this host name no mirror of Debian";
/// Debian's keys, with which every release is signed.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Release {
    pub suite: &'static str,
    /// It gets security updates from an archive of its own.
    pub has_security: bool,
}

/// The packages of a release for one architecture.
pub(crate) struct Archive(TempDir, &'static str);

impl Archive {
    /// Gets the lists of packages, from the given mirror or from those that the host's own sources name.
    pub(crate) fn open(release: Release, architecture: &'static str, mirror: Option<&str>) -> Result<Self> {
        ensure!(Path::new(KEYRING).exists(), "no {KEYRING}: install the package debian-archive-keyring");
        let dir = tempfile::tempdir().context("cannot create a temporary directory")?;
        for part in ["sources", "lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(dir.path().join(part)).with_context(|| format!("cannot create {part} for apt"))?;
        }
        fs::write(dir.path().join("sources/debian.sources"), sources(release, mirror)?).context("cannot write apt's sources")?;
        fs::write(dir.path().join("status"), "").context("cannot write apt's list of what is installed")?;
        let archive = Self(dir, architecture);
        run(archive.apt("apt-get").args(["--quiet=2", "update"]))?;
        Ok(archive)
    }

    /// What the index says of the newest version of a package.
    pub(crate) fn describe(&self, name: &str) -> Result<String> {
        output(self.apt("apt-cache").args(["show", "--no-all-versions", name]))
    }

    /// Unpacks a package's files into a directory.
    pub(crate) fn unpack(&self, name: &str, into: &Path) -> Result<()> {
        unpack_package(&mut self.apt("apt-get"), name, into)
    }

    /// Unpacks packages and all that they depend on, the first of several choices. `except` is what is not needed of that.
    pub(crate) fn unpack_all(&self, names: &[&str], except: &[&str], into: &Path) -> Result<()> {
        let mut wanted: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut seen: BTreeSet<String> = except.iter().map(ToString::to_string).collect();
        while let Some(name) = wanted.pop() {
            if !seen.insert(name.clone()) {
                continue;
            }
            wanted.extend(dependencies(&self.describe(&name)?).map(ToOwned::to_owned));
            self.unpack(&name, into)?;
        }
        Ok(())
    }

    /// A program of apt's with its state in the directory.
    fn apt(&self, program: &str) -> Command {
        let (dir, architecture) = (self.0.path().display(), self.1);
        let mut command = Command::new(program);
        for option in [
            format!("APT::Architecture={architecture}"),
            "Dir::Etc::sourcelist=/dev/null".to_owned(),
            format!("Dir::Etc::sourceparts={dir}/sources"),
            format!("Dir::State={dir}"),
            format!("Dir::State::status={dir}/status"),
            format!("Dir::Cache={dir}/cache"),
            // apt would give up root for a user who cannot read the directory.
            "APT::Sandbox::User=root".to_owned(),
            // Only the lists of packages.
            "Acquire::Languages=none".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
            "Acquire::IndexTargets::deb::CNF::DefaultEnabled=false".to_owned(),
            // A release that is no longer supported has an index that is past its date.
            "Acquire::Check-Valid-Until=false".to_owned(),
        ] {
            command.arg("--option").arg(option);
        }
        command.env("LC_ALL", "C");
        command
    }
}

/// apt's sources for a release.
fn sources(release: Release, mirror: Option<&str>) -> Result<String> {
    let suite = release.suite;
    let stanza =
        |uri: &str, suite: &str| format!("Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: main\nSigned-By: {KEYRING}\n\n");
    if let Some(uri) = mirror {
        return Ok(stanza(uri, suite));
    }
    let uris = repositories().context("getting packages of Debian needs apt: run it on Debian or Ubuntu")?;
    let main = archive(&uris, "debian").context(format!("{NO_MIRROR}: give one with --mirror URI"))?;
    let security = archive(&uris, "debian-security").filter(|_| release.has_security);
    let security = security.map(|uri| stanza(uri, &format!("{suite}-security")));
    Ok(stanza(main, suite) + &security.unwrap_or_default())
}

/// The mirror of Debian that the host's own sources name.
pub(crate) fn mirror() -> Result<String> {
    Ok(archive(&repositories()?, "debian").context(NO_MIRROR)?.to_owned())
}

/// The repositories that the host's own sources name, one in a line.
fn repositories() -> Result<String> {
    let mut command = Command::new("apt-get");
    output(command.args(["indextargets", "--no-release-info", "--format", "$(REPO_URI)", "Created-By: Packages"]))
}

/// One of Debian's archives in a list of repositories, by the name that it has on every mirror.
fn archive<'a>(uris: &'a str, name: &str) -> Option<&'a str> {
    uris.lines().map(str::trim).find(|uri| uri.trim_end_matches('/').rsplit('/').next() == Some(name))
}

pub(crate) fn field<'a>(description: &'a str, name: &str) -> Option<&'a str> {
    description.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// The packages that this one depends on, of several choices the first.
pub(crate) fn dependencies(description: &str) -> impl Iterator<Item = &str> {
    let fields = ["Pre-Depends", "Depends"].into_iter().filter_map(|name| field(description, name));
    fields.flat_map(|field| field.split(',')).filter_map(|choices| choices.split(['|', ' ', ':']).find(|word| !word.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_known_by_the_name_of_the_archive() {
        let uris = "https://packages.example/tools/\nhttp://mirror.example/debian/\nhttp://mirror.example/debian-security/\n";
        assert_eq!(archive(uris, "debian"), Some("http://mirror.example/debian/"));
        assert_eq!(archive(uris, "debian-security"), Some("http://mirror.example/debian-security/"));
        assert_eq!(archive("http://mirror.example/ubuntu/\n", "debian"), None);
    }

    #[test]
    fn the_first_of_several_choices_is_what_a_package_depends_on() {
        let text = "Package: a\nDepends: b (>= 2), c:any | d,\nPre-Depends: e\nRecommends: f\n";
        assert_eq!(dependencies(text).collect::<Vec<_>>(), ["e", "b", "c"]);
        assert_eq!(dependencies("Package: a\n").count(), 0);
    }
}
