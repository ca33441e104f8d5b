//! The kernels that schedscope promises to run on, taken from Debian and kept in a cache.
//!
//! apt gets them, with its state in a directory of its own: other Debian releases, and the system's sources untouched. A cached image
//! is used as long as its SHA-256 is the one noted when it was fetched; apt checks the package it comes from against the archive's
//! signature. No hash is committed: the archive replaces a package with every security fix and drops the old one.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::workspace::{files_below, output, run, target_dir, unpack_package};

const NO_MIRROR: &str = "the apt sources of this host name no mirror of Debian";
/// Debian's keys, with which every release is signed.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kernel {
    /// Its first two numbers.
    pub version: &'static str,
    pub suite: &'static str,
    /// That release gets security updates from an archive of its own.
    has_security: bool,
}

/// All of them, oldest first. sid moves on to newer kernels by itself; the report names the one that it has.
pub(crate) const KERNELS: [Kernel; 4] = [
    Kernel { version: "5.10", suite: "bullseye", has_security: true },
    Kernel { version: "6.1", suite: "bookworm", has_security: true },
    Kernel { version: "6.12", suite: "trixie", has_security: true },
    Kernel { version: "7.2", suite: "sid", has_security: false },
];

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Image {
    pub package: String,
    pub version: String,
    sha256: String,
    #[serde(skip)]
    pub path: PathBuf,
}

/// The kernels of these names: `5.10`, `oldest`, `newest`; all of them for no name.
pub(crate) fn select(names: &[String]) -> Result<Vec<&'static Kernel>> {
    let find = |name: &String| match name.as_str() {
        "oldest" => Ok(&KERNELS[0]),
        "newest" => Ok(&KERNELS[KERNELS.len() - 1]),
        _ => KERNELS.iter().find(|kernel| kernel.version == name).with_context(|| {
            let known = KERNELS.map(|kernel| kernel.version).join(", ");
            format!("no kernel {name} here: choose from {known}, oldest, newest")
        }),
    };
    let mut chosen: Vec<&Kernel> =
        if names.is_empty() { KERNELS.iter().collect() } else { names.iter().map(find).collect::<Result<_>>()? };
    chosen.dedup();
    Ok(chosen)
}

/// Gets a kernel's image: from the cache, unless told to look for a newer one.
pub(crate) fn obtain(kernel: &Kernel, mirror: Option<&str>, refresh: bool) -> Result<Image> {
    let dir = cache_dir().join(kernel.version);
    if !refresh && let Some(image) = cached(&dir) {
        return Ok(image);
    }
    println!("fetching Linux {} from Debian {}", kernel.version, kernel.suite);
    let image = fetch(kernel, mirror, &dir)
        .with_context(|| format!("cannot fetch Linux {} from Debian {}", kernel.version, kernel.suite))?;
    if !image.version.starts_with(&format!("{}.", kernel.version)) {
        println!("note: Debian {} has moved on from Linux {} to {}", kernel.suite, kernel.version, image.version);
    }
    Ok(image)
}

/// The cached image, if it is intact.
pub(crate) fn cached(dir: &Path) -> Option<Image> {
    let mut image: Image = serde_json::from_slice(&fs::read(dir.join("image.json")).ok()?).ok()?;
    image.path = dir.join("vmlinuz");
    (sha256(&image.path).ok()? == image.sha256).then_some(image)
}

/// Where downloads are kept: `$XDG_CACHE_HOME/schedscope/vm` if that is set, else among the build products.
pub(crate) fn cache_dir() -> PathBuf {
    let base = env::var_os("XDG_CACHE_HOME").filter(|dir| !dir.is_empty());
    base.map_or_else(|| target_dir().join("vm/cache"), |dir| PathBuf::from(dir).join("schedscope/vm"))
}

fn sha256(path: &Path) -> Result<String> {
    let content = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(format!("{:x}", Sha256::digest(&content)))
}

fn fetch(kernel: &Kernel, mirror: Option<&str>, dir: &Path) -> Result<Image> {
    let work = tempfile::tempdir().context("cannot create a temporary directory")?;
    let work = work.path();
    set_up_apt(work, &sources(kernel, mirror)?)?;
    run(apt("apt-get", work).args(["--quiet=2", "update"]))?;
    let architecture = output(Command::new("dpkg").arg("--print-architecture"))?;
    let mut name = format!("linux-image-cloud-{}", architecture.trim());
    let mut description = describe(work, &name)?;
    // The package of that name depends on the one of the day, which may depend on another that has the image.
    for prefix in ["linux-image-", "linux-binary-"] {
        if let Some(dependency) = dependency(&description, prefix) {
            dependency.clone_into(&mut name);
            description = describe(work, &name)?;
        }
    }
    let contents = work.join("contents");
    unpack_package(&mut apt("apt-get", work), &name, &contents)?;
    // In `/boot`, or in `/usr/lib/modules/VERSION` since 7.0.
    let is_image = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz"));
    let source = files_below(&contents)?.into_iter().find(is_image).context("the package has no kernel image in it")?;
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let path = dir.join("vmlinuz");
    fs::copy(&source, &path).with_context(|| format!("cannot write {}", path.display()))?;
    let version = field(&description, "Version").context("the index gives no version")?.to_owned();
    let image = Image { package: name, version, sha256: sha256(&path)?, path };
    // Last, since it is what makes the cache valid.
    let note = dir.join("image.json");
    fs::write(&note, serde_json::to_vec_pretty(&image)?).with_context(|| format!("cannot write {}", note.display()))?;
    Ok(image)
}

