use super::{super::cell::Kind, *};

#[test]
fn numbers_are_short() {
    assert_eq!(
        [12.345, 1.0, 0.9996, 0.9994, 0.0123, 0.000_005].map(seconds),
        ["12.3 s", "1.00 s", "1.00 s", "999 ms", "12.3 ms", "5.00 µs"]
    );
    assert_eq!([1.234, 0.1, 0.0234, 0.00234].map(factor), ["1.23x", "0.10x", "0.023x", "0.0023x"]);
    assert_eq!([0.0, 0.26, 9.96, 1234.4, 1_234_567.0].map(rate), ["0", "0.3", "10", "1,234", "1,234,567"]);
}

#[test]
fn a_unit_ends_where_three_digits_of_the_next_begin() {
    assert_eq!(
        [0.9995, 0.0999, 0.099_96, 0.001, 0.000_999_4, 99.94, 99.96, 9.994, 9.996].map(seconds),
        ["1.00 s", "99.9 ms", "100 ms", "1.00 ms", "999 µs", "99.9 s", "100 s", "9.99 s", "10.0 s"]
    );
    assert_eq!([0.0995, 0.0994, 0.009_95, 0.009_94].map(factor), ["0.10x", "0.099x", "0.010x", "0.0099x"]);
    assert_eq!([9.94, 9.95, 999.0, 1000.0].map(rate), ["9.9", "10", "999", "1,000"]);
}

fn row(model: &str, runtime: &str, task: &str, outcome: Outcome) -> Row {
    let cell = Cell {
        id: format!("{task}-{model}"),
        runtime: runtime.to_owned(),
        kind: Kind::Cpu,
        task: task.to_owned(),
        model: model.to_owned(),
        workers: 4,
        serial_twin: Some(format!("{task}-serial")),
        unit: Some(if runtime == "native" { "native unit".to_owned() } else { "one loop".to_owned() }),
        program: "python3".into(),
        arguments: Vec::new(),
        skipped: None,
    };
    Row::new(cell, outcome)
}

fn measured(speed_up: Option<f64>) -> Outcome {
    let figures = Figures {
        wall_seconds: 2.5,
        speed_up,
        running_mean: 1.234,
        demand_mean: 3.456,
        effective_cpus: 1.96,
        voluntary_per_second: 1234.0,
        preempted_per_second: 5.25,
        migrations_per_second: 0.0,
        pss_bytes: Some(1.5 * 1_048_576.0),
        start_seconds: Some(0.001),
        gil_share: 0.75,
        ..Figures::default()
    };
    Outcome::Measured { figures: Box::new(figures), runs: Vec::new(), samples: Vec::new() }
}

fn rows() -> Vec<Row> {
    vec![
        row("serial", "native", "loop", measured(Some(1.0))),
        row("serial", "3.11.7", "loop", measured(Some(1.0))),
        row("threads", "3.11.7", "loop", Outcome::Skipped { why: "no threads".to_owned() }),
        row("threads", "3.11.7", "hash", Outcome::Failed { why: "it fell".to_owned() }),
        row("threads", "3.13t", "hash", measured(Some(0.5))),
    ]
}

#[test]
fn a_row_holds_each_figure_under_its_heading() {
    let expected = [
        "threads", "3.13t", "4", "2.50 s", "0.50x", "1.23", "3.46", "2.0", "75 %", "1,234", "5.2", "0", "-", "1.5 MiB", "1.00 ms",
        "",
    ];
    assert_eq!(cells(&rows()[4]), expected);
    assert_eq!(cells(&rows()[1])[14], "-", "a serial cell starts no worker");
    assert_eq!(cells(&row("threads", "x", "loop", measured(None)))[4], "-");
    let empty = cells(&rows()[2]);
    assert_eq!((empty.len(), empty[0].as_str(), empty[1].as_str()), (HEADINGS.len(), "threads", "3.11.7"));
    assert!(empty[2..].iter().all(String::is_empty));
}

#[test]
fn the_table_has_a_section_per_task_with_its_unit_and_reasons_in_place() {
    let text = text(&rows());
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("  model") && lines[0].trim_end().ends_with("it is"), "{text}");
    let at = |title: &str| lines.iter().position(|line| *line == title).unwrap_or_else(|| panic!("no {title} in\n{text}"));
    let (first, second) = (at("CPU-bound: loop (one loop)"), at("CPU-bound: hash (one loop)"));
    assert!(lines[first - 1].is_empty() && lines[second - 1].is_empty());
    assert!(lines[first + 1].starts_with("  serial") && lines[first + 2].contains("3.11.7"));
    // The reason stands where the figures would.
    assert_eq!(lines[first + 3].find("skipped: no threads"), Some(2 + REASON_COLUMN));
    assert!(lines[second + 1].ends_with("FAILED: it fell") && lines[second + 2].contains("0.50x"));
    // Figures are under their headings.
    assert_eq!(lines[0].find("wall").map(|at| at + 4), lines[second + 2].find("2.50 s").map(|at| at + 6));
    assert!(text.ends_with(&format!("\n\n{LEGEND}\n")));
}

#[test]
fn a_document_has_one_table_per_task() {
    let text = markdown(&rows());
    assert_eq!((text.matches("## CPU-bound: ").count(), text.matches("| model").count()), (2, 2));
    assert!(text.contains("| skipped: no threads ") && text.contains("| FAILED: it fell "), "{text}");
    assert!(text.trim_end().lines().last().is_some_and(|legend| legend.starts_with("n: workers.")), "the legend is one line");
}

#[test]
fn a_summary_names_the_speed_up_of_what_has_a_twin() {
    let summary_of = |row: &Row| row.figures().map(|figures| summary(&row.cell, figures)).unwrap_or_default();
    assert_eq!(summary_of(&rows()[4]), "3.13t hash-threads (4): 2.50 s, 0.50x, C 1.23, D 3.46");
    assert_eq!(summary_of(&rows()[0]), "loop-serial (4): 2.50 s, C 1.23, D 3.46");
}
