//! Programs of the cells under names of their own, so that rules of the daemon tell the cells apart.
//!
//! All cells of a runtime are the same program. An interpreter is called by a symbolic link, which gives all its processes the
//! link's name; the native program has a hard link for each cell.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result};

use crate::lab::cell::Cell;

/// Names that the daemon has room for beside those of other programs on the host; it can tell 63 apart.
pub(super) const NAMES: usize = 48;
const NAMES_MAX: usize = 63;
const _: () = assert!(NAMES < NAMES_MAX);

/// Gives each cell a program of its own in `directory`.
pub(super) fn give(cells: &[Cell], directory: &Path) -> Result<Vec<Cell>> {
    fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let named = cells.iter().enumerate().map(|(number, cell)| {
        // At most 15 bytes, as the kernel keeps no more of a process's name.
        let program = directory.join(format!("lab-cell-{number}"));
        let made = if cell.is_native() {
            // A link saves megabytes for each cell; on another file system it takes a copy.
            fs::hard_link(&cell.program, &program).or_else(|_| fs::copy(&cell.program, &program).map(drop))
        } else {
            symlink(&cell.program, &program)
        };
        made.with_context(|| format!("cannot create {} for {}", program.display(), cell.program.display()))?;
        let mut arguments = cell.arguments.clone();
        if !cell.is_native() {
            // Workers take names of their own otherwise.
            arguments.push("--keep-process-names".into());
        }
        Ok(Cell { program, arguments, ..cell.clone() })
    });
    named.collect()
}

/// The daemon's configuration for cells that [`give`] has named.
pub(super) fn configuration(cells: &[Cell]) -> String {
    // The own cost more often than usual, so that there is something to see within minutes.
    let mut text = format!("max_workloads = {NAMES_MAX}\nown_cost = {{ window_seconds = 1, every_seconds = 10 }}\n");
    for cell in cells {
        let file = cell.program.file_name().unwrap_or_default().to_string_lossy();
        // A hard link has a path of its own, whatever its threads call themselves; of a symbolic one the kernel keeps the name.
        let pattern = if cell.is_native() { format!("exe = \"*/{file}\"") } else { format!("comm = \"{file}\"") };
        let _ = write!(text, "\n[[workload]]\nname = \"{}\"\nmatch = {{ {pattern} }}\n", cell.label());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::lab::cell::{NATIVE, tests};
    use crate::label::identity::Identity;

    #[test]
    fn the_daemon_takes_the_rules_and_tells_the_cells_apart() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("program");
        fs::write(&program, "text").unwrap();
        let cells = [("3.13.1t", "hash", "threads"), ("3.13.1t", "hash", "serial"), (NATIVE, "native-hash", "threads")]
            .map(|(runtime, task, model)| Cell { program: program.clone(), ..tests::cell(runtime, task, model) });
        let named = give(&cells, &directory.path().join("names")).unwrap();
        assert!(named.iter().all(|cell| fs::read_to_string(&cell.program).unwrap() == "text"));
        let file = directory.path().join("daemon.toml");
        fs::write(&file, configuration(&named)).unwrap();
        let rules = Config::read(&file).unwrap().rules;
        assert_eq!(rules.names(), named.iter().map(Cell::label).collect::<Vec<_>>());
        for cell in &named {
            let name = cell.program.file_name().unwrap().to_str().unwrap().to_owned();
            assert!(name.len() + "9999".len() <= 15, "{name}: the kernel keeps no more");
            let exe = cell.program.canonicalize().unwrap().to_str().unwrap().to_owned();
            let identity = Identity { comm: name, exe: Some(exe), ..Identity::default() };
            assert_eq!(rules.first_match(&identity), Some(cell.label().as_str()));
        }
    }
}
