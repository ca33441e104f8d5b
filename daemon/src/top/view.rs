//! Everything that is drawn, chosen and put in order; pure. What is still a number here becomes text in [`super::draw`].

use std::cmp::Reverse;

use super::controls::{Controls, Mode, SortKey};
use super::history::{History, Recent};
use super::wire::{LastWindow, OTHER, Sample, Workload, WorkloadId};
use crate::diagnose::{LostCause, ModelName};
use crate::label::NameSource;
use crate::report::ColourDepth;
use crate::report::terminal::TASKS;

/// Whether what is shown is what is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing has been told yet.
    #[default]
    Starting,
    Live,
    /// The same reading was told again, for so many seconds.
    Stale(u32),
    /// Nobody answers, and why.
    Gone(String),
}

#[derive(Clone, Debug, Default)]
pub(super) struct View<'a> {
    pub(super) colour: ColourDepth,
    /// Who traces.
    pub(super) origin: &'a str,
    pub(super) state: State,
    pub(super) controls: Controls,
    pub(super) host: Host,
    /// Those that are shown, in order.
    pub(super) rows: Vec<Row<'a>>,
    /// Place of the chosen one in `rows`.
    pub(super) chosen: Option<usize>,
    /// CPUs in order.
    pub(super) cpus: Vec<u32>,
    pub(super) map: Vec<Column>,
}

/// What the host did in the last samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Host {
    pub(super) wall_ns: u64,
    pub(super) cpus: usize,
    pub(super) idle_ns: u64,
    pub(super) runnable_ns: u64,
    pub(super) switches: u64,
    /// Observations that leave a gap in the figures, since tracing began.
    pub(super) missing: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Row<'a> {
    pub(super) id: WorkloadId,
    pub(super) name: &'a str,
    pub(super) source: Option<NameSource>,
    pub(super) model: Option<ModelName>,
    pub(super) mark: Mark,
    pub(super) recent: Recent,
    pub(super) last: Option<&'a LastWindow>,
}

impl Row<'_> {
    /// What it has lost most cores to, and how much.
    pub(super) fn most_lost(&self) -> Option<(LostCause, u64)> {
        self.last?.lost_ns.iter().copied().max_by_key(|(_, ns)| *ns)
    }
}

/// How a workload is told from others: its place in the palette, or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark(pub(super) Option<usize>);

impl Mark {
    fn of(colour: Option<usize>) -> Mark {
        Mark(colour.filter(|colour| *colour < TASKS.len()))
    }
}

/// A sample in the core map: what each CPU did, in the order of [`View::cpus`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) wall_ns: u64,
    pub(super) cells: Vec<Cell>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cell {
    /// Not idle; also where it is not known of whom.
    pub(super) busy_ns: u64,
    /// On-CPU time of those that have marks, and of all others together.
    pub(super) by_mark: Vec<(Mark, u64)>,
}

impl Cell {
    fn add(&mut self, mark: Mark, ns: u64) {
        match self.by_mark.iter_mut().find(|(known, _)| *known == mark) {
            Some((_, sum)) => *sum = sum.saturating_add(ns),
            None => self.by_mark.push((mark, ns)),
        }
    }

    /// What several CPUs did together.
    pub(super) fn merge(&mut self, other: &Cell) {
        self.busy_ns = self.busy_ns.saturating_add(other.busy_ns);
        for (mark, ns) in &other.by_mark {
            self.add(*mark, *ns);
        }
    }
}

impl<'a> View<'a> {
    /// What `history` says to somebody who has set `controls` so.
    pub(super) fn of(history: &'a History, controls: &Controls, origin: &'a str, state: State, colour: ColourDepth) -> View<'a> {
        let all: Vec<Row<'a>> = rows(history);
        let host = Host {
            wall_ns: history.wall_ns(),
            cpus: history.cpus.len(),
            idle_ns: history.idle_ns(),
            runnable_ns: all.iter().fold(0, |sum: u64, row| sum.saturating_add(row.recent.runnable_ns)),
            switches: all.iter().fold(0, |sum: u64, row| sum.saturating_add(row.recent.switches)),
            missing: history.missing,
        };
        let map = map(history, &all);
        let mut rows: Vec<Row<'a>> = all.into_iter().filter(|row| is_shown(row, &controls.filter)).collect();
        sort(&mut rows, controls.sort);
        let chosen = rows.iter().position(|row| Some(row.id) == controls.selected);
        // Of those that have names the first, which is the busiest unless it is sorted by something else.
        let chosen =
            chosen.or_else(|| rows.iter().position(|row| row.id != OTHER)).or(if rows.is_empty() { None } else { Some(0) });
        let cpus = history.cpus.iter().copied().collect();
        View { colour, origin, state, controls: controls.clone(), host, rows, chosen, cpus, map }
    }

    /// The ids of the rows, for the keys that move from one to the next.
    pub(super) fn order(&self) -> Vec<WorkloadId> {
        self.rows.iter().map(|row| row.id).collect()
    }

    pub(super) fn is_editing(&self) -> bool {
        self.controls.mode == Mode::Filter
    }
}

