//! Archives whose bytes follow from their files alone: in the order of their paths, owned by root, all of one time.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

/// What files may be: read by all, and executed too.
pub(crate) const READABLE: u32 = 0o644;
pub(crate) const EXECUTABLE: u32 = 0o755;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    File { mode: u32, content: Vec<u8> },
    Directory { mode: u32 },
}

/// Files by their paths. Directories are not listed but where they are empty or have a mode of their own: what unpacks an archive makes
/// them, and leaves those alone that are there.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Tree(BTreeMap<String, Entry>);

impl Tree {
    pub(crate) fn file(&mut self, path: impl Into<String>, mode: u32, content: impl Into<Vec<u8>>) {
        self.0.insert(path.into(), Entry::File { mode, content: content.into() });
    }

    pub(crate) fn directory(&mut self, path: impl Into<String>, mode: u32) {
        self.0.insert(path.into(), Entry::Directory { mode });
    }

    /// The same below a directory.
    pub(crate) fn below(self, directory: &str) -> Tree {
        Tree(self.0.into_iter().map(|(path, entry)| (format!("{directory}/{path}"), entry)).collect())
    }

    /// As a compressed archive. Every entry has the same time, in seconds since 1970.
    pub(crate) fn tar_gz(&self, seconds: u64) -> Result<Vec<u8>> {
        // No name, no time and no operating system.
        let mut archive = Builder::new(GzBuilder::new().write(Vec::new(), Compression::best()));
        for (path, entry) in &self.0 {
            append(&mut archive, path, entry, seconds).with_context(|| format!("cannot pack {path}"))?;
        }
        Ok(archive.into_inner()?.finish()?)
    }

    /// Writes the files into a directory, which is made anew.
    pub(crate) fn write_to(&self, directory: &Path) -> Result<()> {
        if directory.exists() {
            fs::remove_dir_all(directory).with_context(|| format!("cannot remove {}", directory.display()))?;
        }
        for (path, entry) in &self.0 {
            let path = directory.join(path);
            write(&path, entry).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}

/// Without the name and the time that gzip would note.
pub(crate) fn gz(content: &[u8]) -> Result<Vec<u8>> {
    let mut packed = GzBuilder::new().write(Vec::new(), Compression::best());
    packed.write_all(content)?;
    Ok(packed.finish()?)
}

fn append(archive: &mut Builder<impl io::Write>, path: &str, entry: &Entry, seconds: u64) -> io::Result<()> {
    let (kind, mode, content): (_, _, &[u8]) = match entry {
        Entry::File { mode, content } => (EntryType::Regular, *mode, content),
        Entry::Directory { mode } => (EntryType::Directory, *mode, &[]),
    };
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_mtime(seconds);
    header.set_uid(0);
    header.set_gid(0);
    header.set_username("root")?;
    header.set_groupname("root")?;
    header.set_size(content.len() as u64);
    archive.append_data(&mut header, path, content)
}

fn write(path: &Path, entry: &Entry) -> io::Result<()> {
    let mode = match entry {
        Entry::File { mode, content } => {
            fs::create_dir_all(path.parent().unwrap_or(path))?;
            fs::File::create(path)?.write_all(content)?;
            mode
        }
        Entry::Directory { mode } => {
            fs::create_dir_all(path)?;
            mode
        }
    };
    fs::set_permissions(path, Permissions::from_mode(*mode))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use proptest::collection::btree_map;
    use proptest::prelude::*;

    use super::*;

    /// Path, mode, owner, time and content.
    type Unpacked = (String, u32, [u64; 2], u64, Vec<u8>);

    /// Every entry of an archive, in its order.
    fn unpacked(archive: &[u8]) -> Vec<Unpacked> {
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(archive));
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            let (header, path) = (entry.header(), entry.path().unwrap().to_str().unwrap().to_owned());
            let owner = [header.uid().unwrap(), header.gid().unwrap()];
            (path, header.mode().unwrap(), owner, header.mtime().unwrap(), content)
        });
        entries.collect()
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_out_sorted_and_the_bytes_do_not_depend_on_the_order(
            files in btree_map("[a-z]{1,8}(/[a-z]{1,60}){0,3}", (prop_oneof![Just(READABLE), Just(EXECUTABLE)], ".{0,40}"), 0..8),
            seconds in 0..u64::from(u32::MAX),
        ) {
            let (mut tree, mut reversed) = (Tree::default(), Tree::default());
            for (path, (mode, content)) in &files {
                tree.file(path, *mode, content.as_bytes());
            }
            for (path, (mode, content)) in files.iter().rev() {
                reversed.file(path, *mode, content.as_bytes());
            }
            let archive = tree.tar_gz(seconds).unwrap();
            prop_assert_eq!(&archive, &reversed.tar_gz(seconds).unwrap());
            let expected: Vec<_> = files
                .into_iter()
                .map(|(path, (mode, content))| (path, mode, [0, 0], seconds, content.into_bytes()))
                .collect();
            prop_assert_eq!(unpacked(&archive), expected);
        }
    }

    #[test]
    fn a_directory_keeps_its_mode_in_an_archive_and_on_the_disk() {
        let mut tree = Tree::default();
        tree.directory("tmp", 0o1777);
        tree.file("bin/a", EXECUTABLE, "a");
        assert_eq!(unpacked(&tree.tar_gz(7).unwrap())[1], ("tmp".to_owned(), 0o1777, [0, 0], 7, Vec::new()));
        let dir = tempfile::tempdir().unwrap();
        tree.below("root").write_to(&dir.path().join("made")).unwrap();
        let mode = |path: &str| fs::metadata(dir.path().join("made/root").join(path)).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode("tmp"), mode("bin/a")), (0o1777, EXECUTABLE));
    }
}
