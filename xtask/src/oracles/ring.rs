//! The kernel's own events: an instance of ftrace's ring buffer, and what its pages say.
//!
//! Nothing of it is ours: the kernel writes the events and their layout (`events/*/format`, `events/header_page`).

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use regex::Regex;

pub(crate) const TRACEFS: &str = "/sys/kernel/tracing";
/// Events that the replay needs.
const EVENTS: [&str; 11] = [
    "sched/sched_switch",
    "sched/sched_waking",
    "sched/sched_wakeup",
    "sched/sched_wakeup_new",
    "sched/sched_migrate_task",
    "sched/sched_process_fork",
    "sched/sched_process_exec",
    "sched/sched_process_exit",
    "sched/sched_stat_runtime",
    "raw_syscalls/sys_enter",
    "raw_syscalls/sys_exit",
];
/// On any machine.
const LARGEST_PAGE: usize = 64 << 10;
/// How a CPU gets into the kernel other than by a system call. Each narrows the time at which the scheduler read its clock; machines
/// differ in which they have.
const ENTRIES: [&str; 7] = [
    "irq/irq_handler_entry",
    "irq_vectors/local_timer_entry",
    "irq_vectors/reschedule_entry",
    "irq_vectors/call_function_entry",
    "irq_vectors/call_function_single_entry",
    "ipi/ipi_entry",
    "power/cpu_idle",
];

/// Bits of `prev_state` for a thread that has ended.
pub(super) const DEAD: u64 = 0x30;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Switch {
        prev: u32,
        state: u64,
        next: u32,
    },
    /// No event: the next one on this CPU is of another thread than the last switch led to. Idle CPUs of virtual machines lose such
    /// events of ftrace and perf, and some hide threads of their own.
    Hidden {
        next: u32,
        since_ns: u64,
    },
    Waking {
        tid: u32,
    },
    Wakeup {
        tid: u32,
        cpu: u32,
    },
    WakeupNew {
        tid: u32,
        cpu: u32,
    },
    Migrate {
        tid: u32,
        from: u32,
        to: u32,
    },
    Fork {
        child: u32,
    },
    Exec {
        tid: u32,
        old: u32,
    },
    /// The current thread begins to end.
    Exit,
    /// On-CPU time that the scheduler has just added to a thread's.
    Runtime {
        tid: u32,
        ns: u64,
    },
    SyscallEnter {
        number: i64,
    },
    SyscallExit {
        number: i64,
    },
    /// An interrupt, or the idle loop.
    Entry,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    /// `CLOCK_MONOTONIC`.
    pub(super) at_ns: u64,
    pub(super) cpu: u32,
    /// The thread that was on the CPU.
    pub(super) current: u32,
    pub(super) kind: Kind,
}

/// Fails if nothing is mounted there.
pub(crate) fn find_tracefs() -> Result<()> {
    ensure!(Path::new(TRACEFS).join("instances").exists(), "no tracefs: run `mount -t tracefs nodev {TRACEFS}`");
    Ok(())
}

/// A ring that records; gone when dropped.
pub(super) struct Ring {
    path: PathBuf,
    formats: Vec<Format>,
}

