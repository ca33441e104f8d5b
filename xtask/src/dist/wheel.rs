//! A wheel that carries the program, by maturin, as packaging/pyproject.toml says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use toml::{Table, Value};

use super::build::PROFILE;
use super::{Made, Packaging, contents};
use crate::workspace::{files_below, find_program, read_text, root, run};

/// The oldest GNU C library that maturin promises for; it knows no musl for this target.
const COMPATIBILITY: &str = "manylinux_2_17";
/// A static program needs no C library, neither GNU's nor musl.
const SYSTEMS: [&str; 3] = ["manylinux_2_17", "manylinux2014", "musllinux_1_1"];

pub(super) fn make(packaging: &Packaging) -> Result<Made> {
    let Some((maturin, wheel)) = find_program("maturin").zip(find_program("wheel")) else {
        return Ok(Made::Without("no maturin, or no wheel: run `pip install maturin wheel`".to_owned()));
    };
    let build = &packaging.build;
    // Python's packaging takes licences from below the project alone, so there is a directory with them.
    let project = tempfile::tempdir().context("cannot create a temporary directory")?;
    contents::notices(build)?.write_to(&project.path().join("notices"))?;
    fs::write(project.path().join("pyproject.toml"), settings()?).context("cannot write pyproject.toml")?;
    let made = project.path().join("made");

    let mut command = Command::new(maturin);
    build.set(&mut command);
    command.current_dir(project.path()).args(["build", "--locked", "--profile", PROFILE, "--target", build.architecture.triple()]);
    run(command.args(["--compatibility", COMPATIBILITY, "--out"]).arg(&made))?;
    let mut command = Command::new(wheel);
    build.set(&mut command);
    let tags = SYSTEMS.map(|system| format!("{system}_{}", build.architecture.name()));
    command.args(["tags", "--remove", "--platform-tag", &tags.join(".")]);
    run(command.arg(only_file(&made)?))?;

    let file = only_file(&made)?;
    let path = packaging.directory.join(file.file_name().unwrap_or_default());
    fs::copy(&file, &path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Made::File(path))
}

fn only_file(directory: &Path) -> Result<PathBuf> {
    let files = files_below(directory)?;
    let [file] = files.as_slice() else { bail!("there are {} wheels instead of one", files.len()) };
    Ok(file.clone())
}

/// The committed settings, and where this checkout is.
fn settings() -> Result<String> {
    let text = read_text(&root().join("packaging/pyproject.toml"))?;
    let mut settings: Table = text.parse().context("packaging/pyproject.toml is not TOML")?;
    let manifest = Value::from(root().join("daemon/Cargo.toml").display().to_string());
    let maturin = settings.get_mut("tool").and_then(|tool| tool.get_mut("maturin")).and_then(Value::as_table_mut);
    maturin.context("packaging/pyproject.toml has no tool.maturin")?.insert("manifest-path".to_owned(), manifest);
    Ok(settings.to_string())
}
