use proptest::prelude::*;
use schedscope_ebpf::loss::Loss;
use serde_json::Value;

use super::*;
use crate::capture::totals::Totals;

/// A reading with `other` and one workload, in which CPU 0 has been busy for `busy_ns`.
fn reading(taken_ns: u64, busy_ns: u64, name: &str) -> Reading {
    let totals = Totals { on_cpu_ns_by_cpu: vec![busy_ns], voluntary: busy_ns / 10, threads: 2, ..Totals::default() };
    let figures = Figures::of(&totals, ModelName::Idle);
    let row = |name: &str, figures| Row {
        name: name.to_owned(),
        source: NameSource::Rule,
        model: ModelName::ThreadsParallel,
        totals: figures,
        last_window: (name != "other").then(|| LastWindow { used_ns: busy_ns, ..LastWindow::default() }),
    };
    Reading {
        taken_ns,
        idle_ns: BTreeMap::from([(0, taken_ns.saturating_sub(busy_ns))]),
        // It has done something before, and nothing since.
        rows: BTreeMap::from([
            (0, row("other", Figures { on_cpu_ns: BTreeMap::from([(0, 50)]), ..Figures::default() })),
            (1, row(name, figures)),
        ]),
        losses: Losses::default(),
    }
}

fn json(answer: &Answer) -> Value {
    serde_json::to_value(answer).unwrap()
}

#[test]
fn a_sample_is_what_grew_and_the_totals_are_those_of_the_last_reading() {
    let mut history = History::new(7, 900);
    history.push(reading(1_000, 100, "a \"b\"\n<c>"));
    assert!(history.after(Position::default()).samples.is_empty(), "one reading is no growth");
    history.push(reading(2_000, 700, "a \"b\"\n<c>"));
    // A reading that is not newer has nothing to say.
    history.push(reading(2_000, 900, "x"));
    let answer = json(&history.after(Position::default()));
    assert_eq!(answer["samples"].as_array().unwrap().len(), 1);
    let sample = &answer["samples"][0];
    assert_eq!([&sample["number"], &sample["taken_ns"], &sample["wall_ns"]], [0, 2_000, 1_000]);
    assert_eq!(sample["idle_ns"]["0"], 400);
    let workload = &sample["workloads"]["1"];
    assert_eq!([&workload["on_cpu_ns"]["0"], &workload["voluntary"], &workload["threads"]], [600, 60, 2]);
    assert!(sample["workloads"].get("0").is_none(), "it did nothing: {sample}");
    assert_eq!(answer["workloads"][1]["totals"]["on_cpu_ns"]["0"], 700);
    assert_eq!(answer["workloads"][1]["last_window"]["used_ns"], 700);
    assert!(answer["workloads"][0].get("last_window").is_none(), "it had no threads: {answer}");
    assert_eq!([&answer["workloads"][1]["name"], &answer["workloads"][1]["model"]], ["a \"b\"\n<c>", "threads (parallel)"]);
    assert_eq!([&answer["began_ns"], &answer["taken_ns"], &answer["epoch"], &answer["next"]], [900, 2_000, 7, 1]);
    assert_eq!(answer["workloads"][1]["colour"], 0);
}

#[test]
fn a_page_gets_what_it_has_not_seen_and_all_of_another_daemon() {
    let mut history = History::new(7, 900);
    for second in 1..=6 {
        history.push(reading(second * 1_000, second * 10, "web"));
    }
    let count = |epoch, next| history.after(Position { epoch, next }).samples.len();
    assert_eq!([count(7, 0), count(7, 3), count(7, 5), count(7, 6), count(6, 5)], [5, 2, 0, 0, 5]);
}