impl Ring {
    /// Starts to record, with this much memory for each CPU.
    pub(super) fn start(kib_per_cpu: u64) -> Result<Ring> {
        let path = Path::new(TRACEFS).join(format!("instances/schedscope-oracles-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let mut ring = Ring { path, formats: Vec::new() };
        ring.set("tracing_on", "0")?;
        ring.set("trace_clock", "mono")?;
        ring.set("buffer_size_kb", &kib_per_cpu.to_string())?;
        for (event, is_needed) in EVENTS.map(|event| (event, true)).into_iter().chain(ENTRIES.map(|event| (event, false))) {
            if is_needed || ring.path.join("events").join(event).exists() {
                ring.formats.push(Format::parse(event, &ring.get(&format!("events/{event}/format"))?)?);
                ring.set(&format!("events/{event}/enable"), "1")?;
            }
        }
        ring.set("tracing_on", "1")?;
        Ok(ring)
    }

    /// Stops, and returns all events in order. `None` if the ring was too small for them.
    pub(super) fn stop(self) -> Result<Option<Vec<Event>>> {
        self.set("tracing_on", "0")?;
        let mut events = Vec::new();
        for (cpu, directory) in cpus(&self.path)? {
            let stats = fs::read_to_string(directory.join("stats")).context("cannot read the ring's statistics")?;
            if lost(&stats)? > 0 {
                return Ok(None);
            }
            let mut pages = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(directory.join("trace_pipe_raw"))?;
            while let Some(page) = read_page(&mut pages)? {
                parse_page(&page, cpu, &self.formats, &mut events)?;
            }
        }
        events.sort_by_key(|event| event.at_ns);
        rename(&mut events);
        Ok(Some(with_hidden(&events)))
    }

    fn set(&self, file: &str, value: &str) -> Result<()> {
        fs::write(self.path.join(file), value).with_context(|| format!("cannot write {value} to {}/{file}", self.path.display()))
    }

    fn get(&self, file: &str) -> Result<String> {
        fs::read_to_string(self.path.join(file)).with_context(|| format!("cannot read {}/{file}", self.path.display()))
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.path) {
            eprintln!("cannot remove {}: {error}", self.path.display());
        }
    }
}

fn cpus(ring: &Path) -> Result<Vec<(u32, PathBuf)>> {
    let entries = fs::read_dir(ring.join("per_cpu"))?.collect::<Result<Vec<_>, _>>()?;
    let number = |path: &Path| path.file_name()?.to_str()?.strip_prefix("cpu")?.parse().ok();
    Ok(entries.iter().filter_map(|entry| Some((number(&entry.path())?, entry.path()))).collect())
}

impl Event {
    /// The threads that it is about.
    fn ids(&mut self) -> Vec<&mut u32> {
        let mut ids = vec![&mut self.current];
        match &mut self.kind {
            Kind::Switch { prev, next, .. } => ids.extend([prev, next]),
            Kind::Hidden { next: tid, .. }
            | Kind::Waking { tid }
            | Kind::Wakeup { tid, .. }
            | Kind::WakeupNew { tid, .. }
            | Kind::Migrate { tid, .. }
            | Kind::Runtime { tid, .. } => ids.push(tid),
            _ => {}
        }
        ids
    }
}

/// A thread that calls exec in place of its process's first one has exchanged ids with that one some time before the event that says so.
/// Until then both keep the ids that they had, so that the event is where they change.
pub(super) fn rename(events: &mut [Event]) {
    for index in 0..events.len() {
        match events[index].kind {
            Kind::Exec { tid, old } if tid != old => undo_exchange(&mut events[..=index], tid, old),
            _ => {}
        }
    }
}

/// `new` is the thread that calls exec, by its id from the event at the end of `events` on, and `old` the one that it had. The process's
/// first thread, which had the other, has begun to end before they change.
fn undo_exchange(events: &mut [Event], new: u32, old: u32) {
    let begin = events.iter().rposition(|event| event.current == new && matches!(event.kind, Kind::Exit)).unwrap_or(0);
    // The CPUs on which they are.
    let mut first = Some(events[begin].cpu);
    let caller = events[..begin].iter().rev().find_map(|event| match event.kind {
        Kind::Switch { prev, .. } if prev == old => Some(None),
        Kind::Switch { next, .. } if next == old => Some(Some(event.cpu)),
        _ => (event.current == old).then_some(Some(event.cpu)),
    });
    let mut caller = caller.flatten();
    let (mut first_is_gone, mut have_exchanged) = (false, false);
    for event in &mut events[begin..] {
        let here = Some(event.cpu);
        have_exchanged |= (here == caller && event.current == new)
            || (here == first && event.current == old)
            || (first_is_gone && event.ids().iter().any(|id| **id == new));
        if have_exchanged {
            for id in event.ids() {
                *id = if *id == new {
                    old
                } else if *id == old {
                    new
                } else {
                    *id
                };
            }
        }
        let mut next = event.current;
        if let Kind::Switch { prev, state, next: to } = event.kind {
            next = to;
            first_is_gone |= prev == new && state & DEAD != 0;
        }
        for (cpu, tid) in [(&mut first, new), (&mut caller, old)] {
            if next == tid {
                *cpu = here;
            } else if *cpu == here {
                *cpu = None;
            }
        }
    }
}

/// Adds the switches that have no event.
pub(super) fn with_hidden(events: &[Event]) -> Vec<Event> {
    let mut all = Vec::with_capacity(events.len());
    // By CPU: who has it, and the time of the last event.
    let mut cpus = HashMap::new();
    for event in events {
        let (next, since_ns) = cpus.insert(event.cpu, (event.current, event.at_ns)).unwrap_or((event.current, event.at_ns));
        if next != event.current {
            all.push(Event { kind: Kind::Hidden { next: event.current, since_ns }, ..*event });
        }
        if let Kind::Switch { next, .. } | Kind::Exec { tid: next, .. } = event.kind {
            cpus.insert(event.cpu, (next, event.at_ns));
        }
        all.push(*event);
    }
    all
}

/// Events that did not fit, by `per_cpu/cpuN/stats`.
fn lost(stats: &str) -> Result<u64> {
    let counter = |name: &str| {
        let line = stats.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name} in {stats:?}"))?;
        line.trim().parse::<u64>().with_context(|| format!("{name} {line:?} is no number"))
    };
    Ok(counter("overrun:")? + counter("commit overrun:")? + counter("dropped events:")?)
}

