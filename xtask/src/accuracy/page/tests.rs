use schedscope::commands::check::{Comparison, Outcome};
use schedscope::verify::{Bounds, Check};

use super::*;
use crate::vm::Finding;

fn host(wrong: f64) -> Host {
    let residual = Residual::new("wait4", "ru_nvcsw", 103.0 + wrong, 100.0, Bounds::between(3.0, 4.0)).because("it is so");
    let within = !residual.verdict().differs();
    let check = Outcome { kernel: "6.18.1".to_owned(), comparisons: vec![Comparison { residual, within }], ..Outcome::default() };
    let run = |name: &str| RunReport {
        name: name.to_owned(),
        check: Check {
            threads: 7,
            residuals: vec![Residual::new("task_struct", "sum_exec_runtime_seconds", 1.5, 1.5, Bounds::within(0.001))],
            ..Check::default()
        },
        ..RunReport::default()
    };
    Host { date: "2001-02-03".to_owned(), check, runs: WORKLOADS.iter().map(|workload| run(&workload.join(" "))).collect() }
}

fn finding(kernel: &str, passed: bool) -> Finding<Vec<Residual>> {
    Finding {
        kernel: kernel.to_owned(),
        step: "mixed".to_owned(),
        threads: Some(3),
        threads_differing: Some(0),
        residuals: Some(vec![Residual::new("", "nvcsw", 5.0, 5.0, Bounds::EQUAL)]),
        loss_total: Some(0),
        passed,
        ..Finding::default()
    }
}

/// Without the blanks that align the columns.
fn squeezed(text: &str) -> String {
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join("\n")
}

fn others(findings: Vec<Finding<Vec<Residual>>>) -> OtherKernels {
    OtherKernels { date: "2001-02-02".to_owned(), findings }
}

fn all_kernels() -> OtherKernels {
    others(["5.10.0-46", "6.1.0-9", "6.12.3", "7.2-amd64"].map(|kernel| finding(kernel, true)).into())
}

#[test]
fn a_page_has_every_workload_and_kernel_and_says_what_is_wrong() {
    let text = squeezed(&markdown(&host(0.0), Some(&all_kernels()), ""));
    assert_eq!(lacks(&text), Vec::<String>::new(), "{text}");
    assert!(!has_failures(&text), "{text}");
    assert!(text.contains("| wait4 | ru_nvcsw | 103 | 100 | 3 | 3 to 4 | 1 | ok |") && text.contains("1. it is so"), "{text}");
    assert!(text.contains("1.500000, 0.000000"), "{text}");
    assert!(has_failures(&markdown(&host(2.0), Some(&all_kernels()), "")));
    assert!(has_failures(&markdown(&host(0.0), Some(&others(vec![finding("6.1.0", false)])), "")));
}

#[test]
fn other_kernels_stay_as_they_were_when_none_was_booted() {
    let before = markdown(&host(0.0), Some(&all_kernels()), "");
    let after = markdown(&host(0.0), None, &before);
    assert_eq!(after, before);
    let never = markdown(&host(0.0), None, "");
    assert!(never.contains("cargo xtask vm"), "{never}");
    assert_eq!(lacks(&never), ["Linux 5.10", "Linux 6.1", "Linux 6.12", "Linux 7.2"]);
    assert_eq!(lacks(""), WORKLOADS.iter().map(|workload| workload.join(" ")).chain(lacks(&never)).collect::<Vec<_>>());
}

#[test]
fn the_part_on_single_events_is_replaced_alone_and_kept_by_a_new_page() {
    let before = markdown(&host(0.0), Some(&all_kernels()), "");
    let with_part = with_oracles(&before, "| `nginx` | ok |\n").unwrap();
    assert_eq!(with_oracles(&with_part, "| `nginx` | ok |\n").unwrap(), with_part);
    assert_eq!(markdown(&host(0.0), Some(&all_kernels()), &with_part), with_part);
    assert!(has_failures(&with_oracles(&with_part, OUT_OF_BOUNDS).unwrap()));
    assert_eq!(with_oracles("another page", ""), None);
}

#[test]
fn findings_read_as_they_are_written() {
    let text = r#"[{"kernel":"6.1","step":"mixed","command":["a"],"threads":3,"threads_differing":0,
        "residuals":[{"quantity":"nvcsw","ours":1.0,"kernel":1.0,"difference":0.0,"at_least":0.0,"at_most":0.0}],"loss_total":0,"wall_seconds":1.0,"passed":true},
        {"kernel":"6.1","step":"check","command":["check"],"wall_seconds":1.0,"passed":false}]"#;
    let text = squeezed(&markdown(&host(0.0), Some(&others(serde_json::from_str(text).unwrap())), ""));
    assert!(
        text.contains("| 6.1 | mixed | 2001-02-02 | 3 | 0 | 1, 0 |") && text.contains("`schedscope check` on 6.1: OUT OF BOUNDS."),
        "{text}"
    );
}
