//! Loads the object with the running kernel's offsets and the machine's sizes, and attaches each program with a verdict.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::resume_unwind;
use std::thread::{self, JoinHandle};

use aya::maps::{Array, HashMap, MapData, MapError, Stack};
use aya::programs::perf_event::{PerfEventConfig, PerfEventScope, SamplePolicy, SoftwareEvent};
use aya::programs::{BtfTracePoint, Iter, PerfEvent, Program};
use aya::{Btf as AyaBtf, Ebpf, EbpfLoader};
use procfs::process::Process;
use schedscope_ebpf::abi::{PIDS_PER_ENTRY, SAMPLE_PERIOD_NS, map, program};
use schedscope_ebpf::kernel_stack::Functions;
use schedscope_ebpf::params;

use super::functions::NoFunctions;
use super::mapped::{MappedArray, Words};
use super::records::Records;
use super::{KernelError, btf, constants, functions, syscalls};
use crate::capture::topology::Topology;

/// The BPF programs, compiled from `ebpf/` by `cargo xtask build-ebpf` and committed.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../../ebpf/prebuilt/schedscope.bpf.o");

/// Sizes of what the programs keep.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Workloads, number 0 included.
    pub workloads: u32,
    /// Provisional workloads on top, for programs that were never seen before; 0 if the programs shall decide nothing at an exec.
    pub provisional: u32,
    /// Threads that can be traced at once.
    pub tasks: u32,
    /// Keep every thread's time on every core.
    pub thread_by_core: bool,
    /// Keep how every thread's waits differ from the kernel's run delay, which costs another program at each wake-up.
    pub wait_accounts: bool,
    /// Look at each CPU, every [`SAMPLE_PERIOD_NS`], for threads that wait for a lock or another thread and do not sleep.
    pub samples: bool,
}

/// The object in the kernel.
pub(super) struct Loaded {
    pub(super) ebpf: Ebpf,
    /// The running kernel's types, which say what its hooks hand over.
    types: AyaBtf,
    /// Where its functions are, unless it does not show them; being read.
    functions: Option<JoinHandle<Result<Functions, NoFunctions>>>,
    /// Constants of optional fields that this kernel lacks.
    pub(super) absent: Vec<&'static str>,
    /// Provisional workloads; 0 where the programs decide nothing at an exec.
    pub(super) provisional: u32,
}

/// Processes that tracing begins with, besides the key for what is no process.
pub(super) const SEEDS_MAX: u32 = 4096;

/// Without these fields it is unknown when the kernel has queued a thread.
const QUEUEING_FIELDS: [&str; 4] = ["TASK_LAST_QUEUED", "TASK_CFS_RQ", "CFS_RQ_RQ", "RQ_CLOCK"];

/// Without these fields it is unknown what a process execs.
const OWNER_FIELDS: [&str; 15] = [
    "TASK_MM",
    "MM_EXE_FILE",
    "FILE_DENTRY",
    "FILE_MOUNT",
    "DENTRY_PARENT",
    "DENTRY_NAME",
    "VFSMOUNT_ROOT",
    "MOUNT_VFSMOUNT",
    "MOUNT_PARENT",
    "MOUNT_POINT",
    "TASK_CGROUPS",
    "CSS_SET_UNIFIED",
    "CGROUP_NODE",
    "NODE_ID",
    "NODE_PARENT",
];

/// Programs that the kernel side remembers the workloads of. An entry takes half a kilobyte.
pub(crate) const MAX_OWNERS: u32 = 1024;

/// A program and whether it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramStatus {
    /// Name of the program and of its hook.
    pub(crate) name: &'static str,
    /// Why it does not run; `None` if it does.
    pub(crate) failure: Option<String>,
    /// Instructions that the verifier walked; `None` before 5.16 or if not loaded.
    pub(crate) verified_instructions: Option<u32>,
}

