//! The lab under `--serve`: some cells, and what Prometheus has of them.

use schedscope::lab::cell::{Cell, Row};
use schedscope::lab::child::Stop;
use schedscope::lab::embedded::{self, LAB_SCRIPT, SCRIPTS};
use schedscope::lab::measure::Tracer;
use schedscope::lab::runtime::{self, Runtime};
use schedscope::lab::serve::Serving;
use tempfile::TempDir;

use super::scene::{Choice, built, prometheus_where_allowed, query};

#[test]
fn the_dashboards_show_the_lab_with_models_and_phases() {
    let Some(prometheus) = prometheus_where_allowed() else { return };
    let scratch = TempDir::new().unwrap();
    let stop = Stop::default();
    let tracer = Tracer { program: built("schedscope"), directory: scratch.path().to_owned() };
    let cells = cells(&tracer, &stop);
    let mut serving = Serving::start(&prometheus, &tracer, &cells, &stop).unwrap();
    for cell in serving.cells().to_vec() {
        let mut row = Row::new(cell);
        serving.begin(&row.cell, &stop).unwrap();
        tracer.run(&mut row, &stop);
        assert!(row.has_succeeded(), "{}: {}", row.cell.label(), row.last_line());
        serving.show(&row, &stop).unwrap();
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
fn cells(tracer: &Tracer, stop: &Stop) -> Vec<Cell> {
    let cell = |runtime: &Runtime, id: String, model: &str, arguments: &[&str]| Cell {
        task: "arithmetic".to_owned(),
        model: model.to_owned(),
        workers: 4,
        ..runtime.cell(id, arguments.iter().copied().chain(["--workers", "4"]))
    };
    let native = Runtime::native(tracer.program.clone());
    let mut cells = ["threads", "processes"]
        .map(|model| {
            let arguments = ["native", "--task", "spin", "--seconds", "0.2", "--model", model];
            cell(&native, format!("native-spin-{model}"), model, &arguments)
        })
        .to_vec();
    let scripts = tracer.directory.join("workloads");
    embedded::write(SCRIPTS, &scripts).unwrap();
    let python = &runtime::pythons(&[], &scripts.join(LAB_SCRIPT), stop).unwrap()[0];
    if let Some(why) = &python.unusable {
        println!("skipped: the cells in Python: {why}");
        return cells;
    }
    cells.extend(["threads", "processes-spawn"].map(|model| {
        let id = format!("arithmetic-{model}");
        cell(python, id.clone(), model, &[&id, "--work", "100"])
    }));
    cells
}