/// Its number may be another one's at once.
#[test]
fn a_workload_that_has_ended_is_told_while_the_page_shows_what_it_did() {
    let mut history = History::new(7, 900);
    history.push(reading(1_000, 0, "job"));
    history.push(reading(2_000, 600, "job"));
    let mut after = reading(3_000, 0, "next");
    let next = after.rows.remove(&1).unwrap();
    after.rows.insert(2, next);
    history.push(after.clone());
    let answer = json(&history.after(Position::default()));
    let named = |answer: &Value| -> Vec<(u64, String)> {
        let workloads = answer["workloads"].as_array().unwrap();
        workloads.iter().map(|it| (it["id"].as_u64().unwrap(), it["name"].as_str().unwrap().to_owned())).collect()
    };
    assert_eq!(named(&answer), [(0, "other".to_owned()), (2, "next".to_owned()), (1, "job".to_owned())]);
    let job = &answer["workloads"][2];
    assert_eq!([&job["totals"]["voluntary"], &job["model"]], [&Value::from(60), &Value::from("idle")]);
    assert!(job["totals"].get("threads").is_none() && job.get("last_window").is_none(), "{job}");
    assert_eq!(answer["samples"][0]["workloads"]["1"]["on_cpu_ns"]["0"], 600);
    for second in 4..=SAMPLES as u64 + 1 {
        history.push(Reading { taken_ns: second * 1_000, ..after.clone() });
        assert_eq!(named(&json(&history.after(Position::default()))).len(), 3, "{second}");
    }
    history.push(Reading { taken_ns: (SAMPLES as u64 + 2) * 1_000, ..after });
    assert_eq!(named(&json(&history.after(Position::default()))).len(), 2);
}

#[test]
fn losses_are_told_apart_by_what_they_do_to_the_figures() {
    let mut history = History::new(7, 900);
    let mut lossy = reading(1_000, 100, "web");
    lossy.losses.0[Loss::TaskTableFull as usize] = 3;
    lossy.losses.0[Loss::MigrationUnseen as usize] = 4;
    lossy.losses.0[Loss::ThreadDetailEvicted as usize] = 5;
    history.push(lossy);
    let answer = json(&history.after(Position::default()));
    assert_eq!(answer["missing"], serde_json::json!({"task_table_full": 3}));
    assert_eq!(answer["repaired"], serde_json::json!({"migration_unseen": 4}));
    assert_eq!(answer["details"], serde_json::json!({"thread_detail_evicted": 5}));
}

proptest! {
    #[test]
    fn the_ring_is_bounded_and_its_samples_sum_to_what_the_totals_grew_by(grown in prop::collection::vec(0_u64..1_000, 2..400)) {
        let mut history = History::new(1, 900);
        let mut sums = vec![0];
        for (second, grown) in (1..).zip(&grown) {
            sums.push(sums[sums.len() - 1] + grown);
            history.push(reading(second * 1_000, sums[sums.len() - 1], "web"));
        }
        let answer = json(&history.after(Position::default()));
        let samples = answer["samples"].as_array().unwrap();
        prop_assert_eq!(samples.len(), (grown.len() - 1).min(SAMPLES));
        let shown: u64 = samples.iter().map(|sample| sample["workloads"]["1"]["on_cpu_ns"]["0"].as_u64().unwrap_or(0)).sum();
        prop_assert_eq!(shown, sums[sums.len() - 1] - sums[sums.len() - 1 - samples.len()]);
        prop_assert_eq!(history.bytes, history.samples.iter().map(|sample| sample.get().len()).sum::<usize>());
    }
}

#[test]
fn many_workloads_on_many_cpus_stay_within_the_bytes() {
    let mut history = History::new(1, 900);
    for second in 1..=400_u64 {
        let figures = Figures { on_cpu_ns: (0..64).map(|cpu| (cpu, second * 1_000_000_000)).collect(), ..Figures::default() };
        let row = Row {
            name: "w".into(),
            source: NameSource::Rule,
            model: ModelName::ThreadsParallel,
            totals: figures,
            last_window: None,
        };
        history.push(Reading {
            taken_ns: second,
            idle_ns: BTreeMap::new(),
            rows: (0..64).map(|id| (id, row.clone())).collect(),
            losses: Losses::default(),
        });
    }
    assert!(history.bytes <= MAX_BYTES && history.bytes > MAX_BYTES / 2, "{}", history.bytes);
    // The newest are the ones that are kept.
    let newest = history.samples.back().unwrap().get();
    assert!(newest.contains("\"number\":398,"), "{}", &newest[..40]);
}
