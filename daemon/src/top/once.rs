//! The table once, for readers that are no terminal.

use std::io::{self, Write};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::controls::Controls;
use super::draw::plain;
use super::history::History;
use super::source::Source;
use super::view::{State, View};
use crate::report::ColourDepth;

/// Where tracing has just begun, it takes until the second window of two seconds before models are told.
const SAMPLES: usize = 5;
const LIMIT: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(250);

/// Prints the table as soon as there is something to say.
pub(super) fn print(source: &dyn Source) -> Result<()> {
    let history = first(source)?;
    let name = source.name();
    let view = View::of(&history, &Controls::default(), &name, State::Live, ColourDepth::None);
    let mut stdout = io::stdout().lock();
    match stdout.write_all(plain(&view).as_bytes()).and_then(|()| stdout.flush()) {
        // A reader that has seen enough is no reason to fail.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write the table"),
    }
}

/// What is told once windows have been judged.
fn first(source: &dyn Source) -> Result<History> {
    let (began, mut history) = (Instant::now(), History::default());
    loop {
        history.take(source.ask(history.position())?);
        if history.samples.len() >= SAMPLES && history.workloads.iter().any(|workload| workload.last_window.is_some()) {
            return Ok(history);
        }
        if began.elapsed() > LIMIT {
            bail!(
                "the {} tells no figures within {} s: `schedscope doctor` says what this host lacks",
                source.name(),
                LIMIT.as_secs()
            );
        }
        sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::serve::history::Position;
    use crate::top::wire::{Answer, LastWindow, Sample, Workload};

    /// Answers, one after the other.
    struct Script(Cell<u64>);

    impl Source for Script {
        fn ask(&self, position: Position) -> Result<Answer> {
            let number = self.0.get();
            self.0.set(number + 1);
            assert_eq!(position.next, number, "it asks for what it has not got");
            let last_window = (number >= 2).then(LastWindow::default);
            let samples = vec![Sample { number, ..Sample::default() }];
            Ok(Answer {
                epoch: 1,
                next: number + 1,
                samples,
                workloads: vec![Workload { last_window, ..Workload::default() }],
                ..Answer::default()
            })
        }

        fn name(&self) -> String {
            "script".to_owned()
        }

        fn may_come_back(&self) -> bool {
            false
        }
    }

    #[test]
    fn it_waits_for_windows_that_tell_the_models() {
        assert_eq!(first(&Script(Cell::new(0))).unwrap().samples.len(), SAMPLES);
    }
}
