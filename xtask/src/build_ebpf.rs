//! `cargo xtask build-ebpf`: the committed BPF object, from its sources.
//!
//! In reading order: [`toolchain`] finds compilers that can build it, [`recipe`] is the build itself, [`stamp`] ties the object to its
//! sources.

mod recipe;
mod stamp;
mod toolchain;

use std::fs;

use anyhow::{Context, Result, bail};
use stamp::{OBJECT, STAMP, Stamp};
pub(crate) use toolchain::{BPF_LINKER, DEBIAN_PACKAGES, NIGHTLY, Toolchain};

use crate::workspace::{self, read_text, root};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Write nothing; fail if the committed object is not what the sources build.
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let toolchain = Toolchain::find()?;
    if arguments.check { check(&toolchain) } else { write(&toolchain) }
}

fn write(toolchain: &Toolchain) -> Result<()> {
    let object = recipe::build(toolchain)?;
    let stamp = Stamp::of(root(), &object, &toolchain.versions)?;
    // The stamp comes last: if this is interrupted, it does not fit, and the tests say so.
    workspace::write(OBJECT, &object)?;
    workspace::write(STAMP, stamp.to_string())?;
    println!("{OBJECT}: {} bytes, built by {}", object.len(), toolchain.versions.join(", "));
    Ok(())
}

/// Fails if the committed object is not what its sources build.
pub(crate) fn check(toolchain: &Toolchain) -> Result<()> {
    stamp::verify(root())?;
    let object = recipe::build(toolchain)?;
    if let Some(reason) = incomparable(toolchain)? {
        bail!("{reason}");
    }
    let expected = root().join(OBJECT);
    if fs::read(&expected).with_context(|| format!("cannot read {}", expected.display()))? != object {
        bail!("{OBJECT} is not what its sources build: run `cargo xtask build-ebpf`");
    }
    println!("{OBJECT} is what its sources build");
    Ok(())
}

/// Why this toolchain cannot verify the committed object, if it can't: other versions give other bytes.
pub(crate) fn incomparable(toolchain: &Toolchain) -> Result<Option<String>> {
    let committed: Stamp = read_text(&root().join(STAMP))?.parse()?;
    let (built_by, here) = (committed.versions.join(", "), toolchain.versions.join(", "));
    Ok((built_by != here).then(|| format!("{OBJECT} was built by {built_by}; this host has {here}, which gives other bytes")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use object::build::elf::{Builder, Symbol};
    use object::elf::STB_GLOBAL;
    use schedscope_ebpf::abi::{map, program};

    use super::*;

    /// Global symbols of the committed object in the sections that satisfy the predicate.
    fn symbols(of_section: impl Fn(&str) -> bool) -> BTreeSet<String> {
        let object = fs::read(root().join(OBJECT)).unwrap();
        let builder = Builder::read(object.as_slice()).unwrap();
        let section_of = |symbol: &Symbol<'_>| symbol.section.map(|section| builder.sections.get(section).name.to_string());
        builder
            .symbols
            .iter()
            .filter(|symbol| symbol.st_bind() == STB_GLOBAL && section_of(symbol).is_some_and(|name| of_section(&name)))
            .map(|symbol| symbol.name.to_string())
            .collect()
    }

    #[test]
    fn programs_and_maps_are_those_of_the_contract() {
        let programs = symbols(|section| section.starts_with("tp_btf") || section.starts_with("iter/") || section == "perf_event");
        let meters = program::METERS.map(|(name, _)| name);
        let contract =
            program::HOOKS.iter().chain(&meters).chain([&program::SEED_TASKS, &program::SCHED_WAKEUP, &program::SAMPLE_CPU]);
        assert_eq!(programs, contract.map(|&name| name.to_owned()).collect());
        let maps = symbols(|section| section == "maps" || section == ".maps");
        assert_eq!(maps, map::ALL.iter().map(|&name| name.to_owned()).collect());
    }

    /// Two on one hook would pay for the entry twice and race for the state.
    #[test]
    fn every_hook_has_one_program_of_its_name() {
        for hook in program::HOOKS {
            let section = format!("tp_btf/{hook}");
            assert_eq!(symbols(|name| name == section), BTreeSet::from([hook.to_owned()]));
        }
    }
}
