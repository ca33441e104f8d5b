//! The kernels that schedscope promises to run on, taken from Debian and kept in a cache.
//!
//! A cached image is used as long as its SHA-256 is the one noted when it was fetched; apt checks the package it comes from against the
//! archive's signature. No hash is committed: the archive replaces a package with every security fix and drops the old one.

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::architecture::Architecture;
use crate::debian::{self, Archive, Release};
use crate::workspace::{files_below, target_dir};

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kernel {
    /// Its first two numbers.
    pub version: &'static str,
    pub release: Release,
}

/// All of them, oldest first. sid moves on to newer kernels by itself; the report names the one that it has.
pub(crate) const KERNELS: [Kernel; 4] = [
    Kernel { version: "5.10", release: Release { suite: "bullseye", has_security: true } },
    Kernel { version: "6.1", release: Release { suite: "bookworm", has_security: true } },
    Kernel { version: "6.12", release: Release { suite: "trixie", has_security: true } },
    Kernel { version: "7.2", release: Release { suite: "sid", has_security: false } },
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
pub(crate) fn obtain(kernel: &Kernel, architecture: Architecture, mirror: Option<&str>, refresh: bool) -> Result<Image> {
    let dir = dir_of(kernel, architecture);
    if !refresh && let Some(image) = cached(&dir) {
        return Ok(image);
    }
    println!("fetching Linux {} from Debian {}", kernel.version, kernel.release.suite);
    let image = fetch(kernel.release, architecture, mirror, &dir).or_else(|error| {
        // The archive of an old release may list what it has no longer.
        ensure!(kernel.release.has_security, error);
        println!("without its security updates, since {error:#}");
        fetch(Release { has_security: false, ..kernel.release }, architecture, mirror, &dir)
    });
    let image = image.with_context(|| format!("cannot fetch Linux {} from Debian {}", kernel.version, kernel.release.suite))?;
    if !image.version.starts_with(&format!("{}.", kernel.version)) {
        println!("note: Debian {} has moved on from Linux {} to {}", kernel.release.suite, kernel.version, image.version);
    }
    Ok(image)
}

/// The cached image, if it is intact.
pub(crate) fn cached(dir: &Path) -> Option<Image> {
    let mut image: Image = serde_json::from_slice(&fs::read(dir.join("image.json")).ok()?).ok()?;
    image.path = dir.join("vmlinuz");
    (sha256(&image.path).ok()? == image.sha256).then_some(image)
}

/// Where the cache has a kernel.
pub(crate) fn dir_of(kernel: &Kernel, architecture: Architecture) -> PathBuf {
    cache_dir().join(architecture.suffixed(kernel.version))
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

fn fetch(release: Release, architecture: Architecture, mirror: Option<&str>, dir: &Path) -> Result<Image> {
    let archive = Archive::open(release, architecture.debian(), mirror)?;
    let mut name = format!("linux-image-cloud-{}", architecture.debian());
    let mut description = archive.describe(&name)?;
    // The package of that name depends on the one of the day, which may depend on another that has the image.
    for prefix in ["linux-image-", "linux-binary-"] {
        let dependency = debian::dependencies(&description).find(|name| name.starts_with(prefix)).map(ToOwned::to_owned);
        if let Some(dependency) = dependency {
            description = archive.describe(&dependency)?;
            name = dependency;
        }
    }
    let contents = tempfile::tempdir().context("cannot create a temporary directory")?;
    archive.unpack(&name, contents.path())?;
    // In `/boot`, or in `/usr/lib/modules/VERSION` since 7.0.
    let is_image = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz"));
    let source = files_below(contents.path())?.into_iter().find(is_image).context("the package has no kernel image in it")?;
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let path = dir.join("vmlinuz");
    fs::copy(&source, &path).with_context(|| format!("cannot write {}", path.display()))?;
    let version = debian::field(&description, "Version").context("the index gives no version")?.to_owned();
    let image = Image { package: name, version, sha256: sha256(&path)?, path };
    // Last, since it is what makes the cache valid.
    let note = dir.join("image.json");
    fs::write(&note, serde_json::to_vec_pretty(&image)?).with_context(|| format!("cannot write {}", note.display()))?;
    Ok(image)
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
}
