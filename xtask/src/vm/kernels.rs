//! The kernels that schedscope promises to run on, taken from Debian and kept in a cache.
//!
//! A cached image is used as long as its SHA-256 is the one noted when it was fetched; apt checked the package it came from against
//! the archive's signature. No hash is committed: the archive replaces a package with every security fix and drops the old one.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::apt::{Apt, Mirrors};
use crate::workspace::{output, run, target_dir};

/// A kernel line that is tested, oldest first.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kernel {
    /// Its first two numbers.
    pub version: &'static str,
    /// Debian release that has it.
    pub suite: &'static str,
    /// That release gets security updates from an archive of its own.
    pub has_security: bool,
}

/// All of them. sid moves on to newer kernels by itself; what it has is what the report names.
pub(crate) const KERNELS: [Kernel; 4] = [
    Kernel { version: "5.10", suite: "bullseye", has_security: true },
    Kernel { version: "6.1", suite: "bookworm", has_security: true },
    Kernel { version: "6.12", suite: "trixie", has_security: true },
    Kernel { version: "7.2", suite: "sid", has_security: false },
];

/// What the cache holds of a kernel.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Image {
    /// Package that the image came from.
    pub package: String,
    /// Its version in Debian.
    pub version: String,
    /// SHA-256 of the package, as the signed index gives it.
    pub package_sha256: String,
    /// SHA-256 of the image.
    pub sha256: String,
    /// The bootable image.
    #[serde(skip)]
    pub path: PathBuf,
}

/// The kernels of that name: `5.10`, `oldest`, `newest`; all of them for no name.
pub(crate) fn select(names: &[String]) -> Result<Vec<&'static Kernel>> {
    let find = |name: &String| match name.as_str() {
        "oldest" => Ok(&KERNELS[0]),
        "newest" => Ok(&KERNELS[KERNELS.len() - 1]),
        _ => KERNELS.iter().find(|kernel| kernel.version == name).with_context(|| {
            let known: Vec<&str> = KERNELS.iter().map(|kernel| kernel.version).collect();
            format!("no kernel {name} here: choose from {}, oldest, newest", known.join(", "))
        }),
    };
    let mut chosen: Vec<&Kernel> =
        if names.is_empty() { KERNELS.iter().collect() } else { names.iter().map(find).collect::<Result<_>>()? };
    chosen.dedup();
    Ok(chosen)
}

/// Gets a kernel's image, from the cache unless it is asked to look for a newer one.
pub(crate) fn obtain(kernel: &Kernel, mirror: Option<&str>, refresh: bool) -> Result<Image> {
    let dir = cache_dir().join(kernel.version);
    if !refresh && let Some(image) = cached(&dir) {
        return Ok(image);
    }
    println!("fetching Linux {} from Debian {}", kernel.version, kernel.suite);
    let image = fetch(kernel, &Mirrors::find(mirror)?, &dir)
        .with_context(|| format!("cannot fetch Linux {} from Debian {}", kernel.version, kernel.suite))?;
    if !image.version.starts_with(&format!("{}.", kernel.version)) {
        println!("note: Debian {} has moved on from Linux {} to {}", kernel.suite, kernel.version, image.version);
    }
    Ok(image)
}

/// The cached image, if it is whole.
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

fn fetch(kernel: &Kernel, mirrors: &Mirrors, dir: &Path) -> Result<Image> {
    let work = tempfile::tempdir().context("cannot create a temporary directory")?;
    let apt = Apt::new(work.path(), mirrors, kernel.suite, kernel.has_security)?;
    apt.update()?;
    let architecture = debian_architecture()?;
    let mut package = apt.package(&format!("linux-image-cloud-{architecture}"))?;
    // The package of that name depends on the one of the day, which may depend on another that has the image.
    for prefix in ["linux-image-", "linux-binary-"] {
        if let Some(name) = package.dependency(prefix) {
            package = apt.package(name)?;
        }
    }
    let file = apt.download(&package.name)?;
    let found = sha256(&file)?;
    if found != package.sha256 {
        bail!("{} has SHA-256 {found} and the index says {}: try again", package.name, package.sha256);
    }
    let contents = work.path().join("contents");
    run(Command::new("dpkg-deb").arg("--extract").arg(&file).arg(&contents))?;
    let source = image_in(&contents)?;
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let path = dir.join("vmlinuz");
    fs::copy(&source, &path).with_context(|| format!("cannot write {}", path.display()))?;
    let image =
        Image { sha256: sha256(&path)?, package: package.name, version: package.version, package_sha256: package.sha256, path };
    // Last, since it is what makes the cache valid.
    let note = dir.join("image.json");
    fs::write(&note, serde_json::to_vec_pretty(&image)?).with_context(|| format!("cannot write {}", note.display()))?;
    Ok(image)
}

/// The image among a package's files: in `/boot`, or in `/usr/lib/modules/VERSION` since 7.0.
fn image_in(contents: &Path) -> Result<PathBuf> {
    let mut dirs = vec![contents.join("boot")];
    dirs.extend(fs::read_dir(contents.join("usr/lib/modules")).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())));
    let files = dirs.iter().filter_map(|dir| fs::read_dir(dir).ok()).flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let mut images = files.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz")));
    images.next().context("the package has no kernel image in it")
}

fn debian_architecture() -> Result<String> {
    Ok(output(Command::new("dpkg").arg("--print-architecture"))
        .context("getting kernels needs Debian or Ubuntu")?
        .trim()
        .to_owned())
}

fn sha256(path: &Path) -> Result<String> {
    let content = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(format!("{:x}", Sha256::digest(&content)))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
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
        let image = Image {
            package: "p".into(),
            version: "1".into(),
            package_sha256: String::new(),
            sha256: sha256(&path).unwrap(),
            path: path.clone(),
        };
        fs::write(dir.path().join("image.json"), serde_json::to_vec(&image).unwrap()).unwrap();
        assert_eq!(cached(dir.path()).unwrap().version, "1");
        fs::write(&path, "kernex").unwrap();
        assert!(cached(dir.path()).is_none());
    }

    #[test]
    fn the_image_is_found_where_either_layout_has_it() {
        for place in ["boot/vmlinuz-5.10.0-cloud", "usr/lib/modules/7.2.1/vmlinuz"] {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join(place);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            assert!(image_in(dir.path()).is_err());
            fs::write(&file, "").unwrap();
            assert_eq!(image_in(dir.path()).unwrap(), file);
        }
    }
}
