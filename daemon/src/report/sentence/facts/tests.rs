use super::{super::super::samples::Sample, *};

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9
}

#[test]
fn cores_are_those_it_may_use_or_has_used() {
    let cores = |online: u32, allowed: u32, used: &[(&str, f64)]| {
        let sample = Sample::new(online, 1.0).allowed(allowed).thread("worker", [1.0, 0.0], &[]);
        let mut report = sample.report();
        report.on_cpu_seconds_by_cpu = used.iter().map(|(cpu, seconds)| ((*cpu).to_owned(), *seconds)).collect();
        let facts = Facts::of(&report);
        (facts.cores, facts.online)
    };
    assert_eq!(cores(8, 2, &[("0", 1.0)]), (2, 8));
    assert_eq!(cores(8, 0, &[("0", 1.0)]), (8, 8), "an unknown mask is the whole host");
    // It has widened its mask; a CPU without time, or with nonsense, is none.
    assert_eq!(cores(8, 2, &[("0", 0.5), ("1", 1e-9), ("5", 0.5), ("6", 0.0), ("7", f64::NAN)]), (3, 8));
    assert_eq!(cores(1, 1, &[("0", 0.5), ("1", 0.5)]), (2, 2));
    assert_eq!(cores(0, 0, &[]), (1, 1));
}

#[test]
fn nearly_all_is_98_percent() {
    let with = |seconds: &[f64]| used(seconds, NEARLY_ALL);
    assert_eq!((with(&[0.98, 0.02]), with(&[0.97, 0.03]), with(&[0.5, 0.48, 0.02]), with(&[])), (1, 2, 2, 0));
}

#[test]
fn means_are_over_the_wall_and_demand_is_never_below_what_it_got() {
    let sample = Sample::new(4, 8.0).thread("worker", [4.0, 2.0], &[("futex", 2.0)]).foreign(16.0);
    let facts = Facts::of(&sample.clone().report());
    assert!(close(facts.running, 0.5) && close(facts.demand, 0.75), "{} {}", facts.running, facts.demand);
    assert!(close(facts.foreign, 2.0) && close(facts.idle, 1.5));
    let mut report = sample.report();
    report.host.idle_seconds = f64::INFINITY;
    assert!(close(Facts::of(&report).idle, 0.0));
    let mut report = Sample::new(4, 8.0).report();
    (report.parallelism.running_mean, report.parallelism.demand_mean) = (2.0, 1.0);
    assert!(close(Facts::of(&report).demand, 2.0));
    report.wall_seconds = 0.0;
    report.host.foreign_on_cpu_seconds = 1.0;
    assert!(close(Facts::of(&report).foreign, 0.0));
}

/// A thread that works, and one that wants this part of what the first does.
fn beside(part: f64) -> Sample {
    Sample::new(4, 10.0).thread("busy", [8.0, 2.0], &[]).thread("other", [10.0 * part, 0.0], &[("sleep", 10.0 - 10.0 * part)])
}

fn group(sample: Sample) -> Group {
    Facts::of(&sample.report()).group
}

#[test]
fn the_busiest_stand_for_the_program_if_they_do_most_of_it() {
    assert_eq!(group(beside(0.05)).size, Some(1));
    assert_eq!(group(beside(0.099)).size, Some(1));
    assert_eq!(group(beside(0.1)).size, None, "who wants a tenth is busy too, and then it is everyone");
    // Many small ones together do more than a fifth.
    let many = |count| beside(0.05).threads(count, "small", [0.5, 0.0], &[]);
    assert_eq!(group(many(3)).size, Some(1), "8 of 10 seconds are enough");
    assert_eq!(group(many(4)).size, None);
    // What the list leaves out may matter.
    assert_eq!(group(beside(0.05).change(|report| report.threads_omitted = 1)).size, None);
}

#[test]
fn the_busiest_matter_only_if_there_is_work() {
    let with_demand = |demand: f64| {
        let mut report = beside(0.05).report();
        report.parallelism.running_mean = 0.4;
        report.parallelism.demand_mean = demand;
        Facts::of(&report).group.size
    };
    assert_eq!((with_demand(0.49), with_demand(0.5)), (None, Some(1)));
}

#[test]
fn a_groups_figures_are_of_its_threads_alone() {
    let blocked = [("gil", 2.0), ("sleep", 4.0), ("other", 0.0)];
    let sample = Sample::new(4, 10.0).threads(2, "busy", [3.0, 1.0], &blocked).thread("idle", [0.1, 0.0], &[("poll", 9.9)]);
    let busiest = group(sample.clone());
    assert_eq!(busiest.size, Some(2));
    assert!(close(busiest.mean_alive, 2.0) && close(busiest.mean_runnable, 0.2) && close(busiest.mean_blocked, 1.2));
    assert!(close(busiest.share_of_work, 6.0 / 6.1));
    let [(first, first_part), (second, second_part)] = busiest.reasons.as_slice() else { panic!("{:?}", busiest.reasons) };
    assert_eq!((first.as_str(), second.as_str()), ("sleep", "gil"));
    assert!(close(*first_part, 0.4) && close(*second_part, 0.2));

    let everyone = Group::everyone(&sample.report());
    assert_eq!(everyone.size, None);
    assert!(close(everyone.mean_alive, 3.0) && close(everyone.mean_blocked, 2.19) && close(everyone.share_of_work, 1.0));
    assert!(close(everyone.mean_runnable, 0.2));
    assert_eq!(everyone.reasons.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["poll", "sleep", "gil"]);
}