/// Loads the object into the kernel and attaches nothing. A constant named in `without` is set as if the kernel lacked the feature.
pub(super) fn load(without: &[&str], sizes: Sizes, topology: &Topology) -> Result<Loaded, KernelError> {
    let possible = topology.possible();
    let slots = sizes.tasks + 1;
    let thread_cpus = if sizes.thread_by_core { possible.min(params::MAX_THREAD_CPUS) } else { 0 };
    let classes = syscalls::classes();
    let syscall_yield = u32::try_from(libc::SYS_sched_yield).unwrap_or(params::ABSENT);

    // Read while the programs are verified: nobody needs the functions before the programs are attached.
    let functions = functions::are_shown().then(|| thread::spawn(functions::of_kernel));
    // Each takes some ten milliseconds, and none needs another.
    let (values, types, loader) = thread::scope(|scope| {
        let types = scope.spawn(AyaBtf::from_sys_fs);
        let loader = scope.spawn(EbpfLoader::new);
        (constants_of_kernel(), came_to(types.join()), came_to(loader.join()))
    });
    let (mut values, types, mut loader) = (values?, types?, loader);
    values.push((params::HAS_KERNEL_CODE, u32::from(functions.is_some())));
    for (name, value) in &mut values {
        if [params::HAS_TASK_PT_REGS, params::HAS_KERNEL_CODE].contains(name) && without.contains(name) {
            *value = 0;
        }
    }
    let absent: Vec<_> = values.iter().filter(|(_, value)| *value == params::ABSENT).map(|(name, _)| *name).collect();
    let provisional = if OWNER_FIELDS.iter().any(|field| absent.contains(field)) { 0 } else { sizes.provisional };
    let workloads = sizes.workloads + provisional;
    values.extend([
        (params::SYSCALL_YIELD, syscall_yield),
        (params::WORKLOADS, workloads),
        (params::FIRST_PROVISIONAL, sizes.workloads),
        (params::SYSTEMD_HIERARCHY, systemd_hierarchy()),
        (params::TASK_SLOTS, slots),
        (params::THREAD_CPUS, thread_cpus),
        (params::HAS_WAIT_ACCOUNTS, u32::from(sizes.wait_accounts)),
    ]);

    loader
        .override_global(params::SYSCALL_CLASS, classes.as_slice(), true)
        .map_max_entries(map::SLOT_OF_PID, pid_entries())
        .map_max_entries(map::SLOT_OF_TASK, slots)
        .map_max_entries(map::TASKS, slots)
        .map_max_entries(map::FREE_SLOTS, slots)
        .map_max_entries(map::DEAD_SLOTS, slots)
        .map_max_entries(map::CELLS, possible * workloads)
        .map_max_entries(map::CPUS, possible)
        .map_max_entries(map::THREAD_CPU, (thread_cpus * slots).max(1))
        .map_max_entries(map::PLACES, possible)
        .map_max_entries(map::SEED_TGIDS, SEEDS_MAX + 1)
        .map_max_entries(map::WAIT_ACCOUNTS, if sizes.wait_accounts { slots } else { 1 })
        .map_max_entries(map::OWNERS, if provisional == 0 { 1 } else { MAX_OWNERS })
        .map_max_entries(map::PROVISIONALS, provisional.max(1))
        .map_max_entries(map::FREE_PROVISION, provisional.max(1))
        .map_max_entries(map::EXEC_KEYS, possible)
        .map_max_entries(map::ARRIVALS, if provisional == 0 { 1 } else { workloads * workloads });
    let mut ebpf = loader.load(&constants::filled(OBJECT, &values)?)?;
    fill_places(&mut ebpf, topology)?;
    fill_free_slots(&mut ebpf, slots)?;
    let mut free: Stack<&mut MapData, u32> = Stack::try_from(map_mut(&mut ebpf, map::FREE_PROVISION)?)?;
    for index in (0..provisional).rev() {
        free.push(index, 0)?;
    }
    Ok(Loaded { ebpf, types, functions, absent, provisional })
}

