//! What must hold for any input that strangers control. The programs in `daemon/fuzz/` try it on inputs of a fuzzer's making, the tests
//! below on those in `daemon/fuzz/seeds/` and on damaged ones.
//!
//! Not only that nothing fails: limits are kept, another parser reads the same, and what is written can be read back.

use std::fmt::Write;

use procfs::FromRead;
use procfs::process::Stat;

use crate::capture::kernel::btf::Btf;
use crate::capture::python;
use crate::capture::script::script;
use crate::config::{Config, MAX_CELLS};
use crate::label::identity::{HostContainer, IMAGE_CHARS, Identity, NAME_CHARS, Named, QUOTE, source_of};
use crate::label::proc::cgroup_of;
use crate::metrics::text::push_escaped;
use crate::serve;
use crate::untrusted::harmless;
use crate::verify::proc::{migrations, switches};

/// Panics if something does not hold for an input.
pub type Check = fn(&[u8]);

/// What is tried, by the name of the program and of the directory with seeds.
pub const SUBJECTS: [(&str, Check); 9] = [
    ("elf", python::fuzz::elf),
    ("places", python::fuzz::places),
    ("maps", python::fuzz::mappings),
    ("mounts", python::fuzz::mounts),
    ("process", process),
    ("btf", btf),
    ("config", config),
    ("web", serve::fuzz::web),
    ("http", serve::fuzz::http),
];

/// Tries one subject.
///
/// # Panics
/// If something does not hold, or there is no such subject.
pub fn run(subject: &str, data: &[u8]) {
    let found = SUBJECTS.iter().find(|(name, _)| *name == subject);
    assert!(found.is_some(), "no subject is called {subject}");
    found.inspect(|(_, check)| check(data));
}

/// How often an input is to be repeated, and what: a first line like `*1000` says it. So inputs of a few bytes reach limits of megabytes.
pub(crate) fn repetition(data: &[u8]) -> (u32, &[u8]) {
    let line = data.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let times = line.strip_prefix(b"*").and_then(|digits| str::from_utf8(digits).ok()?.parse().ok());
    times.map_or((1, data), |times| (times, data.get(line.len() + 1..).unwrap_or_default()))
}

/// The input repeated as it says, with the number of the repetition for each `#`; not much more than `most` bytes.
pub(crate) fn repeated(data: &[u8], most: u64) -> Vec<u8> {
    let (times, pattern) = repetition(data);
    if times == 1 {
        return pattern.to_vec();
    }
    let mut text = Vec::new();
    for time in 0..times {
        if pattern.is_empty() || text.len() as u64 >= most {
            break;
        }
        let mut parts = pattern.split(|byte| *byte == b'#');
        text.extend_from_slice(parts.next().unwrap_or_default());
        for part in parts {
            text.extend_from_slice(time.to_string().as_bytes());
            text.extend_from_slice(part);
        }
    }
    text
}

/// Numbers from an input, zeros after its end.
pub(crate) struct Numbers<'a>(pub(crate) &'a [u8]);

impl Numbers<'_> {
    pub(crate) fn byte(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or(0)
    }

    pub(crate) fn word(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }
}

/// The texts of `/proc` about a process of a name and in a cgroup of the stranger's choice: its name first, up to a line feed of two, then
/// its cgroup. It cannot hide its state or its counters behind them, and the label made of them can be shown.
fn process(data: &[u8]) {
    let end = data.windows(2).position(|pair| pair == b"\n\n").unwrap_or(data.len());
    let name: Vec<u8> = data[..end].iter().copied().filter(|byte| *byte != 0).take(15).collect();
    let path: Vec<u8> = data[end..].iter().copied().filter(|byte| !matches!(byte, 0 | b'\n')).collect();

    for (state, has_ended) in [(b'S', false), (b'Z', true)] {
        let text = [b"77 (", name.as_slice(), b") ", &[state], b" 76 77 77 0 -1 4194560", &b" 0".repeat(43), b"\n"].concat();
        assert_eq!(python::fuzz::has_ended(&text), has_ended);
        let Ok(stat) = Stat::from_read(text.as_slice()) else { panic!("no stat: {}", text.escape_ascii()) };
        assert_eq!((stat.pid, stat.state, stat.ppid), (77, char::from(state), 76));
        assert_eq!(stat.comm, String::from_utf8_lossy(&name));
        label(&Identity { comm: stat.comm, cgroup: cgroup_of(&[b"0::/", path.as_slice(), b"\n"].concat()), ..Identity::default() });
    }
    label(&Identity { exe: Some(String::from_utf8_lossy(&path).into_owned()), ..Identity::default() });
    let script = script("bash", &[b"bash\0", path.as_slice(), b"\0"].concat());
    label(&Identity { exe: Some("/bin/bash".to_owned()), script, ..Identity::default() });
    let container = Some(HostContainer { name: "docker:web".to_owned(), image: Some(String::from_utf8_lossy(&path).into_owned()) });
    label(&Identity { cgroup: format!("/docker/{}", "0".repeat(64)), container, ..Identity::default() });
    let cgroup = cgroup_of(&[b"4:cpu:/\n1:name=systemd:/", path.as_slice(), b"\n0::/\n"].concat());
    assert_eq!(cgroup, format!("/{}", String::from_utf8_lossy(&path)));

    // In these two texts the kernel escapes what ends a line.
    let escaped: Vec<u8> =
        name.iter().flat_map(|byte| if byte.is_ascii_control() { b"\\n".to_vec() } else { vec![*byte] }).collect();
    let status =
        [b"Name:\t", escaped.as_slice(), b"\nUmask:\t0022\nvoluntary_ctxt_switches:\t41\nnonvoluntary_ctxt_switches:\t7\n"]
            .concat();
    assert_eq!(switches(&status), (41, 7));
    let sched = [name.as_slice(), b" (77, #threads: 1)\n---\nse.exec_start   :   5.5\nse.nr_migrations   :   42\n"].concat();
    assert_eq!(migrations(&sched), Some(42));
}

