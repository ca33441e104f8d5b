//! Which processes `attach` is to trace.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use procfs::process::{Process, all_processes};

use super::WhomArgs;
use crate::capture::family::families;
use crate::capture::kernel::now_ns;
use crate::capture::members::{directories, members};
use crate::capture::snapshot::Tgid;
use crate::label::asked::{Asked, container_of};
use crate::label::containers::Containers;
use crate::label::proc::read_identity;

/// Names of containers that an error lists.
const LISTED: usize = 16;

/// What was asked for, as far as it was there.
pub(super) struct Whom {
    with_descendants: bool,
    processes: Vec<Tgid>,
    cgroups: Vec<Cgroup>,
    names: Vec<Asked>,
    containers: Containers,
}

struct Cgroup {
    asked: String,
    directories: Vec<PathBuf>,
}

/// Processes with one of the names.
struct Named {
    asked: Asked,
    processes: Vec<Tgid>,
}

impl Whom {
    pub(super) fn new(args: &WhomArgs, with_descendants: bool) -> anyhow::Result<Whom> {
        let programs = args.program.iter().cloned().map(Asked::Program);
        let units = args.unit.iter().map(|name| Asked::unit(name));
        let containers = args.container.iter().cloned().map(Asked::Container);
        let cgroups = args.cgroup.iter().map(|asked| match directories(Path::new(asked)) {
            directories if directories.is_empty() => {
                Err(anyhow::anyhow!("there is no cgroup {asked}: 'systemd-cgls' and /proc/PID/cgroup show what there is"))
            }
            directories => Ok(Cgroup { asked: asked.clone(), directories }),
        });
        Ok(Whom {
            with_descendants,
            processes: args.pid.iter().copied().map(Tgid).collect(),
            cgroups: cgroups.collect::<anyhow::Result<_>>()?,
            names: programs.chain(units).chain(containers).collect(),
            containers: Containers::of_host("/".into()),
        })
    }

    /// Whether others can come to be meant.
    pub(super) fn can_grow(&self) -> bool {
        !self.names.is_empty() || !self.cgroups.is_empty()
    }

    /// Those that were given by their ids.
    pub(super) fn processes(&self) -> &[Tgid] {
        &self.processes
    }

    /// Leaves some of these out of what is told.
    pub(super) fn forget(&mut self, processes: &[Tgid]) {
        self.processes.retain(|process| !processes.contains(process));
    }

    /// All who are meant. What nobody answers to is forgotten, and said.
    ///
    /// # Errors
    ///
    /// If nobody is meant at all.
    pub(super) fn find_first(&mut self) -> anyhow::Result<Vec<Tgid>> {
        let (processes, gone): (Vec<Tgid>, Vec<Tgid>) = self.processes.iter().copied().partition(|tgid| exists(*tgid));
        self.processes = processes;
        let mut lacks = Vec::new();
        if !gone.is_empty() {
            lacks.push(format!("there is no process {}: 'ps -e' lists what runs", list(&gone)));
        }
        let (named, running) = self.find_named();
        for Named { asked, processes } in &named {
            if processes.is_empty() {
                lacks.push(lack(asked, &running));
            }
        }
        for Cgroup { asked, directories } in &self.cgroups {
            if directories.iter().all(|directory| members(directory).is_empty()) {
                lacks.push(format!("no process is in the cgroup {asked} or below it"));
            }
        }
        let everyone = self.gathered(self.processes.clone(), named);
        if everyone.is_empty() {
            anyhow::bail!(lacks.join("; "));
        }
        for lack in lacks {
            eprintln!("schedscope: {lack}; the report is about the others");
        }
        Ok(everyone)
    }

    /// All who are meant now, but by their ids: these may be others' meanwhile.
    pub(super) fn find(&mut self) -> Vec<Tgid> {
        let (named, _) = self.find_named();
        self.gathered(Vec::new(), named)
    }

    /// The processes with each name, and the names of all containers that have a process.
    fn find_named(&mut self) -> (Vec<Named>, BTreeSet<String>) {
        let mut named: Vec<Named> = self.names.iter().map(|asked| Named { asked: asked.clone(), processes: Vec::new() }).collect();
        let mut running = BTreeSet::new();
        if named.is_empty() {
            return (named, running);
        }
        let all = all_processes().into_iter().flatten().flatten().map(|process| Tgid(process.pid.cast_unsigned()));
        self.containers.look_again(now_ns());
        for tgid in all {
            let Some(mut identity) = read_identity(tgid) else { continue };
            identity.container = self.containers.look_up(&identity.cgroup, now_ns());
            running.extend(container_of(&identity));
            for Named { asked, processes } in &mut named {
                if asked.means(&identity) {
                    processes.push(tgid);
                }
            }
        }
        (named, running)
    }

    /// These, those in cgroups and those with names; with the descendants of those who are not chosen by where they are, and without us
    /// unless we are asked for by our id.
    fn gathered(&self, mut heads: Vec<Tgid>, named: Vec<Named>) -> Vec<Tgid> {
        let mut inside: Vec<Tgid> =
            self.cgroups.iter().flat_map(|cgroup| &cgroup.directories).flat_map(|directory| members(directory)).collect();
        for Named { asked, processes } in named {
            if matches!(asked, Asked::Program(_)) { heads.extend(processes) } else { inside.extend(processes) }
        }
        if self.with_descendants && !heads.is_empty() {
            heads = families(&heads);
        }
        let own = Tgid(std::process::id());
        let is_wanted = |tgid: &Tgid| *tgid != own || self.processes.contains(tgid);
        let everyone: BTreeSet<Tgid> = heads.into_iter().chain(inside).filter(is_wanted).collect();
        everyone.into_iter().collect()
    }
}

/// As the name of the run.
impl fmt::Display for Whom {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pids = (!self.processes.is_empty()).then(|| format!("pid {}", list(&self.processes)));
        let names = self.names.iter().map(described);
        let cgroups = self.cgroups.iter().map(|cgroup| format!("cgroup {}", cgroup.asked));
        formatter.write_str(&pids.into_iter().chain(names).chain(cgroups).collect::<Vec<_>>().join(", "))
    }
}

fn described(asked: &Asked) -> String {
    match asked {
        Asked::Program(name) => format!("program {name}"),
        Asked::Unit(name) => format!("unit {name}"),
        Asked::Container(name) => format!("container {name}"),
    }
}

/// That nobody answers to a name, and where to look for another.
fn lack(asked: &Asked, running: &BTreeSet<String>) -> String {
    let what = described(asked);
    match asked {
        Asked::Program(_) => format!(
            "no process runs the {what}: 'ps -e' lists the names of threads and 'pgrep -f' finds scripts by their arguments, for --pid"
        ),
        Asked::Unit(_) => {
            format!(
                "no process is in the {what}: 'systemctl list-units' lists services and scopes; a slice or a session is a --cgroup"
            )
        }
        Asked::Container(_) if running.is_empty() => {
            format!("no process is in the {what}, nor in any other that can be seen from here")
        }
        Asked::Container(_) => {
            let listed: Vec<&str> = running.iter().take(LISTED).map(String::as_str).collect();
            let others = if running.len() > LISTED { format!(" and {} more", running.len() - LISTED) } else { String::new() };
            format!("no process is in the {what}; there are {}{others}", listed.join(", "))
        }
    }
}

fn exists(tgid: Tgid) -> bool {
    i32::try_from(tgid.0).is_ok_and(|pid| Process::new(pid).is_ok())
}

pub(super) fn list(processes: &[Tgid]) -> String {
    processes.iter().map(|tgid| tgid.0.to_string()).collect::<Vec<_>>().join(", ")
}
