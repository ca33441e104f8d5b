//! A Debian package, by cargo-deb. What is in it says `[package.metadata.deb]` in daemon/Cargo.toml.

use anyhow::{Result, bail};

use super::build::PROFILE;
use super::{Made, Packaging, contents};
use crate::workspace::{cargo, find_program, run};

/// Where `package.metadata.deb.assets` expects what is made: cargo-deb takes `target/release` for the directory of the build.
const MADE: &str = "made";

pub(super) fn make(packaging: &Packaging) -> Result<Made> {
    if find_program("cargo-deb").is_none() {
        return Ok(Made::Without("no cargo-deb: run `cargo install cargo-deb --locked`".to_owned()));
    }
    let build = &packaging.build;
    contents::documents(build)?.write_to(&build.directory().join(MADE))?;
    let path = packaging.directory.join(format!("schedscope_{}-1_{}.deb", build.version, build.architecture.debian()));
    let mut command = cargo();
    build.set(&mut command);
    command.args(["deb", "--package", "schedscope", "--no-build", "--no-strip", "--locked"]);
    command.args(["--profile", PROFILE, "--target", build.architecture.triple(), "--output"]).arg(&path);
    run(&mut command)?;
    if !path.is_file() {
        bail!("cargo-deb left no {}", path.display());
    }
    Ok(Made::File(path))
}
