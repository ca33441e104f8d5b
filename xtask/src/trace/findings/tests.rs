//! The same figures always give the same answer, and figures of an unfit machine give none.

use proptest::prelude::*;

use super::{super::cell::*, rules::judge_speed_up, *};

/// A row as a quiet machine with four CPUs would give it.
pub(super) fn row(task: &str, model: &str, workers: usize, speed_up: f64, demand: f64) -> Row {
    let serial = format!("{task}-serial");
    let cell = Cell {
        id: format!("{task}-{model}"),
        runtime: "3.11.7".to_owned(),
        kind: Kind::Cpu,
        task: task.to_owned(),
        model: model.to_owned(),
        workers,
        serial_twin: Some(serial),
        unit: None,
        program: "python3".into(),
        arguments: Vec::new(),
        skipped: None,
    };
    let figures = Figures {
        wall_seconds: 1.0 / speed_up,
        outside_wall_seconds: 1.0 / speed_up,
        work: 64.0,
        speed_up: Some(speed_up),
        running_mean: demand.min(4.0),
        demand_mean: demand,
        voluntary_per_second: 100.0,
        start_seconds: Some(if model == "threads" { 1e-4 } else { 1e-2 }),
        ..Figures::default()
    };
    Row::new(cell, Outcome::Measured { figures: Box::new(figures), samples: Vec::new() })
}

/// What an interpreter with a GIL shows on four CPUs.
pub(super) fn with_gil() -> Vec<Row> {
    let mut calibration = row("spin", "one thread per CPU", 4, 1.0, 4.0);
    calibration.cell.kind = Kind::Calibration;
    calibration.cell.id = CALIBRATION.to_owned();
    calibration.cell.runtime = "native".to_owned();
    vec![
        calibration,
        row("arithmetic", "serial", 1, 1.0, 1.0),
        row("arithmetic", "threads", 4, 0.98, 1.2),
        row("arithmetic", "processes-fork", 4, 3.8, 4.0),
        row("hash", "serial", 1, 1.0, 1.0),
        row("hash", "threads", 4, 3.7, 3.9),
        row("download", "serial", 1, 1.0, 0.01),
        row("download", "threads", 4, 3.9, 0.05),
        row("download", "asyncio", 4, 3.9, 0.05),
    ]
}

pub(super) fn figures_of(rows: &mut [Row], index: usize) -> &mut Figures {
    match &mut rows[index].outcome {
        Outcome::Measured { figures, .. } => figures,
        _ => unreachable!("all rows are measured"),
    }
}

fn verdicts(rows: &[Row]) -> Vec<(&'static str, Verdict)> {
    of(rows, 4).iter().map(|finding| (finding.question, finding.verdict)).collect()
}

#[test]
fn an_interpreter_with_a_gil_is_recognised() {
    use Verdict::{No, Yes};
    assert_eq!(
        verdicts(&with_gil()),
        [
            ("threads-speed-up-computing", No),
            ("threads-speed-up-hashing", Yes),
            ("processes-speed-up-computing", Yes),
            ("waiting-overlaps", Yes),
            ("process-costs-more", Yes),
        ]
    );
    let text = text(&of(&with_gil(), 4));
    assert!(
        text.contains("Threads do not speed up pure Python arithmetic: 4 of them are 0.98x as fast as serial on 4 CPUs; they want 1.2 cores, where 4 processes want 4.0."),
        "{text}"
    );
}

#[test]
fn without_a_gil_the_answer_is_another() {
    let mut rows = with_gil();
    figures_of(&mut rows, 2).speed_up = Some(3.6);
    assert_eq!(verdicts(&rows)[0].1, Verdict::Yes);
    figures_of(&mut rows, 2).speed_up = Some(1.8);
    assert_eq!(verdicts(&rows)[0].1, Verdict::Partly);
}

#[test]
fn a_starved_machine_tells_demand_but_no_speed() {
    let mut rows = with_gil();
    figures_of(&mut rows, 0).running_mean = 3.0;
    let finding = &of(&rows, 4)[0];
    assert_eq!(finding.verdict, Verdict::Inconclusive);
    assert!(
        finding.sentence.contains("got only 3.00 of 4 CPUs. Their demand is clear: 4 of them want 1.2 cores"),
        "{}",
        finding.sentence
    );
    rows.remove(0);
    assert!(of(&rows, 4)[0].sentence.contains("calibration cell did not run"));
}

#[test]
fn cells_that_did_not_run_are_not_spoken_of() {
    let mut rows = with_gil();
    rows[2].outcome = Outcome::Skipped { why: "no threads".to_owned() };
    assert!(of(&rows, 4).iter().all(|finding| !finding.cells.contains(&"arithmetic-threads".to_owned())));
    assert!(of(&[], 4).is_empty() && text(&[]).is_empty());
}

proptest! {
    #[test]
    fn a_lost_observation_or_foreign_load_makes_it_inconclusive(lost in 1..1000_u32, foreign in 0.61..1.0_f64, is_lost in any::<bool>()) {
        let mut rows = with_gil();
        for index in 1..rows.len() {
            let figures = figures_of(&mut rows, index);
            if is_lost { figures.lost = f64::from(lost) } else { figures.foreign_share = foreign }
        }
        for finding in of(&rows, 4) {
            prop_assert_eq!(finding.verdict, Verdict::Inconclusive);
            prop_assert!(!finding.sentence.contains("want"), "{}", finding.sentence);
        }
    }

    #[test]
    fn a_greater_gain_never_looks_worse(a in 0.1..70.0_f64, b in 0.1..70.0_f64, ideal in 2.0..64.0_f64) {
        let rank = |speed_up| match judge_speed_up(speed_up, ideal) {
            Verdict::No => 0,
            Verdict::Partly => 1,
            Verdict::Yes => 2,
            Verdict::Inconclusive => unreachable!("not from a number"),
        };
        prop_assert!(a > b || rank(a) <= rank(b));
    }
}
