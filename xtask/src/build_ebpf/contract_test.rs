//! The committed object holds exactly the programs and maps that the contract names.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, fs};

use object::{
    build::elf::{Builder, Symbol},
    elf::STB_GLOBAL,
};
use schedscope_ebpf::abi::{map, program};

use super::OBJECT;
use crate::workspace::root;

/// Global symbols in the sections that satisfy the predicate.
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
fn programs_are_those_of_the_contract() {
    let in_object = symbols(|section| section == "tp_btf" || section.starts_with("tp_btf/") || section.starts_with("iter/"));
    let in_contract = program::HOOKS
        .iter()
        .chain([&program::SEED_TASKS, &program::SCHED_WAKEUP])
        .chain(program::METERS.iter().map(|(name, _)| name))
        .map(|&name| name.to_owned())
        .collect();
    assert_eq!(in_object, in_contract);
}

#[test]
fn every_program_is_attached_to_the_hook_of_its_name() {
    for hook in program::HOOKS {
        let section = format!("tp_btf/{hook}");
        assert_eq!(symbols(|name| name == section), BTreeSet::from([hook.to_owned()]));
    }
}

#[test]
fn maps_are_those_of_the_contract() {
    let in_contract = map::ALL.iter().map(|&name| name.to_owned()).collect();
    assert_eq!(symbols(|section| section == "maps" || section == ".maps"), in_contract);
}
