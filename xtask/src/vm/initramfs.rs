//! The machine's files: this program as `/init`, the programs under test at the paths they have here, and their shared libraries.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use cpio::NewcBuilder;

use crate::workspace::{find_program, output};

/// Modes of the entries, as in stat(2).
const DIRECTORY: u32 = 0o040_755;
const FILE: u32 = 0o100_755;
const LINK: u32 = 0o120_777;
const CONSOLE: u32 = 0o020_600;

/// Content of an archive, by absolute path.
#[derive(Default)]
pub(crate) struct Initramfs {
    files: BTreeMap<PathBuf, (u32, Vec<u8>)>,
}

impl Initramfs {
    /// Adds a file with this content.
    pub(crate) fn add(&mut self, path: &str, content: Vec<u8>) {
        self.files.insert(PathBuf::from(path), (FILE, content));
    }

    /// Adds a program of the host with its shared libraries, at its own path and as `/bin/NAME`. Test programs look for others at the
    /// paths that they had when they were compiled.
    pub(crate) fn add_program(&mut self, path: &Path) -> Result<()> {
        let name = path.file_name().context("a program without a name")?;
        for library in libraries(path)? {
            let content = fs::read(&library).with_context(|| format!("cannot read {}", library.display()))?;
            self.files.insert(library, (FILE, content));
        }
        self.files.insert(Path::new("/bin").join(name), (LINK, path.as_os_str().as_bytes().to_vec()));
        self.files.insert(path.to_owned(), (FILE, stripped(path)?));
        Ok(())
    }

    /// Makes a program the first process.
    pub(crate) fn set_init(&mut self, path: &Path) {
        self.files.insert(PathBuf::from("/init"), (LINK, path.as_os_str().as_bytes().to_vec()));
    }

    /// The archive, in the form that the kernel unpacks.
    pub(crate) fn archive(&self) -> Result<Vec<u8>> {
        let mut archive = Vec::new();
        for (number, (path, mode, content)) in (1..).zip(self.entries()) {
            let name = path.strip_prefix("/").unwrap_or(path).to_string_lossy().into_owned();
            let mut entry = NewcBuilder::new(&name).ino(number).mode(mode).nlink(1);
            if mode == CONSOLE {
                entry = entry.rdev_major(5).rdev_minor(1);
            }
            let size = u32::try_from(content.len()).with_context(|| format!("{} is too large", path.display()))?;
            let mut writer = entry.write(&mut archive, size);
            writer.write_all(content)?;
            writer.finish()?;
        }
        cpio::newc::trailer(&mut archive)?;
        Ok(archive)
    }

    /// Everything with the directories it needs before it. The console is what the first process has for standard streams.
    fn entries(&self) -> impl Iterator<Item = (&Path, u32, &[u8])> {
        let console = Path::new("/dev/console");
        let paths = self.files.keys().map(PathBuf::as_path).chain([console]);
        let directories: BTreeSet<&Path> =
            paths.flat_map(|path| path.ancestors().skip(1)).filter(|dir| dir.parent().is_some()).collect();
        let directories = directories.into_iter().map(|dir| (dir, DIRECTORY, &[][..]));
        let files = self.files.iter().map(|(path, (mode, content))| (path.as_path(), *mode, content.as_slice()));
        directories.chain([(console, CONSOLE, &[][..])]).chain(files)
    }
}

/// The program without its debugging information, which is most of it; as it is if there is no `strip`.
fn stripped(path: &Path) -> Result<Vec<u8>> {
    let directory = tempfile::tempdir().context("cannot create a temporary directory")?;
    let smaller = directory.path().join("stripped");
    let strip = find_program("strip").map(|strip| output(Command::new(strip).arg("-o").arg(&smaller).arg(path)));
    let chosen = if matches!(strip, Some(Ok(_))) { &smaller } else { path };
    fs::read(chosen).with_context(|| format!("cannot read {}", path.display()))
}

/// Shared libraries that the loader would take, itself included.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let ldd = Command::new("ldd").arg(program).output().context("cannot start ldd")?;
    // It fails for a program that needs none.
    Ok(parse_ldd(&String::from_utf8_lossy(&ldd.stdout)))
}

fn parse_ldd(text: &str) -> Vec<PathBuf> {
    let path = |line: &str| line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from);
    text.lines().filter_map(path).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_each_form_of_line() {
        let text = "\tlinux-vdso.so.1 (0x00007f71)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f71)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f71)\n\tstatically linked\n";
        let expected = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"];
        assert_eq!(parse_ldd(text), expected.map(PathBuf::from));
    }

    #[test]
    fn an_archive_has_the_directories_before_the_files() {
        let mut initramfs = Initramfs::default();
        initramfs.add("/a/b/c", b"content".to_vec());
        initramfs.set_init(Path::new("/a/b/c"));
        let archive = initramfs.archive().unwrap();
        let mut found = Vec::new();
        let mut rest = archive.as_slice();
        loop {
            let reader = cpio::NewcReader::new(rest).unwrap();
            let entry = reader.entry();
            if entry.is_trailer() {
                break;
            }
            found.push((entry.name().to_owned(), entry.mode(), entry.file_size()));
            rest = reader.finish().unwrap();
        }
        let expected =
            [("a", DIRECTORY, 0), ("a/b", DIRECTORY, 0), ("dev", DIRECTORY, 0), ("dev/console", CONSOLE, 0), ("a/b/c", FILE, 7)];
        assert_eq!(found[..5], expected.map(|(name, mode, size)| (name.to_owned(), mode, size)));
        assert_eq!(found[5], ("init".to_owned(), LINK, 6));
    }
}
