//! The lab under `--serve`: some cells, and what Prometheus has of them.

use std::fs;

use tempfile::TempDir;

use super::{
    expressions::Choice,
    scene::{built, prometheus_where_allowed, query},
};
use crate::trace::{
    cell::{Cell, Kind},
    child::Stop,
    host::Programs,
    measure::{self, Runs},
    runtime::{self, NATIVE},
    serve::Serving,
};

#[test]
fn the_dashboards_show_the_lab_with_models_and_phases() {
    if prometheus_where_allowed().is_none() {
        return;
    }
    let scratch = TempDir::new().unwrap();
    let stop = Stop::default();
    let programs =
        Programs { target: scratch.path().to_owned(), schedscope: built("schedscope"), workloads: built("schedscope-workloads") };
    let directory = scratch.path().join("trace");
    fs::create_dir(&directory).unwrap();
    let cells = cells(&programs, &stop);
    let mut serving = Serving::start(&programs, &cells, &directory, &stop).unwrap();
    for cell in serving.cells().to_vec() {
        let mut runs = Runs::default();
        serving.begin(&cell, &stop).unwrap();
        measure::run(&cell, &programs, &mut runs, &stop).unwrap();
        assert!(runs.has_succeeded(), "{}: {}", cell.label(), runs.last_line());
        serving.show(&cell, &runs, &stop).unwrap();
    }
    assert_eq!(serving.shown().len(), cells.len());
    for shown in serving.shown() {
        let scraped = shown.prometheus.as_ref().unwrap();
        println!("{}: {:?}, Prometheus: {scraped:?}", shown.workload, shown.models);
        assert!(shown.is_visible(), "{} was seen by {} scrapes only", shown.workload, scraped.scrapes);
        assert!(shown.agrees(), "{}: {:?} instead of {:?}", shown.workload, scraped.model(), shown.models);
        // Prometheus lacks what was before the first scrape and after the last.
        let (seen, all) = (scraped.on_cpu_seconds, shown.on_cpu_seconds);
        assert!(seen <= 1.02 * all && seen >= 0.5 * all, "{}: {seen} of {all} s on CPUs", shown.workload);
        let [phases, ..] = schedscope_grafana::variables::annotations();
        let half_way = f64::midpoint(shown.begin_unix_seconds, shown.end_unix_seconds);
        let marked = query(serving.prometheus(), &Choice::all("5s").apply(&phases.expr), half_way);
        let names: Vec<&str> = marked.iter().map(|(labels, _)| labels["workload"].as_str().unwrap()).collect();
        assert_eq!(names, [shown.workload.as_str()]);
    }
}

/// Threads and processes in the native program, and in Python where there is one.
fn cells(programs: &Programs, stop: &Stop) -> Vec<Cell> {
    let native = |model: &str| Cell {
        id: format!("native-spin-{model}"),
        runtime: NATIVE.to_owned(),
        program: programs.workloads.clone(),
        arguments: ["native", "--task", "spin", "--workers", "4", "--seconds", "0.2", "--model", model].map(Into::into).into(),
        ..cell(model)
    };
    let mut cells = vec![native("threads"), native("processes")];
    match runtime::pythons(&[], stop) {
        Ok(pythons) => {
            let python = pythons.into_iter().next().unwrap();
            let of_model = |model: &str| Cell {
                id: format!("arithmetic-{model}"),
                runtime: python.name.clone(),
                program: python.program.clone(),
                arguments: python
                    .prefix
                    .iter()
                    .map(|path| path.clone().into_os_string())
                    .chain(
                        [format!("arithmetic-{model}"), "--workers=4".to_owned(), "--work".to_owned(), "100".to_owned()]
                            .map(Into::into),
                    )
                    .collect(),
                ..cell(model)
            };
            cells.extend(["threads", "processes-spawn"].map(of_model));
        }
        Err(error) => println!("skipped: the cells in Python: {error:#}"),
    }
    cells
}

fn cell(model: &str) -> Cell {
    Cell {
        id: String::new(),
        runtime: String::new(),
        kind: Kind::Cpu,
        task: "arithmetic".to_owned(),
        model: model.to_owned(),
        workers: 4,
        serial_twin: None,
        unit: None,
        program: "".into(),
        arguments: Vec::new(),
        skipped: None,
    }
}
