//! `cargo xtask dist`: packages by which schedscope is installed without a compiler.
//!
//! [`build`] makes the program, [`manuals`] and [`licences`] what goes with it, [`contents`] says where each file belongs. [`archive`]
//! packs them; [`deb`] and [`wheel`] have cargo-deb and maturin do it. [`trial`] installs each package where nothing else is, and [`pod`] runs
//! the image as Kubernetes does.

mod archive;
mod build;
mod contents;
mod deb;
mod licences;
mod manuals;
mod pod;
mod trial;
mod wheel;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;
use std::{env, fs};

use anyhow::{Context, Result, bail, ensure};
use build::Build;
use sha2::{Digest, Sha256};

use crate::architecture::Architecture;
use crate::outcome::{self, Line, Outcome};
use crate::workspace::{read_text, root, target_dir};

/// What checks the packages after they were copied: `sha256sum --check`.
const SUMS: &str = "SHA256SUMS";
const CONTAINERFILE: &str = "Containerfile";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Directory for the packages [default: target/packages, target/packages-aarch64 for that]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The processor to build for
    #[arg(long, value_name = "NAME", default_value = env::consts::ARCH)]
    arch: Architecture,
    /// Then install each package where nothing else is, and trace with it; needs root
    #[arg(long)]
    test: bool,
}

/// What packages are made of, and where they go.
struct Packaging {
    build: Build,
    program: Vec<u8>,
    directory: PathBuf,
}

/// How making a package ended.
enum Made {
    File(PathBuf),
    /// What there is not, and how to get it.
    Without(String),
}

struct Kind {
    name: &'static str,
    make: fn(&Packaging) -> Result<Made>,
    /// Installs it where nothing else is.
    trial: fn(&Packaging, &Path) -> Result<Outcome>,
    trial_name: &'static str,
}

const KINDS: [Kind; 5] = [
    Kind { name: "archive", make: archive, trial: trial::archive, trial_name: "archive in an empty root" },
    Kind { name: "image", make: image, trial: trial::image, trial_name: "image's root" },
    Kind { name: "Helm chart", make: helm_chart, trial: trial::helm_chart, trial_name: "Helm chart rendered" },
    Kind { name: "Debian package", make: deb::make, trial: trial::deb, trial_name: "Debian package in Debian" },
    Kind { name: "wheel", make: wheel::make, trial: trial::wheel, trial_name: "wheel in a fresh environment" },
];

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let build = Build::of_this_commit(arguments.arch)?;
    let out = arguments.out.clone().unwrap_or_else(|| target_dir().join(arguments.arch.suffixed("packages")));
    let directory = std::path::absolute(&out).with_context(|| format!("there is no path {}", out.display()))?;
    fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let program = build.program()?;
    println!(
        "schedscope {} for {}: {:.2} MiB, static",
        build.version,
        build.architecture.name(),
        program.len() as f64 / f64::from(1 << 20)
    );

    let packaging = Packaging { build, program, directory };
    let mut lines = Vec::new();
    if let Some(most) = packaging.build.most_bytes() {
        record(&mut lines, "size", || {
            ensure!(packaging.program.len() <= most, "the program has {} bytes, more than {most}", packaging.program.len());
            Ok(Outcome::passed())
        });
    }
    let mut files = Vec::new();
    for kind in &KINDS {
        record(&mut lines, kind.name, || match (kind.make)(&packaging)? {
            Made::File(path) => {
                files.push((kind, path));
                Ok(Outcome::passed())
            }
            Made::Without(reason) => Ok(Outcome::Skipped { reason, is_avoidable: true }),
        });
    }
    write_sums(&packaging.directory, files.iter().map(|(_, path)| path.as_path()))?;
    if arguments.test {
        for (kind, path) in &files {
            record(&mut lines, kind.trial_name, || (kind.trial)(&packaging, path));
        }
    }
    println!("\n{}\n", outcome::table(&lines));
    for (_, path) in &files {
        println!("{}", path.display());
    }
    if lines.iter().any(|line| matches!(line.outcome, Outcome::Failed { .. })) {
        bail!("not all packages are as they should be");
    }
    Ok(())
}

fn record(lines: &mut Vec<Line>, name: &'static str, action: impl FnOnce() -> Result<Outcome>) {
    println!("\n== {name}");
    let start = Instant::now();
    let outcome = action().unwrap_or_else(|error| Outcome::failed(&error));
    let in_ci = env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false");
    let outcome = if in_ci { outcome.without_avoidable_skips() } else { outcome };
    println!("-- {name}: {}", outcome.word());
    lines.push(Line { name, outcome, seconds: start.elapsed().as_secs_f64() });
}

/// To be unpacked into /usr/local, or anywhere.
fn archive(packaging: &Packaging) -> Result<Made> {
    let name = packaging.build.named("-linux");
    let tree = contents::installed(packaging)?.below(&name);
    packaging.write(&format!("{name}.tar.gz"), &tree.tar_gz(packaging.build.epoch)?)
}

/// The root of a container, and what makes an image of it.
fn image(packaging: &Packaging) -> Result<Made> {
    let tree = contents::image(packaging)?;
    packaging.write(CONTAINERFILE, read_text(&root().join("packaging").join(CONTAINERFILE))?.as_bytes())?;
    packaging.write(&packaging.build.named("-rootfs.tar.gz"), &tree.tar_gz(packaging.build.epoch)?)
}

/// Called as Helm calls the archives that it makes itself.
fn helm_chart(packaging: &Packaging) -> Result<Made> {
    packaging.write(&format!("schedscope-{}.tgz", packaging.build.version), &contents::chart()?.tar_gz(packaging.build.epoch)?)
}

impl Packaging {
    fn write(&self, name: &str, content: &[u8]) -> Result<Made> {
        let path = self.directory.join(name);
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Made::File(path))
    }
}

/// Writes the checksums of the packages just made.
fn write_sums<'a>(directory: &Path, files: impl Iterator<Item = &'a Path>) -> Result<()> {
    let mut files: Vec<&Path> = files.collect();
    files.sort_unstable();
    let mut text = String::new();
    for path in files {
        let content = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        writeln!(text, "{:x}  {name}", Sha256::digest(&content))?;
    }
    let path = directory.join(SUMS);
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}