fn rows<'a>(history: &'a History) -> Vec<Row<'a>> {
    let row = |workload: &'a Workload| Row {
        id: workload.id,
        name: &workload.name,
        source: workload.source,
        model: workload.model,
        mark: Mark::of(workload.colour),
        recent: history.recent_of(workload.id),
        last: workload.last_window.as_ref(),
    };
    history.workloads.iter().map(row).collect()
}

/// Those that are there, and of these the ones that were asked for.
fn is_shown(row: &Row<'_>, filter: &str) -> bool {
    let is_there = row.recent.threads > 0 || row.recent.on_cpu_ns > 0;
    let wanted = filter.to_lowercase();
    let has = |text: &str| text.to_lowercase().contains(&wanted);
    is_there
        && (has(row.name)
            || row.model.is_some_and(|model| has(model.name()))
            || row.source.is_some_and(|source| has(source.name())))
}

/// The largest first, but for names; what has no name of its own is last.
fn sort(rows: &mut [Row<'_>], key: SortKey) {
    let value = |row: &Row<'_>| match key {
        SortKey::Running => row.recent.on_cpu_ns,
        SortKey::Demand => row.recent.on_cpu_ns.saturating_add(row.recent.runnable_ns),
        SortKey::Latency => row.last.and_then(|last| last.wakeup_p99_ns).unwrap_or(0),
        SortKey::Switches => row.recent.switches,
        SortKey::Migrations => row.recent.migrations,
        SortKey::Lost => row.most_lost().map_or(0, |(_, ns)| ns),
        SortKey::Name => 0,
    };
    rows.sort_by(|a, b| {
        let [a, b] = [a, b].map(|row| (row.id == OTHER, Reverse(value(row)), row.name, row.id));
        a.cmp(&b)
    });
}