/// The kernel gives one page at a time, however much is asked for.
fn read_page(pages: &mut File) -> Result<Option<Vec<u8>>> {
    let mut page = vec![0; LARGEST_PAGE];
    match pages.read(&mut page) {
        Ok(0) => Ok(None),
        Ok(length) => {
            page.truncate(length);
            Ok(Some(page))
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error).context("cannot read the ring"),
    }
}

/// What becomes of an event's fields.
type Make = fn([u64; 3]) -> Kind;

/// Where the fields of an event are that its kind is made of.
struct Format {
    id: u16,
    /// Offset and size.
    fields: Vec<(usize, usize)>,
    make: Make,
}

impl Format {
    fn parse(event: &str, text: &str) -> Result<Format> {
        let id = text.lines().find_map(|line| line.strip_prefix("ID: ")).with_context(|| format!("{event} has no ID"))?;
        let (names, make) = layout(event);
        let field = |name: &&str| -> Result<(usize, usize)> {
            let pattern = Regex::new(&format!(r"field:[^;]*\b{name};\s*offset:(\d+);\s*size:([1248]);"))?;
            let found = pattern.captures(text).with_context(|| format!("{event} has no number {name}"))?;
            Ok((found[1].parse()?, found[2].parse()?))
        };
        Ok(Format { id: id.parse()?, fields: names.iter().map(field).collect::<Result<_>>()?, make })
    }

    fn event(&self, bytes: &[u8]) -> Result<Kind> {
        let mut numbers = [0; 3];
        for (number, &(offset, size)) in numbers.iter_mut().zip(&self.fields) {
            let mut word = [0; 8];
            word[..size].copy_from_slice(bytes.get(offset..offset + size).context("an event is shorter than its format")?);
            *number = u64::from_ne_bytes(word);
        }
        Ok((self.make)(numbers))
    }
}