fn constants_of_kernel() -> Result<constants::Constants, KernelError> {
    let types = std::fs::read("/sys/kernel/btf/vmlinux").map_err(KernelError::NoBtf)?;
    Ok(constants::of_kernel(&btf::Btf::parse(types)?)?)
}

/// What a thread came to; panics if it has.
fn came_to<T>(ended: thread::Result<T>) -> T {
    ended.unwrap_or_else(|panic| resume_unwind(panic))
}

/// The number of the cgroup hierarchy in which systemd of cgroup v1 keeps units; 0 if there is none.
fn systemd_hierarchy() -> u32 {
    let groups = Process::myself().and_then(|me| me.cgroups()).map(|groups| groups.0).unwrap_or_default();
    groups
        .iter()
        .find(|group| group.controllers.iter().any(|controller| controller == "name=systemd"))
        .map_or(0, |group| group.hierarchy)
}

/// Entries of the table by pid, for every pid that this kernel may assign.
pub(super) fn pid_entries() -> u32 {
    let pid_max = procfs::sys::kernel::pid_max().map_or(4 * 1024 * 1024, i32::cast_unsigned);
    (pid_max + 1).div_ceil(u32::try_from(PIDS_PER_ENTRY).unwrap_or(1))
}

/// Topology by CPU, for migration distances.
fn fill_places(ebpf: &mut Ebpf, topology: &Topology) -> Result<(), KernelError> {
    let mut places: Array<&mut MapData, [u32; 4]> = Array::try_from(map_mut(ebpf, map::PLACES)?)?;
    for cpu in 0..topology.possible() {
        let place = topology.place(cpu);
        places.set(cpu, [place.core, place.llc, place.node, place.reserved], 0)?;
    }
    Ok(())
}

/// Every slot but 0, the lowest on top.
fn fill_free_slots(ebpf: &mut Ebpf, slots: u32) -> Result<(), KernelError> {
    let mut free = free_slots(ebpf)?;
    for slot in (1..slots).rev() {
        free.push(slot, 0)?;
    }
    Ok(())
}

/// The free slots.
pub(super) fn free_slots(ebpf: &mut Ebpf) -> Result<Stack<&mut MapData, u32>, KernelError> {
    Ok(Stack::try_from(map_mut(ebpf, map::FREE_SLOTS)?)?)
}

/// Loads and attaches every program but those in `without`. A hook that this kernel lacks does not stop the others; without
/// `sched_switch` there is nothing to measure.
pub(super) fn attach(
    loaded: &mut Loaded,
    without: &[&str],
    sizes: Sizes,
    topology: &Topology,
) -> Result<Vec<ProgramStatus>, KernelError> {
    let Loaded { ebpf, types, functions, absent, .. } = loaded;
    let is_queueing_told = QUEUEING_FIELDS.iter().all(|field| !absent.contains(field));
    let optional = [
        (program::SCHED_WAKEUP, sizes.wait_accounts && is_queueing_told),
        (program::SAMPLE_CPU, sizes.samples),
        (program::SEED_TASKS, true),
    ];
    let optional = optional.into_iter().filter(|(_, is_wanted)| *is_wanted).map(|(name, _)| name);
    let wanted: Vec<&'static str> = program::HOOKS.into_iter().chain(optional).filter(|name| !without.contains(name)).collect();
    let mut loads = load_programs(ebpf, &wanted, types);
    if let Some(Ok(functions)) = functions.take().map(|reading| came_to(reading.join())) {
        let table = mapped::<Functions>(ebpf, map::KERNEL_CODE, 1)?;
        // SAFETY: an aligned record inside the mapping; no program reads it before it is attached.
        unsafe { table.pointer(0).write_volatile(functions) };
    }
    let mut loaded = |name| match loads.remove(name) {
        Some(loaded) => loaded,
        None if without.contains(&name) => Err(KernelError::LeftOut),
        None => Err(KernelError::ObjectLacks(name)),
    };
    let mut statuses = Vec::new();
    // `sched_switch` comes last: it sees threads at once, and by then the rest must be in place.
    for name in program::HOOKS.into_iter().rev() {
        match loaded(name).and_then(|()| attach_hook(ebpf, name)) {
            Err(error) if name == program::SCHED_SWITCH => {
                return Err(KernelError::Attach { hook: name, why: on_one_line(error) });
            }
            attached => statuses.push(status(name, attached)),
        }
    }
    statuses.reverse();
    if sizes.wait_accounts {
        let told = if is_queueing_told { loaded(program::SCHED_WAKEUP) } else { Err(KernelError::QueueingUntold) };
        statuses.push(status(program::SCHED_WAKEUP, told.and_then(|()| attach_hook(ebpf, program::SCHED_WAKEUP))));
    }
    if sizes.samples {
        let attached = loaded(program::SAMPLE_CPU).and_then(|()| attach_samples(ebpf, topology.online()));
        statuses.push(status(program::SAMPLE_CPU, attached));
    }
    let listing = loaded(program::SEED_TASKS).and_then(|()| verified(program_mut::<Iter>(ebpf, program::SEED_TASKS)?.info()));
    statuses.push(status(program::SEED_TASKS, listing));
    Ok(statuses)
}