/// A label is printable and not too long, and is read from the exposition as it was written; a name tells its source.
fn label(identity: &Identity) {
    let Named { name, source, origin } = Config::default().rules.name_of(identity);
    assert_eq!(source_of(&name), source);
    label_value(&name, NAME_CHARS);
    if let Some(image) = &origin.image {
        label_value(image, IMAGE_CHARS);
    }
}

fn label_value(value: &str, chars: usize) {
    assert!(!value.is_empty() && value.chars().count() <= chars && harmless(value) == value && !value.contains(QUOTE));
    let (mut escaped, mut read) = (String::new(), String::new());
    push_escaped(&mut escaped, value);
    let mut rest = escaped.chars();
    while let Some(c) = rest.next() {
        assert!(c != '"' && c != '\n');
        read.push(if c == '\\' { rest.next().map_or('?', |c| if c == 'n' { '\n' } else { c }) } else { c });
    }
    assert_eq!(read, value);
}

/// Reads a configuration. One that is taken has values within the bounds, and rules whose names can be shown.
fn config(data: &[u8]) {
    // The limit of a file is tested where it is read; compiling a thousand patterns takes a fuzzer seconds.
    let Ok(text) = String::from_utf8(repeated(data, 1 << 15)) else { return };
    let config = match Config::parse(&text) {
        Ok(config) => config,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert!((1..MAX_CELLS).contains(&config.max_workloads) && (64..=1 << 22).contains(&config.max_threads));
    assert!(
        config
            .own_cost
            .is_none_or(|cost| cost.window.as_secs() >= 1 && cost.window <= cost.every && cost.every.as_secs() <= 86_400)
    );
    let names = config.rules.names();
    assert!(names.len() <= config.max_workloads as usize);
    let mut described = String::new();
    for name in names {
        assert!(!name.is_empty() && name.chars().count() <= NAME_CHARS && !name.contains(|c: char| c.is_control() || c == QUOTE));
        assert!(write!(described, "{name}").is_ok());
    }
    for exe in [None, Some("/usr/bin/python3.11".to_owned()), Some(described)] {
        let cgroup = "/system.slice/shop.service".into();
        let identity = Identity { comm: "python3".into(), exe, cgroup, script: Some("worker.py".into()), ..Identity::default() };
        let matched = config.rules.first_match(&identity);
        assert!(matched.is_none_or(|name| config.rules.name_of(&identity).name == name));
    }
}

/// Reads type information: any, and some that describes known structs, whose members are where it puts them.
fn btf(data: &[u8]) {
    if let Ok(btf) = Btf::parse(repeated(data, 1 << 20)) {
        for of in ["task_struct", "a", ""] {
            for path in [&["pid"][..], &["se", "sum_exec_runtime"], &["b", "c"], &[""]] {
                btf.member(of, path);
            }
        }
        btf.tracepoint_arguments("sched_switch");
        btf.has_enumerator("BPF_FUNC_ktime_get_ns");
    }
    let structs = Structs::of(&mut Numbers(data));
    let Ok(btf) = Btf::parse(structs.encoded()) else { panic!("this is valid: {structs:?}") };
    for of in 0..structs.0.len() {
        for wanted in 1..=NAMES {
            let found = btf.member(&format!("s{of}"), &[&name(wanted)]).map(|member| member.bit_offset);
            assert_eq!(found, structs.find(of, wanted), "s{of}, {}, {structs:?}", name(wanted));
        }
    }
}

/// Members have one of so many names, or none.
const NAMES: u8 = 7;

fn name(number: u8) -> String {
    format!("m{number}")
}

/// Structs of members: a name or 0 for none, an offset in bits, and the struct that it is, one before; `None` for a number.
#[derive(Debug)]
struct Structs(Vec<Vec<(u8, u32, Option<usize>)>>);

impl Structs {
    fn of(numbers: &mut Numbers<'_>) -> Structs {
        let mut structs = Vec::new();
        for index in 0..usize::from(numbers.byte() % 12) {
            let members = 0..numbers.byte() % 5;
            let target = |byte: u8| (byte & 1 == 1 && index > 0).then(|| usize::from(byte / 2) % index.max(1));
            structs.push(members.map(|_| (numbers.byte() % (NAMES + 1), numbers.byte().into(), target(numbers.byte()))).collect());
        }
        Structs(structs)
    }

    /// The offset of the first member of this name, those of members without one included.
    fn find(&self, of: usize, wanted: u8) -> Option<u32> {
        self.0[of].iter().find_map(|(name, offset, target)| match (*name, *target) {
            (name, _) if name == wanted => Some(*offset),
            (0, Some(inner)) => Some(offset + self.find(inner, wanted)?),
            _ => None,
        })
    }

    /// As the kernel writes them: a header, the types from 1 on, the names.
    fn encoded(&self) -> Vec<u8> {
        let mut strings = vec![0];
        let mut add_string = |text: String| {
            let offset = strings.len();
            strings.extend(text.into_bytes());
            strings.push(0);
            offset
        };
        let names: Vec<usize> = std::iter::once(0).chain((1..=NAMES).map(|number| add_string(name(number)))).collect();
        let mut words = vec![add_string("int".to_owned()), 1 << 24, 4, 32];
        for (index, members) in self.0.iter().enumerate() {
            words.extend([add_string(format!("s{index}")), 4 << 24 | members.len(), 64]);
            for (name, offset, target) in members {
                words.extend([names[usize::from(*name)], target.map_or(1, |target| target + 2), *offset as usize]);
            }
        }
        let bytes_of =
            |words: Vec<usize>| words.into_iter().flat_map(|word| word.to_le_bytes().into_iter().take(4)).collect::<Vec<_>>();
        let types = bytes_of(words);
        let header = bytes_of(vec![0x1_eb9f, 24, 0, types.len(), types.len(), strings.len()]);
        [header, types, strings].concat()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::PathBuf;

    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    fn fuzz_dir() -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz")
    }

    /// The seeds of a subject, past failures among them, in the order of their names.
    fn seeds(subject: &str) -> Vec<(PathBuf, Vec<u8>)> {
        let mut paths: Vec<PathBuf> =
            fs::read_dir(fuzz_dir().join("seeds").join(subject)).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
    }

    #[test]
    fn every_seed_holds() {
        for (subject, check) in SUBJECTS {
            let seeds = seeds(subject);
            assert!(seeds.len() >= 3, "{subject} has {} seeds", seeds.len());
            for (path, seed) in seeds {
                println!("{}", path.display());
                check(&seed);
            }
        }
    }

    #[test]
    fn every_subject_has_a_program_and_every_program_a_subject() {
        let names = |dir: &str| -> BTreeSet<String> {
            let files = fs::read_dir(fuzz_dir().join(dir)).unwrap();
            files.map(|file| file.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned()).collect()
        };
        let subjects: BTreeSet<String> = SUBJECTS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(names("fuzz_targets"), subjects);
        assert_eq!(names("seeds"), subjects);
    }

    #[test]
    fn a_line_says_how_often_an_input_is_repeated() {
        assert_eq!(repeated(b"*3\na#b\n", 100), b"a0b\na1b\na2b\n");
        assert_eq!(repeated(b"*4000000000\n12345", 12).len(), 15);
        assert_eq!(repeated(b"*x\n#", 100), b"*x\n#");
        assert_eq!(repeated(b"*9", 100), b"");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        /// Without a fuzzer: bytes changed, removed, or taken twice.
        #[test]
        fn damaged_seeds_hold(
            subject in any::<Index>(),
            seed in any::<Index>(),
            changes in prop::collection::vec((any::<Index>(), any::<u8>()), 0..8),
            part in any::<(Index, Index)>(),
            is_removed in any::<bool>(),
        ) {
            let (name, check) = SUBJECTS[subject.index(SUBJECTS.len())];
            // Those that are large once repeated take too long to be tried often.
            let seeds: Vec<Vec<u8>> = seeds(name).into_iter().map(|(_, seed)| seed).filter(|seed| !seed.is_empty() && !seed.starts_with(b"*")).collect();
            let mut data = seeds[seed.index(seeds.len())].clone();
            for (at, byte) in changes {
                let length = data.len();
                data[at.index(length)] = byte;
            }
            let (first, second) = (part.0.index(data.len()), part.1.index(data.len()));
            let part = first.min(second)..first.max(second);
            if is_removed {
                data.drain(part);
            } else {
                data.extend_from_within(part);
            }
            check(&data);
        }
    }
}
