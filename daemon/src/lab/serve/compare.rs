//! What Prometheus saw of a cell beside what the lab measured at the same time.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;

use super::prometheus::Prometheus;
use crate::diagnose::ModelName;
use crate::lab::cell::{Problem, Row};
use crate::metrics::catalog::{WORKLOAD_INFO, WORKLOAD_ON_CPU, WORKLOAD_THREADS};

/// A cell is visible if at least this many scrapes saw it.
const SCRAPES: usize = 3;

/// A cell while it was shown.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Shown {
    /// Its name in the dashboards.
    pub workload: String,
    /// When it began, in seconds since 1970.
    pub begin_unix_seconds: f64,
    /// When it ended.
    pub end_unix_seconds: f64,
    /// How often it ran in that time; more than once if it cannot be made to run longer.
    pub runs: u32,
    /// Its model, as the lab has it of these runs; several if they differ.
    pub models: Vec<String>,
    /// Time that its threads ran, over all these runs, as the lab has it.
    pub on_cpu_seconds: f64,
    /// Why it did not run.
    pub failed: Option<String>,
    /// What Prometheus has of it.
    pub prometheus: Option<Scraped>,
}

/// What Prometheus has of a workload over some time.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Scraped {
    /// Scrapes in which it had threads.
    pub scrapes: usize,
    /// Scrapes by model, those left out in which it was idle.
    pub models: BTreeMap<String, usize>,
    /// Growth of its time on CPUs.
    pub on_cpu_seconds: f64,
}

impl Scraped {
    /// The model that most scrapes showed.
    pub fn model(&self) -> &str {
        self.models.iter().max_by_key(|(_, scrapes)| **scrapes).map_or(ModelName::Idle.name(), |(model, _)| model)
    }
}

impl Shown {
    pub(super) fn new(workload: String, begin_unix_seconds: f64) -> Shown {
        Shown { workload, begin_unix_seconds, ..Shown::default() }
    }

    /// A run has ended; without a sample and a problem it was interrupted.
    pub(super) fn add(&mut self, row: Row) {
        if let Some(Problem::Failed(why) | Problem::Skipped(why)) = row.problem {
            self.failed = Some(why);
        }
        for sample in row.samples {
            self.runs += 1;
            self.on_cpu_seconds += sample.report.time_seconds.on_cpu;
            let model = sample.report.model.name;
            if !self.models.contains(&model) {
                self.models.push(model);
            }
        }
    }

    /// It is over: asks Prometheus about the time since it began.
    pub(super) fn ask(&mut self, prometheus: &Prometheus, now_unix_seconds: f64) -> Result<()> {
        self.end_unix_seconds = now_unix_seconds;
        let seconds = (now_unix_seconds - self.begin_unix_seconds).ceil();
        let series = |name: &str, labels: &str| -> Result<Vec<Value>> {
            let expr = format!("{name}{{workload={:?}{labels}}}[{seconds:.0}s]", self.workload);
            let answer = prometheus.api("query", &[("query", &expr), ("time", &format!("{now_unix_seconds:.3}"))])?;
            Ok(answer["result"].as_array().cloned().unwrap_or_default())
        };
        let threads = series(WORKLOAD_THREADS.name, "")?;
        let at_work = threads.iter().flat_map(values).filter(|value| *value > 0.0);
        let mut scraped = Scraped { scrapes: at_work.count(), ..Scraped::default() };
        for found in series(WORKLOAD_INFO.name, &format!(", model!={:?}", ModelName::Idle.name()))? {
            let model = found["metric"]["model"].as_str().unwrap_or_default().to_owned();
            scraped.models.insert(model, values(&found).count());
        }
        for found in series(WORKLOAD_ON_CPU.name, "")? {
            let (first, last) = (values(&found).next(), values(&found).last());
            scraped.on_cpu_seconds += last.zip(first).map_or(0.0, |(last, first)| last - first);
        }
        self.prometheus = Some(scraped);
        Ok(())
    }

    /// True if enough scrapes saw it.
    pub fn is_visible(&self) -> bool {
        self.prometheus.as_ref().is_some_and(|scraped| scraped.scrapes >= SCRAPES)
    }

    /// True if Prometheus shows the model that the lab has.
    pub fn agrees(&self) -> bool {
        self.prometheus.as_ref().is_some_and(|scraped| self.models.iter().any(|model| model == scraped.model()))
    }
}

/// The values of a series over time.
fn values(series: &Value) -> impl Iterator<Item = f64> {
    let samples = series["values"].as_array().map_or(&[][..], Vec::as_slice);
    samples.iter().filter_map(|sample| sample[1].as_str()?.parse().ok())
}

/// How the two compare, in a few lines.
pub(crate) fn text(shown: &[Shown]) -> String {
    let equal = shown.iter().filter(|shown| shown.agrees()).count();
    let mut text = format!("Shown on the dashboards: {} cells, {equal} of them with the model that the lab has.", shown.len());
    let unseen: Vec<&str> = shown.iter().filter(|shown| !shown.is_visible()).map(|shown| shown.workload.as_str()).collect();
    if !unseen.is_empty() {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  Fewer than {SCRAPES} scrapes saw: {}", unseen.join(", "));
    }
    for one in shown.iter().filter(|shown| !shown.agrees()) {
        let seen = one.prometheus.as_ref().map_or("nothing", Scraped::model);
        let lab = if one.models.is_empty() { one.failed.clone().unwrap_or_default() } else { one.models.join(", ") };
        let times = if one.runs > 1 { format!(" in each of {} short runs", one.runs) } else { String::new() };
        let _ = write!(text, "\n  {:<44} {seen} over time, {lab}{times}", one.workload);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_and_what_too_few_scrapes_saw_is_named() {
        let models = BTreeMap::from([("serial".to_owned(), 2), ("processes".to_owned(), 5)]);
        let shown = |model: &str, scrapes| Shown {
            workload: format!("{model} {scrapes}"),
            models: vec![model.to_owned()],
            prometheus: Some(Scraped { scrapes, models: models.clone(), ..Scraped::default() }),
            ..Shown::default()
        };
        let text = text(&[shown("processes", SCRAPES), shown("serial", SCRAPES), shown("processes", SCRAPES - 1)]);
        assert!(text.contains("3 cells, 2 of them") && text.contains("scrapes saw: processes 2\n"), "{text}");
        assert!(text.contains("serial 3") && text.ends_with("processes over time, serial"), "{text}");
        assert_eq!(Scraped::default().model(), "idle");
    }
}