/// Loads programs beside each other: the kernel verifies each by itself, and `sched_switch` takes as long as all the others.
fn load_programs(ebpf: &mut Ebpf, wanted: &[&'static str], types: &AyaBtf) -> BTreeMap<&'static str, Result<(), KernelError>> {
    let programs = ebpf.programs_mut().filter_map(|(found, program)| Some((*wanted.iter().find(|name| **name == found)?, program)));
    thread::scope(|scope| {
        let load = |(name, program)| (name, scope.spawn(move || load_program(name, program, types)));
        let loading: Vec<_> = programs.map(load).collect();
        loading.into_iter().map(|(name, load)| (name, came_to(load.join()))).collect()
    })
}

fn load_program(name: &'static str, program: &mut Program, types: &AyaBtf) -> Result<(), KernelError> {
    match program {
        Program::BtfTracePoint(hook) => hook.load(name, types)?,
        Program::Iter(listing) => listing.load("task", types)?,
        Program::PerfEvent(samples) => samples.load()?,
        _ => return Err(KernelError::ObjectLacks(name)),
    }
    Ok(())
}

/// Attaches a program that is loaded.
fn attach_hook(ebpf: &mut Ebpf, name: &'static str) -> Result<Option<u32>, KernelError> {
    let hook: &mut BtfTracePoint = program_mut(ebpf, name)?;
    hook.attach()?;
    verified(hook.info())
}

/// Attaches the sampling to the clock of each CPU.
fn attach_samples(ebpf: &mut Ebpf, cpus: &[u32]) -> Result<Option<u32>, KernelError> {
    let samples: &mut PerfEvent = program_mut(ebpf, program::SAMPLE_CPU)?;
    for &cpu in cpus {
        let clock = PerfEventConfig::Software(SoftwareEvent::CpuClock);
        samples.attach(clock, PerfEventScope::AllProcessesOneCpu { cpu }, SamplePolicy::Period(SAMPLE_PERIOD_NS), false)?;
    }
    verified(samples.info())
}

/// Attaches the empty programs of the bench.
pub(super) fn attach_meters(ebpf: &mut Ebpf) -> Result<(), KernelError> {
    let kernel = AyaBtf::from_sys_fs()?;
    for (name, hook) in program::METERS {
        let meter: &mut BtfTracePoint = program_mut(ebpf, name)?;
        meter.load(hook, &kernel)?;
        meter.attach()?;
    }
    Ok(())
}

fn verified(info: Result<aya::programs::ProgramInfo, aya::programs::ProgramError>) -> Result<Option<u32>, KernelError> {
    Ok(info?.verified_instruction_count())
}

fn status(name: &'static str, result: Result<Option<u32>, KernelError>) -> ProgramStatus {
    match result {
        Ok(verified_instructions) => ProgramStatus { name, failure: None, verified_instructions },
        Err(error) => ProgramStatus { name, failure: Some(on_one_line(error)), verified_instructions: None },
    }
}

/// Runs the iterator once over all threads.
pub(super) fn run_iterator(ebpf: &mut Ebpf) -> Result<(), KernelError> {
    let seed: &mut Iter = program_mut(ebpf, program::SEED_TASKS)?;
    let link = seed.attach()?;
    let mut file = seed.take_link(link)?.into_file()?;
    // The program writes nothing; reading to the end is what makes the kernel call it for every thread.
    io::copy(&mut file, &mut io::sink()).map_err(KernelError::Iterate)?;
    Ok(())
}

/// Sets which processes the iterator registers, and for which workload.
pub(super) fn want(ebpf: &mut Ebpf, tgid: u32, workload: u32) -> Result<(), KernelError> {
    let mut wanted: HashMap<&mut MapData, u32, u32> = HashMap::try_from(map_mut(ebpf, map::SEED_TGIDS)?)?;
    Ok(wanted.insert(tgid, workload, 0)?)
}

/// Takes that back.
pub(super) fn unwant(ebpf: &mut Ebpf, tgid: u32) -> Result<(), KernelError> {
    let mut wanted: HashMap<&mut MapData, u32, u32> = HashMap::try_from(map_mut(ebpf, map::SEED_TGIDS)?)?;
    match wanted.remove(&tgid) {
        Err(MapError::SyscallError(error)) if error.io_error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => Ok(removed?),
    }
}

/// Maps an array into memory.
pub(super) fn mapped<T: Words>(ebpf: &Ebpf, name: &'static str, entries: u32) -> Result<MappedArray<T>, KernelError> {
    MappedArray::new(array(ebpf, name)?, entries as usize).map_err(|source| KernelError::Map { name, source })
}

/// The thread records, which are mapped as far as they are used.
pub(super) fn records(ebpf: &Ebpf, slots: u32) -> Result<Records, KernelError> {
    let table = array(ebpf, map::TASKS)?.try_clone_to_owned();
    table.and_then(|table| Records::new(table, slots as usize)).map_err(records_unmapped)
}

/// What to say if the thread records can't be mapped (any further).
pub(super) fn records_unmapped(source: io::Error) -> KernelError {
    KernelError::Map { name: map::TASKS, source }
}

fn array<'a>(ebpf: &'a Ebpf, name: &'static str) -> Result<BorrowedFd<'a>, KernelError> {
    let found = ebpf.map(name).ok_or(KernelError::ObjectLacks(name))?;
    let aya::maps::Map::Array(data) = found else { return Err(KernelError::ObjectLacks(name)) };
    Ok(data.fd().as_fd())
}

pub(super) fn map_mut<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut aya::maps::Map, KernelError> {
    ebpf.map_mut(name).ok_or(KernelError::ObjectLacks(name))
}

fn program_mut<'a, P>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut P, KernelError>
where
    &'a mut P: TryFrom<&'a mut Program, Error = aya::programs::ProgramError>,
{
    Ok(ebpf.program_mut(name).ok_or(KernelError::ObjectLacks(name))?.try_into()?)
}

/// The error and its causes, on one line. Of a verifier log, which runs to thousands of lines, it keeps the end, which names the
/// complaint.
fn on_one_line(error: KernelError) -> String {
    let text = format!("{:#}", anyhow::Error::from(error));
    let Some((before, log)) = text.split_once("Verifier output:") else { return text };
    // The log ends with statistics, one line before Linux 7.1 and more since; the complaint is what precedes them.
    let is_statistics = |line: &str| line.starts_with("verification time ") || line.starts_with("processed ");
    let complaint = log.lines().map(str::trim).take_while(|line| !is_statistics(line));
    let lines: Vec<&str> = complaint.filter(|line| !line.is_empty()).collect();
    format!("{before}The verifier's last words: {}", lines[lines.len().saturating_sub(5)..].join(" | "))
}