fn map(history: &History, rows: &[Row<'_>]) -> Vec<Column> {
    let mark = |id: u64| rows.iter().find(|row| row.id == WorkloadId(id)).map_or(Mark(None), |row| row.mark);
    let column = |sample: &Sample| {
        let mut cells = vec![Cell::default(); history.cpus.len()];
        let place = |cpu: u32| history.cpus.iter().position(|known| *known == cpu);
        for (id, figures) in &sample.workloads {
            let mark = mark(*id);
            for (cpu, ns) in &figures.on_cpu_ns {
                if let Some(cell) = place(*cpu).and_then(|place| cells.get_mut(place)) {
                    cell.add(mark, *ns);
                }
            }
        }
        for (cell, cpu) in cells.iter_mut().zip(&history.cpus) {
            let used_ns = cell.by_mark.iter().fold(0, |sum: u64, (_, ns)| sum.saturating_add(*ns));
            let busy_ns = sample.idle_ns.get(cpu).map_or(0, |idle_ns| sample.wall_ns.saturating_sub(*idle_ns));
            cell.busy_ns = busy_ns.max(used_ns).min(sample.wall_ns);
        }
        Column { wall_ns: sample.wall_ns, cells }
    };
    history.samples.iter().map(column).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::top::wire::{Answer, Figures, Workload};

    const SECOND_NS: u64 = 1_000_000_000;

    fn workload(id: u64, name: &str, model: ModelName, last_window: Option<LastWindow>) -> Workload {
        let colour = usize::try_from(id).unwrap().checked_sub(1);
        let source = if id > 0 { NameSource::Executable } else { NameSource::Other };
        Workload { id: WorkloadId(id), colour, name: name.to_owned(), source: Some(source), model: Some(model), last_window }
    }

    fn figures(run_ms: [u64; 2], wait_ms: u64, switches: u64, threads: u64) -> Figures {
        let on_cpu_ns = (0..).zip(run_ms).filter(|(_, ms)| *ms > 0).map(|(cpu, ms)| (cpu, ms * 1_000_000)).collect();
        Figures {
            on_cpu_ns,
            wakeup_wait_ns: wait_ms * 1_000_000,
            voluntary: switches,
            migrations: switches / 100,
            threads,
            ..Figures::default()
        }
    }

    /// Two CPUs for a minute: threads under a lock that hop, a compiler that comes after half of it, and a service that sleeps.
    pub(in crate::top) fn history() -> History {
        let sample = |number| {
            let compiler = if number > 30 { figures([0, 900], 300, 120, 6) } else { figures([0, 0], 0, 0, 0) };
            let python = if number % 2 == 0 { figures([700, 50], 20, 9_000, 5) } else { figures([500, 60], 20, 9_000, 5) };
            let workloads =
                BTreeMap::from([(0, figures([20, 10], 1, 300, 90)), (1, python), (2, compiler), (3, figures([0, 0], 0, 4, 12))]);
            let idle_ns = BTreeMap::from([(0, 230_000_000), (1, if number > 30 { 0 } else { 930_000_000 })]);
            Sample { number, wall_ns: SECOND_NS, idle_ns, workloads }
        };
        let last = |sentence: &str, used_ms: u64, lost: &[(LostCause, u64)], wakeup_p99_ns| LastWindow {
            wall_ns: 2 * SECOND_NS,
            sentence: sentence.to_owned(),
            advice: String::new(),
            used_ns: used_ms * 1_000_000,
            lost_ns: lost.iter().map(|(cause, ms)| (*cause, ms * 1_000_000)).collect(),
            wakeup_p99_ns,
        };
        let python = last(
            "5 threads want 0.83 cores and get 0.81 of 2: the 4 busiest wait for the GIL 73 % of the time they would otherwise run.",
            1_620,
            &[(LostCause::WaitGil, 1_500), (LostCause::Others, 640), (LostCause::Transit, 240)],
            Some(412_000),
        );
        let python = LastWindow { advice: "Move the CPU work to processes: each has a GIL of its own.".to_owned(), ..python };
        let compiler =
            last("6 processes use 0.90 of 2 cores.", 1_800, &[(LostCause::Others, 1_400), (LostCause::TooFewThreads, 800)], None);
        let service = last("It rests.", 0, &[(LostCause::WaitPoll, 4_000)], Some(58_000));
        let answer = Answer {
            epoch: 1,
            next: 61,
            idle_ns: BTreeMap::from([(0, 0), (1, 0)]),
            workloads: vec![
                workload(0, "other", ModelName::Mixed, None),
                workload(1, "python3", ModelName::ThreadsGilBound, Some(python)),
                workload(2, "cargo, das große 工作", ModelName::Processes, Some(compiler)),
                workload(3, "nginx.service", ModelName::EventLoop, Some(service)),
                workload(4, "gone", ModelName::Idle, None),
            ],
            missing: BTreeMap::from([("task_table_full".to_owned(), 2)]),
            samples: (0..=60).map(sample).collect(),
            ..Answer::default()
        };
        let mut history = History::default();
        history.take(answer);
        history
    }

    fn names(controls: &Controls) -> Vec<String> {
        let history = history();
        let view = View::of(&history, controls, "", State::Live, ColourDepth::None);
        view.rows.iter().map(|row| row.name.split(',').next().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn rows_are_in_the_order_that_was_asked_for_and_other_is_last() {
        for (sort, expected) in [
            (SortKey::Running, ["cargo", "python3", "nginx.service", "other"]),
            (SortKey::Switches, ["python3", "cargo", "nginx.service", "other"]),
            (SortKey::Latency, ["python3", "nginx.service", "cargo", "other"]),
            (SortKey::Lost, ["nginx.service", "python3", "cargo", "other"]),
            (SortKey::Name, ["cargo", "nginx.service", "python3", "other"]),
        ] {
            assert_eq!(names(&Controls { sort, ..Controls::default() }), expected, "{sort:?}");
        }
    }

    #[test]
    fn the_filter_looks_at_names_models_and_sources() {
        let with = |filter: &str| names(&Controls { filter: filter.to_owned(), ..Controls::default() });
        assert_eq!(with("PYTH"), ["python3"]);
        assert_eq!(with("gil-b"), ["python3"]);
        assert_eq!(with("executable").len(), 3);
        assert_eq!(with("nobody"), [""; 0]);
    }

    #[test]
    fn the_host_is_the_sum_and_the_selected_one_stays_selected() {
        let history = history();
        let controls = Controls { selected: Some(WorkloadId(3)), ..Controls::default() };
        let view = View::of(&history, &controls, "", State::Live, ColourDepth::None);
        assert_eq!((view.host.cpus, view.host.switches, view.host.missing), (2, 2 * (300 + 9_000 + 120 + 4), 2));
        assert_eq!(view.chosen.map(|row| view.rows[row].name), Some("nginx.service"));
        let view = View::of(&history, &Controls::default(), "", State::Live, ColourDepth::None);
        assert_eq!(view.chosen, Some(0));
        let cell = &view.map[60].cells[0];
        assert_eq!((cell.busy_ns, cell.by_mark.len()), (770_000_000, 2), "python and what has no name");
        assert_eq!(history.cpus, BTreeSet::from([0, 1]));
    }
}
