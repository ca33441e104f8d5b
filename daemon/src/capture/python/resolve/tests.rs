#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    ffi::CStr,
    process::{Child, Command, Stdio},
};

use super::*;
use crate::capture::python::elf::Elf;

fn tgid(child: &Child) -> Tgid {
    Tgid(child.id())
}

/// The place of a variable of the C library in this very process, against what the dynamic loader says.
#[test]
fn a_variable_of_a_shared_library_is_where_the_loader_put_it() {
    const NAME: &CStr = c"_IO_2_1_stdout_";
    // SAFETY: the name is a string that ends, and looking up a variable changes nothing.
    let real = unsafe { libc::dlsym(libc::RTLD_DEFAULT, NAME.as_ptr()) } as u64;
    let maps = Process::myself().unwrap().maps().unwrap().0;
    let is_libc = |map: &&MemoryMap| path(map).is_some_and(|path| path.ends_with("/libc.so.6"));
    let libc = maps.iter().find(is_libc).expect("these tests run with glibc");
    let bytes = fs::read(path(libc).unwrap()).unwrap();
    let elf = Elf::parse(&*bytes).unwrap();
    let variable = elf.symbol(NAME.to_str().unwrap()).unwrap();
    let mappings: Vec<Mapping> = maps.iter().map(mapping).collect();
    let places = place::places(&elf.into_segments(), &mappings, (libc.dev, libc.inode), variable.vaddr, variable.bytes);
    assert_eq!(places, [AddressRange::new(real, variable.bytes)]);
}

#[test]
fn what_is_no_python_is_none() {
    let mut resolver = Resolver::default();
    assert_eq!(resolver.resolve(Tgid(std::process::id())), Ok(None));
    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    assert_eq!(resolver.resolve(tgid(&child)), Ok(None));
    // Without another file to read: the answer is known.
    let known = resolver.files.len();
    assert_eq!(resolver.resolve(tgid(&child)), Ok(None));
    assert_eq!(resolver.files.len(), known);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_process_that_ended_is_gone() {
    let mut child = Command::new("true").stdout(Stdio::null()).spawn().unwrap();
    let mut resolver = Resolver::default();
    let is_zombie = || Process::new(i32::try_from(child.id()).unwrap()).unwrap().stat().unwrap().state == 'Z';
    while !is_zombie() {
        std::thread::yield_now();
    }
    assert_eq!(resolver.resolve(tgid(&child)), Err(Unresolved::Gone));
    child.wait().unwrap();
    assert_eq!(resolver.resolve(tgid(&child)), Err(Unresolved::Gone));
    assert_eq!(resolver.resolve(Tgid(u32::MAX)), Err(Unresolved::Gone));
}

#[test]
fn a_file_that_was_changed_is_another_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "one").unwrap();
    let before = FileKey::of(&fs::metadata(&file).unwrap());
    // The change time has the granularity of a timer tick.
    std::thread::sleep(std::time::Duration::from_millis(20));
    fs::write(&file, "two").unwrap();
    assert_ne!(FileKey::of(&fs::metadata(&file).unwrap()), before);
}