/// apt's sources for a kernel: the given mirror, else those that the host's own sources name.
fn sources(kernel: &Kernel, mirror: Option<&str>) -> Result<String> {
    let stanza =
        |uri: &str, suite: &str| format!("Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: main\nSigned-By: {KEYRING}\n\n");
    if let Some(uri) = mirror {
        return Ok(stanza(uri, kernel.suite));
    }
    let uris = repositories().context("getting kernels needs apt: run it on Debian or Ubuntu")?;
    let main = archive(&uris, "debian").context(format!("{NO_MIRROR}: give one with --mirror URI"))?;
    let security = archive(&uris, "debian-security").filter(|_| kernel.has_security);
    let security = security.map(|uri| stanza(uri, &format!("{}-security", kernel.suite)));
    Ok(stanza(main, kernel.suite) + &security.unwrap_or_default())
}

/// The mirror of Debian that the host's own sources name.
pub(crate) fn debian_mirror() -> Result<String> {
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

fn set_up_apt(dir: &Path, sources: &str) -> Result<()> {
    ensure!(Path::new(KEYRING).exists(), "no {KEYRING}: install the package debian-archive-keyring");
    for part in ["sources", "lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(dir.join(part)).with_context(|| format!("cannot create {}", dir.join(part).display()))?;
    }
    fs::write(dir.join("sources/debian.sources"), sources).context("cannot write apt's sources")?;
    fs::write(dir.join("status"), "").context("cannot write apt's list of what is installed")
}

/// A program of apt's with its state in a directory.
fn apt(program: &str, dir: &Path) -> Command {
    let dir = dir.display();
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

/// What the index says of the newest version of a package.
fn describe(dir: &Path, name: &str) -> Result<String> {
    output(apt("apt-cache", dir).args(["show", "--no-all-versions", name]))
}

fn field<'a>(description: &'a str, name: &str) -> Option<&'a str> {
    description.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// The first package that this one depends on whose name begins so.
fn dependency<'a>(description: &'a str, prefix: &str) -> Option<&'a str> {
    let depends = field(description, "Depends").unwrap_or_default().split([',', '|']);
    depends.filter_map(|word| word.split_whitespace().next()).find(|name| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_chosen_by_name_or_age() {
        let versions = |names: &[&str]| -> Result<Vec<&str>> {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            Ok(select(&names)?.iter().map(|kernel| kernel.version).collect())
        };
        assert_eq!(versions(&[]).unwrap().len(), KERNELS.len());
        assert_eq!(versions(&["oldest", "newest"]).unwrap(), ["5.10", "7.2"]);
        assert_eq!(versions(&["6.1", "6.1"]).unwrap(), ["6.1"]);
        assert!(versions(&["4.19"]).unwrap_err().to_string().contains("6.12"));
    }

    #[test]
    fn a_damaged_image_is_not_taken_from_the_cache() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vmlinuz");
        fs::write(&path, "kernel").unwrap();
        let image = Image { package: "p".into(), version: "1".into(), sha256: sha256(&path).unwrap(), path: path.clone() };
        fs::write(dir.path().join("image.json"), serde_json::to_vec(&image).unwrap()).unwrap();
        assert_eq!(cached(dir.path()).unwrap().version, "1");
        fs::write(&path, "kernex").unwrap();
        assert!(cached(dir.path()).is_none());
    }

    #[test]
    fn mirrors_are_known_by_the_name_of_the_archive() {
        let uris = "https://packages.example/tools/\nhttp://mirror.example/debian/\nhttp://mirror.example/debian-security/\n";
        assert_eq!(archive(uris, "debian"), Some("http://mirror.example/debian/"));
        assert_eq!(archive(uris, "debian-security"), Some("http://mirror.example/debian-security/"));
        assert_eq!(archive("http://mirror.example/ubuntu/\n", "debian"), None);
    }

    #[test]
    fn a_dependency_is_found_by_the_beginning_of_its_name() {
        let show =
            "Package: linux-image-7.2\nVersion: 7.2-1\nDepends: kmod | initramfs-tools (>= 0.1), linux-binary-7.2 (= 7.2-1)\n";
        assert_eq!(dependency(show, "linux-binary-"), Some("linux-binary-7.2"));
        assert_eq!(dependency(show, "linux-image-"), None);
    }
}
