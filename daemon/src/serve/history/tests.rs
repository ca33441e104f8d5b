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
        rows: vec![row("other", Figures { on_cpu_ns: BTreeMap::from([(0, 50)]), ..Figures::default() }), row(name, figures)],
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
        history.push(Reading { taken_ns: second, idle_ns: BTreeMap::new(), rows: vec![row; 64], losses: Losses::default() });
    }
    assert!(history.bytes <= MAX_BYTES && history.bytes > MAX_BYTES / 2, "{}", history.bytes);
    // The newest are the ones that are kept.
    let newest = history.samples.back().unwrap().get();
    assert!(newest.contains("\"number\":398,"), "{}", &newest[..40]);
}
