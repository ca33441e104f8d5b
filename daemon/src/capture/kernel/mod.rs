//! The kernel side: the only module that names aya. Everything above it sees plain data ([`crate::capture::snapshot`]).
//!
//! - [`load`]: the object into the kernel, programs attached, each with a verdict.
//! - [`mapped`] and [`records`]: maps read through memory.
//! - [`owners`]: which program belongs to which workload, and those that are not named yet.
//! - [`offers`]: registers running threads where the kernel has no task iterator.
//! - [`btf`], [`syscalls`], [`functions`], [`constants`]: what is filled into the object about this kernel, and how.
//! - [`cost`]: what the programs cost.

pub(crate) mod btf;
mod constants;
mod cost;
pub(crate) mod functions;
mod load;
mod mapped;
mod offers;
mod owners;
mod records;
mod resume;
mod syscalls;

use std::collections::HashMap;
use std::io;
use std::path::Path;

use aya::Ebpf;
use aya::maps::{MapData, Queue};
pub use cost::{HostProgram, ProgramCost, StatsGuard, enable_stats, host_maps_and_links, host_programs};
pub(crate) use load::MAX_OWNERS;
pub use load::{ProgramStatus, Sizes};
use mapped::MappedArray;
use offers::Offers;
use owners::Provisionals;
use records::{Patience, Records, Slot};
use rustix::time::{ClockId, clock_gettime};
use schedscope_ebpf::abi::{Cell, CpuRecord, ExecKey, Owner, SEED_DONE, SEED_EVERY, TaskRecord, map, program};
use schedscope_ebpf::gil::{AddressRange, RANGES};
use schedscope_ebpf::residual::Residuals;
use schedscope_ebpf::wait_account::WaitAccount;

use crate::capture::snapshot::{Snapshot, Tgid, Thread, Tid, WorkloadId};
use crate::capture::topology::Topology;

