//! Who gets which colour and letter.

use std::collections::BTreeMap;

use super::{
    super::{
        ColourDepth,
        palette::TASKS,
        schema::{CoreMap, CoreMapThread, ThreadReport},
        words::clean,
    },
    Key,
    grid::{Cell, Grid},
};

/// Letters where there are no colours.
const LETTERS: usize = 26;

/// What a colour stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Task {
    Thread { index: usize },
    Process { tgid: u32 },
}

/// Keys by thread, or by process if there are more threads than keys.
pub(super) struct Legend {
    threads: Vec<CoreMapThread>,
    by_process: bool,
    keys: BTreeMap<Task, Key>,
    /// Every key with its name, the busiest first.
    pub(super) entries: Vec<(Key, String)>,
    /// True if some cells belong to tasks without a key.
    pub(super) has_others: bool,
}

impl Legend {
    pub(super) fn of(map: &CoreMap, grid: &Grid, depth: ColourDepth) -> Legend {
        let limit = if depth == ColourDepth::None { LETTERS } else { TASKS.len() };
        let mut legend = Legend {
            threads: map.threads.clone(),
            by_process: false,
            keys: BTreeMap::new(),
            entries: Vec::new(),
            has_others: false,
        };
        let mut tasks = legend.tasks_in_front(grid);
        if tasks.len() > limit && map.threads.iter().any(|thread| thread.tgid != map.threads[0].tgid) {
            legend.by_process = true;
            tasks = legend.tasks_in_front(grid);
        }
        legend.has_others = tasks.len() > limit;
        tasks.truncate(limit);
        // Those in front most often get the keys, in the order of the report: the busiest first.
        tasks.sort_by_key(|task| (0..map.threads.len()).find(|index| legend.task(*index) == *task));
        for ((index, task), letter) in tasks.into_iter().enumerate().zip('A'..='Z') {
            let key = Key { letter, colour: TASKS[index % TASKS.len()] };
            legend.keys.insert(task, key);
            legend.entries.push((key, legend.name(task)));
        }
        legend
    }

    /// "thread" or "process".
    pub(super) fn unit(&self) -> &'static str {
        if self.by_process { "process" } else { "thread" }
    }

    /// Key of the task that had most of a cell; `None` if it has no key.
    pub(super) fn key_in_front(&self, cell: &Cell) -> Option<Key> {
        self.keys.get(&self.in_front(cell)?).copied()
    }

    /// Key of a thread.
    pub(super) fn key_of(&self, thread: &ThreadReport) -> Option<Key> {
        let index = self.threads.iter().position(|known| known.tid == thread.tid && known.tgid == thread.tgid)?;
        self.keys.get(&self.task(index)).copied()
    }

    fn task(&self, index: usize) -> Task {
        if self.by_process { Task::Process { tgid: self.threads[index].tgid } } else { Task::Thread { index } }
    }

    /// The task that had most of a cell; of equals the one that comes first in the report.
    fn in_front(&self, cell: &Cell) -> Option<Task> {
        let mut seconds_by_task = BTreeMap::<Task, f64>::new();
        for &(index, seconds) in &cell.threads {
            *seconds_by_task.entry(self.task(index)).or_default() += seconds;
        }
        let (task, seconds) = seconds_by_task.into_iter().reduce(|best, next| if next.1 > best.1 { next } else { best })?;
        (seconds > 0.0).then_some(task)
    }

    /// Tasks that are in front in any cell, those in front most often first.
    fn tasks_in_front(&self, grid: &Grid) -> Vec<Task> {
        let mut cells_by_task = BTreeMap::<Task, usize>::new();
        for task in grid.rows.iter().flat_map(|row| &row.cells).filter_map(|cell| self.in_front(cell)) {
            *cells_by_task.entry(task).or_default() += 1;
        }
        let mut tasks: Vec<(Task, usize)> = cells_by_task.into_iter().collect();
        tasks.sort_by_key(|(_, cells)| std::cmp::Reverse(*cells));
        tasks.into_iter().map(|(task, _)| task).collect()
    }

    fn name(&self, task: Task) -> String {
        match task {
            Task::Thread { index } => format!("{} {}", clean(&self.threads[index].comm), self.threads[index].tid),
            Task::Process { tgid } => {
                let members = || self.threads.iter().filter(|thread| thread.tgid == tgid);
                let named_after = members().find(|thread| thread.tid == tgid).or_else(|| members().next());
                format!("{} {tgid}", named_after.map_or_else(String::new, |thread| clean(&thread.comm)))
            }
        }
    }
}
