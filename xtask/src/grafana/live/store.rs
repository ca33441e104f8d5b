//! Remote write: what the example in the shipped configuration keeps.

use std::{
    collections::BTreeSet,
    thread::sleep,
    time::{Duration, Instant},
};

use schedscope_grafana::rules::recordings;
use serde_json::Value;

use super::scene::Scene;
use crate::grafana::prometheus::Prometheus;

/// What the first Prometheus may take to hand on what it has recorded.
const LIMIT: Duration = Duration::from_secs(60);

/// The second store has every recorded series with the same samples, and nothing else.
pub(super) fn recorded_series_are_kept(scene: &Scene) {
    let names: BTreeSet<String> = recordings::all().into_iter().map(|recording| recording.name).collect();
    let began = Instant::now();
    let mut samples = 0;
    for name in &names {
        let expected = recorded(&scene.prometheus, name, scene.end_seconds);
        assert!(!expected.is_empty(), "{name} has recorded nothing");
        let mut kept = recorded(&scene.store, name, scene.end_seconds);
        while kept != expected {
            assert!(began.elapsed() < LIMIT, "{name}: {kept:?} is kept of {expected:?}");
            sleep(Duration::from_millis(500));
            kept = recorded(&scene.store, name, scene.end_seconds);
        }
        samples += expected.iter().map(|(_, values)| values.as_array().map_or(0, Vec::len)).sum::<usize>();
    }
    let kept = scene.store.api("label/__name__/values", &[]).unwrap();
    let kept: BTreeSet<String> = kept.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect();
    assert_eq!(kept, names);
    println!("{} recorded series with {samples} samples are in the second store", names.len());
}

/// The series of this name with all their samples up to a time, in order.
fn recorded(prometheus: &Prometheus, name: &str, until_seconds: f64) -> Vec<(String, Value)> {
    let (query, time) = (format!("{name}[1h]"), format!("{until_seconds:.3}"));
    let answer = prometheus.api("query", &[("query", &query), ("time", &time)]).unwrap();
    let series = answer["result"].as_array().unwrap().iter();
    let mut found: Vec<(String, Value)> = series.map(|series| (series["metric"].to_string(), series["values"].clone())).collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}
