//! apt with its state in a directory of our own: other Debian releases, and the system's sources untouched.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::workspace::{output, run};

/// Debian's keys, with which every release is signed.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Where Debian's packages come from on this host.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mirrors {
    main: String,
    security: Option<String>,
}

impl Mirrors {
    /// The one given, else those that the host's own apt sources name.
    pub(crate) fn find(given: Option<&str>) -> Result<Self> {
        if let Some(main) = given {
            return Ok(Self { main: main.to_owned(), security: None });
        }
        let mut command = Command::new("apt-get");
        command.args(["indextargets", "--no-release-info", "--format", "$(REPO_URI)", "Created-By: Packages"]);
        let uris = output(&mut command).context("getting kernels needs apt: run it on Debian or Ubuntu")?;
        Self::among(&uris).context("the apt sources of this host name no mirror of Debian: give one with --mirror URI")
    }

    /// Picks Debian's archives out of a list of repositories, by the names they have on every mirror.
    fn among(uris: &str) -> Option<Self> {
        let named = |name: &str| {
            let is_named = |uri: &&str| uri.trim_end_matches('/').rsplit('/').next() == Some(name);
            uris.lines().map(str::trim).find(is_named).map(ToOwned::to_owned)
        };
        Some(Self { main: named("debian")?, security: named("debian-security") })
    }
}

/// A package as the index describes it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Package {
    pub name: String,
    pub version: String,
    pub sha256: String,
    depends: Vec<String>,
}

impl Package {
    /// Reads the first stanza of `apt-cache show`.
    fn parse(show: &str) -> Option<Self> {
        let stanza = show.split("\n\n").next()?;
        let field = |name: &str| stanza.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let depends = field("Depends").unwrap_or_default().split([',', '|']).filter_map(|word| word.split_whitespace().next());
        Some(Self {
            name: field("Package")?.to_owned(),
            version: field("Version")?.to_owned(),
            sha256: field("SHA256")?.to_owned(),
            depends: depends.map(ToOwned::to_owned).collect(),
        })
    }

    /// The first package it depends on whose name begins so.
    pub(crate) fn dependency(&self, prefix: &str) -> Option<&str> {
        self.depends.iter().map(String::as_str).find(|name| name.starts_with(prefix))
    }
}

/// apt for one release, with its state in a directory of its own.
pub(crate) struct Apt {
    dir: PathBuf,
}

impl Apt {
    pub(crate) fn new(dir: &Path, mirrors: &Mirrors, suite: &str, has_security: bool) -> Result<Self> {
        if !Path::new(KEYRING).exists() {
            bail!("no {KEYRING}: install the package debian-archive-keyring");
        }
        for part in ["sources", "lists/partial", "cache/archives/partial", "download"] {
            fs::create_dir_all(dir.join(part)).with_context(|| format!("cannot create {}", dir.join(part).display()))?;
        }
        let mut sources = stanza(&mirrors.main, suite);
        if let Some(security) = mirrors.security.as_deref().filter(|_| has_security) {
            sources += &stanza(security, &format!("{suite}-security"));
        }
        fs::write(dir.join("sources/debian.sources"), sources).context("cannot write apt sources")?;
        fs::write(dir.join("status"), "").context("cannot write apt's list of what is installed")?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// Reads the index of packages, checking its signature.
    pub(crate) fn update(&self) -> Result<()> {
        run(self.command("apt-get").args(["--quiet=2", "update"]))
    }

    /// The newest version of a package.
    pub(crate) fn package(&self, name: &str) -> Result<Package> {
        let show = output(self.command("apt-cache").args(["show", "--no-all-versions", name]))?;
        Package::parse(&show).with_context(|| format!("the index does not describe {name}"))
    }

    /// Downloads a package, which apt compares with the index, and returns the file.
    pub(crate) fn download(&self, name: &str) -> Result<PathBuf> {
        let dir = self.dir.join("download");
        run(self.command("apt-get").args(["--quiet=2", "download", name]).current_dir(&dir))?;
        let mut files = fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))?;
        Ok(files.next().context("apt-get left no package")??.path())
    }

    fn command(&self, program: &str) -> Command {
        let dir = self.dir.display();
        let mut command = Command::new(program);
        for option in [
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

fn stanza(uri: &str, suite: &str) -> String {
    format!("Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: main\nSigned-By: {KEYRING}\n\n")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_known_by_the_name_of_the_archive() {
        let uris = "https://packages.example/tools/\nhttp://mirror.example/debian/\nhttp://mirror.example/debian-security/\n";
        let expected = Mirrors {
            main: "http://mirror.example/debian/".into(),
            security: Some("http://mirror.example/debian-security/".into()),
        };
        assert_eq!(Mirrors::among(uris), Some(expected));
        assert_eq!(Mirrors::among("http://mirror.example/debian\n").unwrap().security, None);
        assert_eq!(Mirrors::among("http://mirror.example/ubuntu/\n"), None);
    }

    #[test]
    fn a_package_is_read_from_the_first_stanza() {
        let show = "Package: linux-image-7.2\nVersion: 7.2-1\nDepends: kmod | initramfs-tools (>= 0.1), linux-binary-7.2 (= 7.2-1)\n\
                    SHA256: abc\n\nPackage: linux-image-7.2\nVersion: 7.1-1\nSHA256: def\n";
        let package = Package::parse(show).unwrap();
        assert_eq!((package.version.as_str(), package.sha256.as_str()), ("7.2-1", "abc"));
        assert_eq!(package.dependency("linux-binary-"), Some("linux-binary-7.2"));
        assert_eq!(package.dependency("linux-image-"), None);
        assert_eq!(Package::parse("N: no such package\n"), None);
    }
}
