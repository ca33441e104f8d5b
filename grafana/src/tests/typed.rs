//! What cannot be written: each of these would be a panel that shows nothing, or something else than it says.

use schedscope::metrics::catalog;

use crate::{
    panel::{Text, Unit, kinds::lines, table::table},
    promql::{increase, observations, quantile, rate, value},
};

const TEXT: Text = Text { title: "a panel", read: "", next: "" };

#[test]
#[should_panic(expected = "is no counter")]
fn a_rate_of_a_gauge() {
    let _ = rate(&catalog::WORKLOAD_THREADS);
}

#[test]
#[should_panic(expected = "is no gauge")]
fn a_counter_without_a_rate() {
    let _ = value(&catalog::WORKLOAD_ON_CPU);
}

#[test]
#[should_panic(expected = "is no histogram")]
fn observations_of_a_counter() {
    let _ = observations(&catalog::WORKLOAD_ON_CPU);
}

#[test]
#[should_panic(expected = "has no label cpu")]
fn a_label_that_the_metric_does_not_have() {
    let _ = rate(&catalog::WORKLOAD_RUNNABLE).sum_by(&["cpu"]);
}

#[test]
#[should_panic(expected = "is never")]
fn a_value_that_the_label_never_has() {
    let _ = rate(&catalog::WORKLOAD_BLOCKED).only("reason", &["lunch"]);
}

#[test]
#[should_panic(expected = "not [\"workload\"]")]
fn a_label_that_was_summed_away() {
    let _ = rate(&catalog::WORKLOAD_ON_CPU).sum_by(&["cpu"]).sum_by(&["workload"]);
}

#[test]
#[should_panic(expected = "no label workload")]
fn a_legend_on_a_label_that_was_summed_away() {
    let _ = lines(Unit::Short, TEXT).query(&rate(&catalog::WORKLOAD_ON_CPU).sum_by(&[]), "{{workload}}");
}

#[test]
#[should_panic(expected = "Seconds is not")]
fn a_unit_that_is_not_the_expressions() {
    // Seconds per second are no seconds.
    let _ = lines(Unit::Seconds, TEXT).query(&rate(&catalog::WORKLOAD_ON_CPU).sum_by(&[]), "");
}

#[test]
#[should_panic(expected = "labels of")]
fn a_column_that_has_no_place_in_the_rows() {
    let expr = value(&catalog::WORKLOAD_THREADS).sum_by(&["workload"]);
    let _ = table(TEXT, &[("instance", "Host")]).column("Threads", Unit::Short, &expr);
}

#[test]
#[should_panic(expected = "assertion `left == right` failed")]
fn a_sum_of_seconds_and_counts() {
    let seconds = increase(&catalog::WORKLOAD_ON_CPU).sum_by(&[]);
    let _ = seconds.plus(&increase(&catalog::WORKLOAD_SWITCHES).sum_by(&[]));
}

#[test]
fn quotients_have_the_unit_that_arithmetic_gives() {
    let busy = rate(&catalog::BPF_RUN_SECONDS).sum_by(&["program"]);
    let runs = rate(&catalog::BPF_RUNS).sum_by(&["program"]);
    let _ = lines(Unit::Seconds, TEXT).query(&busy.per(&runs), "{{program}}");
    let _ = lines(Unit::Share, TEXT).query(&runs.per(&rate(&catalog::BPF_RUNS).sum_by(&[])), "{{program}}");
    assert_eq!(
        runs.per(&rate(&catalog::BPF_RUNS).sum_by(&[])).to_string(),
        r#"sum by (program) (rate(schedscope_bpf_program_runs_total{job=~"$job", instance=~"$instance"}[$__rate_interval])) / on () group_left () sum (rate(schedscope_bpf_program_runs_total{job=~"$job", instance=~"$instance"}[$__rate_interval]))"#,
    );
    let _ = lines(Unit::Seconds, TEXT).query(&quantile(0.9, &catalog::WORKLOAD_TIMESLICE, &["workload"]), "{{workload}}");
}