/// The fields of an event, and what they are.
fn layout(event: &str) -> (&'static [&'static str], Make) {
    match event.rsplit('/').next().unwrap_or(event) {
        "sched_switch" => {
            (&["prev_pid", "prev_state", "next_pid"], |[prev, state, next]| Kind::Switch { prev: id(prev), state, next: id(next) })
        }
        "sched_waking" => (&["pid"], |[tid, ..]| Kind::Waking { tid: id(tid) }),
        "sched_wakeup" => (&["pid", "target_cpu"], |[tid, cpu, _]| Kind::Wakeup { tid: id(tid), cpu: id(cpu) }),
        "sched_wakeup_new" => (&["pid", "target_cpu"], |[tid, cpu, _]| Kind::WakeupNew { tid: id(tid), cpu: id(cpu) }),
        "sched_migrate_task" => {
            (&["pid", "orig_cpu", "dest_cpu"], |[tid, from, to]| Kind::Migrate { tid: id(tid), from: id(from), to: id(to) })
        }
        "sched_process_fork" => (&["child_pid"], |[child, ..]| Kind::Fork { child: id(child) }),
        "sched_process_exec" => (&["pid", "old_pid"], |[tid, old, _]| Kind::Exec { tid: id(tid), old: id(old) }),
        "sched_process_exit" => (&[], |_| Kind::Exit),
        "sched_stat_runtime" => (&["pid", "runtime"], |[tid, ns, _]| Kind::Runtime { tid: id(tid), ns }),
        "sys_enter" => (&["id"], |[number, ..]| Kind::SyscallEnter { number: number.cast_signed() }),
        "sys_exit" => (&["id"], |[number, ..]| Kind::SyscallExit { number: number.cast_signed() }),
        _ => (&[], |_| Kind::Entry),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "ids and CPU numbers are fields of 32 bits")]
fn id(number: u64) -> u32 {
    number as u32
}

/// Bytes before a page's events: its time, and how many bytes of events follow.
const PAGE_HEADER: usize = 16;
/// The part of the second word that is a length.
const LENGTH_MASK: u64 = 0xf_ffff;
/// In the second word: events before this page are missing.
const MISSED: u64 = 1 << 31;

/// Appends the events of one page of the ring (`include/linux/ring_buffer.h`).
fn parse_page(page: &[u8], cpu: u32, formats: &[Format], events: &mut Vec<Event>) -> Result<()> {
    let word = |at: usize| -> Result<u32> {
        Ok(u32::from_ne_bytes(page.get(at..at + 4).context("a page of the ring ends early")?.try_into()?))
    };
    let long = |at: usize| Ok::<_, anyhow::Error>(u64::from(word(at)?) | u64::from(word(at + 4)?) << 32);
    let (mut at_ns, commit) = (long(0)?, long(8)?);
    ensure!(commit & MISSED == 0, "the ring has lost events");
    let mut at = PAGE_HEADER;
    let end = PAGE_HEADER + usize::try_from(commit & LENGTH_MASK)?;
    while at < end {
        let header = word(at)?;
        at += 4;
        let delta_ns = u64::from(header >> 5);
        let (start, length) = match header & 31 {
            29 if delta_ns == 0 => break,
            29 => {
                at_ns += delta_ns;
                at += word(at)? as usize;
                continue;
            }
            30 => {
                at_ns += (u64::from(word(at)?) << 27) + delta_ns;
                at += 4;
                continue;
            }
            // An absolute time lacks the five highest bits.
            31 => {
                at_ns = at_ns & !(u64::MAX >> 5) | u64::from(word(at)?) << 27 | delta_ns;
                at += 4;
                continue;
            }
            0 => (at + 4, word(at)? as usize - 4),
            words => (at, words as usize * 4),
        };
        at_ns += delta_ns;
        at = start + length;
        let bytes = page.get(start..at).context("a page of the ring ends early")?;
        let [low, high, _, _, current @ ..] = bytes else { bail!("an event without a header") };
        let id = u16::from_ne_bytes([*low, *high]);
        if let Some(format) = formats.iter().find(|format| format.id == id) {
            let current = u32::from_ne_bytes(current.get(..4).context("an event without a header")?.try_into()?);
            events.push(Event { at_ns, cpu, current, kind: format.event(bytes)? });
        }
    }
    Ok(())
}
