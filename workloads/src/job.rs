//! A native cell: what its workers do, how they are run, and one worker's part of it.

use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::report::{WorkerReport, seconds};
use crate::sys;
use crate::tasks::TaskKind;

/// How the workers are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum Model {
    /// All work in the main thread.
    Serial,
    /// One thread per worker.
    Threads,
    /// One process per worker.
    Processes,
}

impl Model {
    /// The name of the cell that does the task on this model.
    pub(crate) fn cell_id(self, task: TaskKind) -> String {
        format!("native-{}-{}", name_of(&task), name_of(&self))
    }

    /// Whether the task makes sense on this model: processes don't share the lock of `mutex`.
    pub(crate) fn can_do(self, task: TaskKind) -> bool {
        !(self == Self::Processes && task == TaskKind::Mutex)
    }
}

/// The name of a task or a model on the command line, which is its name in lists and reports too.
pub(crate) fn name_of(value: &impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

/// What a native cell is asked to do: the arguments of `native`.
#[derive(Clone, Debug, clap::Args, Serialize, Deserialize)]
pub struct NativeArgs {
    /// What to do.
    #[arg(long)]
    pub task: TaskKind,
    /// On what to do it.
    #[arg(long)]
    pub model: Model,
    /// Number of workers [default: one per usable CPU, at least 2; 1 for serial].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub workers: Option<u32>,
    /// Units of work, all workers together [default: about a second's worth for one core].
    #[arg(long, value_name = "W", conflicts_with = "seconds", value_parser = clap::value_parser!(u64).range(1..))]
    pub work: Option<u64>,
    /// Work for this many seconds instead.
    #[arg(long, value_name = "S", value_parser = parse_seconds)]
    pub seconds: Option<f64>,
    /// Seconds that one unit of `sleep` takes.
    #[arg(long, value_name = "S", default_value_t = 0.01, value_parser = parse_seconds)]
    pub pause: f64,
    /// Confine each worker to a CPU of its own (`spread`), or all of them to one (`one`).
    #[arg(long)]
    pub pin: Option<Pin>,
}

/// How workers are confined to CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pin {
    /// Each worker to a CPU of its own; they wrap round when there are more workers than CPUs.
    Spread,
    /// All workers to the same CPU.
    One,
}

/// What one worker is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    /// What all workers do together.
    cell: NativeArgs,
    /// Which of the workers it is, from 0.
    index: usize,
    /// Units that it does, unless the cell works for a time.
    share: u64,
}

impl Job {
    /// Runs the worker's life: first instruction, name, preparation, ready, go, work.
    pub(crate) fn run(&self, ready_and_wait: impl FnOnce() -> Result<()>) -> Result<WorkerReport> {
        let first_ns = sys::monotonic_ns();
        sys::name_thread(&format!("{}-{}", name_of(&self.cell.task), self.index));
        self.pin()?;
        let mut unit = self.cell.task.unit_of_work(Duration::from_secs_f64(self.cell.pause));
        ready_and_wait()?;
        let begin_ns = sys::monotonic_ns();
        let mut work = 0;
        while self.goes_on(work, begin_ns) {
            unit();
            work += 1;
        }
        Ok(WorkerReport { work, first_ns, begin_ns, end_ns: sys::monotonic_ns() })
    }

    /// True until the share is done (fixed work) or the time is up (fixed time).
    fn goes_on(&self, done: u64, begin_ns: u64) -> bool {
        match self.cell.seconds {
            None => done < self.share,
            Some(limit) => seconds(sys::monotonic_ns() - begin_ns) < limit,
        }
    }

    fn pin(&self) -> Result<()> {
        let Some(pin) = self.cell.pin else { return Ok(()) };
        let usable = sys::usable_cpus()?;
        sys::pin_to(match pin {
            Pin::One => usable[0],
            Pin::Spread => usable[self.index % usable.len()],
        })
    }
}

/// One job per worker; together they do exactly the work that was asked for.
pub(crate) fn jobs(args: &NativeArgs, cpus: usize) -> Vec<Job> {
    let workers = match (args.model, args.workers) {
        (Model::Serial, _) => 1,
        (_, Some(workers)) => usize::try_from(workers).unwrap_or(1),
        (_, None) => cpus.max(2),
    };
    shares(args.work.unwrap_or(args.task.default_work()), workers)
        .enumerate()
        .map(|(index, share)| Job { cell: args.clone(), index, share })
        .collect()
}

/// Splits `total` into shares that differ by one at most.
fn shares(total: u64, workers: usize) -> impl Iterator<Item = u64> {
    let count = workers as u64;
    (0..count).map(move |index| total / count + u64::from(index < total % count))
}

/// Reads a number of seconds: more than none, less than a day.
pub(crate) fn parse_seconds(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| format!("`{text}` is not a number of seconds"))?;
    if value > 0.0 && value < 86_400.0 { Ok(value) } else { Err("must be more than 0 seconds and less than a day".to_owned()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn shares_add_up_and_differ_by_one_at_most(total in 0_u64..1_000_000, workers in 1_usize..100) {
            let parts: Vec<u64> = shares(total, workers).collect();
            prop_assert_eq!(parts.len(), workers);
            prop_assert_eq!(parts.iter().sum::<u64>(), total);
            prop_assert!(parts.iter().max().zip(parts.iter().min()).is_some_and(|(most, least)| most - least <= 1));
        }
    }

    #[test]
    fn seconds_reject_what_would_hang_or_panic() {
        for text in ["0", "-1", "nan", "inf", "86400", "x"] {
            assert!(parse_seconds(text).is_err(), "{text}");
        }
        assert_eq!(parse_seconds("0.5"), Ok(0.5));
    }
}