/// Why the kernel side does not work, and the fix where there is one.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The kernel does not say where its fields are.
    #[error(
        "cannot read /sys/kernel/btf/vmlinux ({0}): schedscope needs a kernel built with CONFIG_DEBUG_INFO_BTF=y, as those of Debian, Ubuntu and Fedora are; 'schedscope doctor' says what else this host lacks"
    )]
    NoBtf(#[source] io::Error),
    /// The kernel's type information is damaged.
    #[error(transparent)]
    Btf(#[from] btf::BtfError),
    /// An unknown kernel.
    #[error(transparent)]
    MissingField(#[from] constants::MissingField),
    /// The object could not be filled in for this kernel.
    #[error(transparent)]
    Fill(#[from] constants::FillError),
    /// The kernel refused the object.
    #[error("the kernel refused the BPF object; {}", advice(.0))]
    Load(#[from] aya::EbpfError),
    /// The kernel refused a program.
    #[error("the kernel refused a BPF program")]
    Program(#[from] aya::programs::ProgramError),
    /// The essential program could not be attached.
    #[error("cannot attach to {hook}: {why}")]
    Attach {
        /// The hook.
        hook: &'static str,
        /// What the kernel said.
        why: String,
    },
    /// aya could not use the kernel's type information.
    #[error("cannot use the kernel's type information")]
    KernelBtf(#[from] aya::BtfError),
    /// A link could not be made a file.
    #[error("cannot run the task iterator")]
    Link(#[from] aya::programs::links::LinkError),
    /// Seeding failed.
    #[error("cannot list the host's tasks: {0}")]
    Iterate(#[source] io::Error),
    /// A map operation failed.
    #[error("a BPF map operation failed")]
    MapOperation(#[from] aya::maps::MapError),
    /// A system call of the BPF subsystem failed.
    #[error("cannot turn on the kernel's BPF statistics, which need CAP_SYS_ADMIN")]
    Syscall(#[from] aya::sys::SyscallError),
    /// A map could not be mapped into memory.
    #[error("cannot map the BPF map {name} into memory: {source}")]
    Map {
        /// Name of the map.
        name: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// More processes are to be traced than the kernel side has room for at the beginning.
    #[error("{0} processes are meant, and tracing can begin with {max} at most: choose fewer, or trace the whole host with 'schedscope daemon'", max = load::SEEDS_MAX)]
    TooManyProcesses(usize),
    /// The caller does not want this program.
    #[error("left out on request")]
    LeftOut,
    /// It cannot be measured how a thread's waits differ from its run delay.
    #[error("this kernel does not tell when it queues a thread: it was built without CONFIG_SCHED_INFO or CONFIG_FAIR_GROUP_SCHED")]
    QueueingUntold,
    /// Without the task iterator threads are found by their numbers in `/proc`, which must be the kernel's own.
    #[error(
        "cannot register running processes: this kernel runs no task iterator, and /proc is that of another pid namespace than the host's; start schedscope in the host's (a container needs hostPID)"
    )]
    OtherPidNamespace,
    /// The committed object does not fit these sources.
    #[error("the BPF object has no {0}: rebuild it with 'cargo xtask build-ebpf'")]
    ObjectLacks(&'static str),
}

/// What to do about an object that was refused.
fn advice(refusal: &aya::EbpfError) -> &'static str {
    let mut causes = anyhow::Chain::new(refusal).filter_map(|error| error.downcast_ref::<io::Error>());
    // Whether the rights are there was looked at before.
    if causes.any(|cause| cause.kind() == io::ErrorKind::PermissionDenied) {
        "bpf(2) is forbidden here, by the filter of system calls of a container or by the kernel's lockdown: start the container with \
         --security-opt seccomp=unconfined (docker run, podman run), in Kubernetes with seccompProfile: {type: Unconfined}"
    } else {
        "'schedscope doctor' says what this host lacks"
    }
}

/// Programs in the kernel and the maps they write. Everything is detached and freed when it is dropped, and by the kernel when
/// the process ends in any other way: nothing is pinned.
pub struct Tracer {
    // Dropped in this order: the mappings of the maps, then the maps themselves, though the kernel would keep them alive.
    cells: MappedArray<Cell>,
    cpus: MappedArray<CpuRecord>,
    records: Records,
    thread_cpu: Option<MappedArray<u64>>,
    wait_accounts: Option<MappedArray<WaitAccount>>,
    waiting: MappedArray<Residuals>,
    provisionals: Option<Provisionals>,
    /// Slots of the threads, with their workloads as they were read.
    slot_of_tid: HashMap<Tid, (usize, u32)>,
    /// Workloads with names.
    workloads: usize,
    /// All of a CPU's workloads.
    bank: usize,
    programs: Vec<ProgramStatus>,
    /// What was seeded, for a later listing.
    seeds: HashMap<Tgid, WorkloadId>,
    /// Takes the place of the task iterator, once it is needed.
    offers: Option<Offers>,
    ebpf: Ebpf,
}

/// How much of a snapshot to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Threads and CPUs.
    Threads,
    /// The workloads' cells as well.
    Full,
}

impl Tracer {
    /// Loads the programs and attaches them. Nothing is traced until something is seeded.
    pub fn start(sizes: Sizes, topology: &Topology) -> Result<Tracer, KernelError> {
        Tracer::start_without(&[], sizes, topology)
    }

    /// The same as on a kernel without these programs, without the helper of [`HAS_TASK_PT_REGS`] or without what is meant by
    /// [`HAS_KERNEL_CODE`]: to see what is reported there, and what they cost.
    ///
    /// [`HAS_TASK_PT_REGS`]: schedscope_ebpf::params::HAS_TASK_PT_REGS
    /// [`HAS_KERNEL_CODE`]: schedscope_ebpf::params::HAS_KERNEL_CODE
    pub fn start_without(without: &[&str], sizes: Sizes, topology: &Topology) -> Result<Tracer, KernelError> {
        let mut loaded = load::load(without, sizes, topology)?;
        let ebpf = &loaded.ebpf;
        let possible = topology.possible();
        let slots = sizes.tasks + 1;
        let thread_cpu = if sizes.thread_by_core { Some(load::mapped(ebpf, map::THREAD_CPU, possible * slots)?) } else { None };
        let bank = sizes.workloads + loaded.provisional;
        let cells = load::mapped(ebpf, map::CELLS, possible * bank)?;
        let provisionals = match loaded.provisional {
            0 => None,
            count => Some(Provisionals::new(ebpf, sizes.workloads, count)?),
        };
        let cpus = load::mapped(ebpf, map::CPUS, possible)?;
        let records = load::records(ebpf, slots)?;
        let wait_accounts = if sizes.wait_accounts { Some(load::mapped(ebpf, map::WAIT_ACCOUNTS, slots)?) } else { None };
        let waiting = load::mapped(ebpf, map::WAITING, 1)?;
        let programs = load::attach(&mut loaded, without, sizes, topology)?;
        Ok(Tracer {
            cells,
            cpus,
            records,
            thread_cpu,
            wait_accounts,
            waiting,
            provisionals,
            slot_of_tid: HashMap::new(),
            workloads: sizes.workloads as usize,
            bank: bank as usize,
            programs,
            seeds: HashMap::new(),
            offers: None,
            ebpf: loaded.ebpf,
        })
    }

    /// Every program and whether it runs.
    pub fn programs(&self) -> &[ProgramStatus] {
        &self.programs
    }

    /// What each program has cost while statistics were on.
    pub fn costs(&self) -> Vec<ProgramCost> {
        cost::read(&self.ebpf, program::HOOKS)
    }

    /// Attaches the empty programs that show what metering costs.
    pub fn attach_meters(&mut self) -> Result<(), KernelError> {
        load::attach_meters(&mut self.ebpf)
    }

    /// What the empty programs have cost.
    pub fn meter_costs(&self) -> Vec<ProgramCost> {
        cost::read(&self.ebpf, program::METERS.map(|(name, _)| name))
    }

    /// Whether a program runs.
    pub fn runs(&self, name: &str) -> bool {
        self.programs.iter().any(|program| program.name == name && program.failure.is_none())
    }

    /// Begins to trace live processes, and from now on all their descendants. Can be called again, for more of them; those that are traced
    /// stay so.
    pub fn seed(&mut self, processes: &[Tgid], workload: WorkloadId) -> Result<(), KernelError> {
        self.forget_ended()?;
        self.seeds.extend(processes.iter().map(|tgid| (*tgid, workload)));
        if self.seeds.len() > load::SEEDS_MAX as usize {
            return Err(KernelError::TooManyProcesses(self.seeds.len()));
        }
        for tgid in processes {
            load::want(&mut self.ebpf, tgid.0, workload.0)?;
        }
        // What is found now is no fork that was missed.
        load::unwant(&mut self.ebpf, SEED_DONE)?;
        // Twice, because the first pass may have missed a thread that was forked by one not registered yet.
        self.list()?;
        self.list()
    }

    /// Makes room for others among what is seeded. An id may also be another process's later.
    fn forget_ended(&mut self) -> Result<(), KernelError> {
        let has_ended = |tgid: &Tgid| tgid.0 != SEED_EVERY && !Path::new(&format!("/proc/{}", tgid.0)).exists();
        for (tgid, _) in self.seeds.extract_if(|tgid, _| has_ended(tgid)) {
            load::unwant(&mut self.ebpf, tgid.0)?;
        }
        Ok(())
    }

    /// Begins to trace every task of the host.
    pub fn seed_all(&mut self, workload: WorkloadId) -> Result<(), KernelError> {
        self.seed(&[Tgid(SEED_EVERY)], workload)
    }

    /// Registers threads that belong to what is traced and whose fork was not recorded, and counts them as such.
    pub fn seed_again(&mut self) -> Result<(), KernelError> {
        load::want(&mut self.ebpf, SEED_DONE, 0)?;
        self.list()
    }

    fn list(&mut self) -> Result<(), KernelError> {
        if self.runs(program::SEED_TASKS) {
            return load::run_iterator(&mut self.ebpf);
        }
        if self.offers.is_none() {
            self.offers = Some(Offers::new(&self.ebpf)?);
        }
        let Some(offers) = &mut self.offers else { return Ok(()) };
        offers.list(&self.seeds, &mut self.records, &mut load::free_slots(&mut self.ebpf)?)
    }

    /// Compares every traced thread that is blocked at this moment with what the kernel has kept about it; registers threads as
    /// [`Self::seed_again`] does. Compares none where the kernel has no task iterator.
    pub fn compare_waiting(&mut self) -> Result<Residuals, KernelError> {
        // SAFETY: whole words inside the mapping; only the iterator writes them, and it runs, if there is one, in the next line.
        unsafe { self.waiting.pointer(0).write_volatile(Residuals::default()) };
        self.seed_again()?;
        Ok(self.waiting.read(0))
    }

    /// Reads the records of all CPUs.
    pub fn cpus(&self) -> Vec<CpuRecord> {
        (0..self.cpus.len()).map(|cpu| self.cpus.read(cpu)).collect()
    }

    /// Moves a thread to another workload, if it is still there and in the one that it was read in: it may have called exec since.
    /// Whether it was moved and has not begun to end.
    pub fn set_workload(&mut self, tid: Tid, workload: WorkloadId) -> bool {
        self.slot_of_tid.get(&tid).is_some_and(|(slot, before)| self.records.set_workload(*slot, *before, workload.0))
    }

    /// Says where processes belong from now on that exec into this.
    pub fn set_owner(&mut self, key: &ExecKey, owner: Owner) -> Result<(), KernelError> {
        owners::set(&mut self.ebpf, key, owner)
    }

    /// Forgets what [`Self::set_owner`] said.
    pub fn forget_owner(&mut self, key: &ExecKey) -> Result<(), KernelError> {
        owners::forget(&mut self.ebpf, key)
    }

    /// Hands a workload back, with zeros for counters. No thread may be in it, and no key lead to it.
    pub fn retire(&mut self, workload: WorkloadId) -> Result<(), KernelError> {
        for cpu in 0..self.cpus.len() {
            // SAFETY: an aligned record inside the mapping, which no program writes any more.
            unsafe { self.cells.pointer(cpu * self.bank + workload.0 as usize).write_volatile(Cell::default()) };
        }
        match &self.provisionals {
            Some(provisionals) if workload.0 as usize >= self.workloads => provisionals.retire(&mut self.ebpf, workload),
            _ => Ok(()),
        }
    }

    /// Tells the programs where this thread's process keeps its interpreters' locks; threads and processes it starts inherit it.
    pub fn set_gil(&mut self, tid: Tid, ranges: [AddressRange; RANGES]) {
        if let Some((slot, _)) = self.slot_of_tid.get(&tid) {
            self.records.set_gil(*slot, ranges);
        }
    }

    /// Reads everything, and frees the slots of ended threads, which are handed out once, in `released`. Waits at most a millisecond for
    /// records that are being written.
    pub fn snapshot(&mut self, depth: Depth) -> Result<Snapshot, KernelError> {
        self.read(depth, Patience::SHORT)
    }

    /// The same for the last reading: waits longer.
    pub fn last_snapshot(&mut self) -> Result<Snapshot, KernelError> {
        self.read(Depth::Full, Patience::LONG)
    }

    fn read(&mut self, depth: Depth, mut patience: Patience) -> Result<Snapshot, KernelError> {
        let mut snapshot = Snapshot { taken_ns: now_ns(), ..Snapshot::default() };
        // Cells before records: see `snapshot`'s module documentation.
        if depth == Depth::Full {
            snapshot.cells = (0..self.cpus.len())
                .map(|cpu| (0..self.workloads).map(|workload| self.cells.read(cpu * self.bank + workload)).collect())
                .collect();
        }
        let provisional = self.provisionals.as_ref().map(Provisionals::in_use).unwrap_or_default();
        let provisional = provisional.into_iter().map(|index| (index, self.cells_of(self.workloads + index))).collect();
        snapshot.cpus = self.cpus();
        self.slot_of_tid.clear();
        for slot in 1..self.records.slots() {
            match self.records.read(slot, &mut patience).map_err(load::records_unmapped)? {
                Slot::NeverUsed => break,
                Slot::Free => {}
                Slot::Torn(mut record) => {
                    snapshot.torn_records += 1;
                    // Its sums may or may not include its interval already, so nothing is added to them.
                    record.clock.since_ns = snapshot.taken_ns;
                    snapshot.threads.push(self.thread(slot, &record));
                }
                Slot::Used(record) => {
                    let mut thread = self.thread(slot, &record);
                    resume::if_unseen(&mut thread.record, snapshot.taken_ns);
                    let found = (slot, record.workload);
                    if thread.is_ending() {
                        self.slot_of_tid.entry(thread.tid()).or_insert(found);
                    } else {
                        self.slot_of_tid.insert(thread.tid(), found);
                    }
                    snapshot.threads.push(thread);
                }
            }
        }
        snapshot.released = self.release(&mut patience)?;
        if let Some(provisionals) = &self.provisionals {
            snapshot.are_starts_deferred = true;
            snapshot.arrivals = provisionals.take_arrivals();
            // After the records: whatever workload a thread is in, it is known what stands behind that.
            snapshot.provisional = provisionals.read(provisional);
        }
        Ok(snapshot)
    }

    /// The cells of one workload by CPU.
    fn cells_of(&self, workload: usize) -> Vec<Cell> {
        (0..self.cpus.len()).map(|cpu| self.cells.read(cpu * self.bank + workload)).collect()
    }

    fn thread(&self, slot: usize, record: &TaskRecord) -> Thread {
        let wait_account = self.wait_accounts.as_ref().map(|accounts| accounts.read(slot));
        Thread { record: *record, on_cpu_ns_by_cpu: self.thread_by_core(slot), wait_account }
    }

    fn thread_by_core(&self, slot: usize) -> Vec<u64> {
        let slots = self.records.slots();
        self.thread_cpu
            .as_ref()
            .map_or_else(Vec::new, |sums| (0..sums.len() / slots).map(|cpu| sums.read(cpu * slots + slot)).collect())
    }

    /// Takes over the slots of ended threads, copies what they hold and hands them back to the programs.
    fn release(&mut self, patience: &mut Patience) -> Result<Vec<Thread>, KernelError> {
        let mut slots = Vec::new();
        let mut dead: Queue<&mut MapData, u32> = Queue::try_from(load::map_mut(&mut self.ebpf, map::DEAD_SLOTS)?)?;
        loop {
            match dead.pop(0) {
                Ok(slot) => slots.push(slot),
                Err(aya::maps::MapError::ElementNotFound) => break,
                Err(error) => return Err(error.into()),
            }
        }
        let mut released = Vec::with_capacity(slots.len());
        for &slot in &slots {
            let slot = slot as usize;
            if let Slot::Used(record) = self.records.read(slot, patience).map_err(load::records_unmapped)? {
                released.push(self.thread(slot, &record));
            }
            if let Some(sums) = &self.thread_cpu {
                let slots = self.records.slots();
                for cpu in 0..sums.len() / slots {
                    // SAFETY: an aligned word inside the mapping; no program uses the slot until it is handed back below.
                    unsafe { sums.pointer(cpu * slots + slot).write_volatile(0) };
                }
            }
            if let Some(accounts) = &self.wait_accounts {
                // SAFETY: an aligned record inside the mapping, which nobody uses, as above.
                unsafe { accounts.pointer(slot).write_volatile(WaitAccount::default()) };
            }
            self.records.clear(slot);
        }
        let mut free = load::free_slots(&mut self.ebpf)?;
        for slot in slots {
            free.push(slot, 0)?;
        }
        Ok(released)
    }
}

/// `CLOCK_MONOTONIC`, the clock of `bpf_ktime_get_ns`.
pub fn now_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}
