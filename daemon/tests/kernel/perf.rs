//! Every switch of a run beside the events that perf records of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use schedscope::report::RunReport;
use tempfile::TempDir;

use super::exact::assert_exact;
use super::host::{self, installed, privileged, workloads};

/// Enough for a second of a busy host: perf must not lose an event, or there is nothing to compare with.
const BUFFER: &str = "8M";

/// Switches of one thread: those that the kernel calls voluntary, and the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Switches {
    voluntary: u64,
    involuntary: u64,
}

fn script(data: &Path, arguments: &[&str]) -> String {
    let output = Command::new("perf").args(["script", "-i"]).arg(data).args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Counts the switch-outs. R and R+ are the states of who could have gone on.
fn switches_by_thread(script: &str) -> BTreeMap<u32, Switches> {
    let mut switches = BTreeMap::<u32, Switches>::new();
    for line in script.lines() {
        let Some((leaves, _)) = line.split_once(" ==> ") else { continue };
        let (tid, state) = who_leaves(leaves).unwrap_or_else(|| panic!("perf says {line:?}"));
        let of_thread = switches.entry(tid).or_default();
        if state.starts_with('R') {
            of_thread.involuntary += 1;
        } else {
            of_thread.voluntary += 1;
        }
    }
    switches
}

/// Thread and state from `prev_comm=ping prev_pid=123 prev_prio=120 prev_state=S`, or from `ping:123 [120] S`, as perf prints it with
/// its plugins.
fn who_leaves(text: &str) -> Option<(u32, &str)> {
    let (rest, state) = text.rsplit_once(' ')?;
    if let Some(state) = state.strip_prefix("prev_state=") {
        let (_, rest) = rest.rsplit_once("prev_pid=")?;
        return Some((rest.split(' ').next()?.parse().ok()?, state));
    }
    let (rest, _) = rest.rsplit_once(" [")?;
    Some((rest.rsplit_once(':')?.1.parse().ok()?, state))
}

/// Traces a workload while perf records every switch of the host. `None` if perf had no memory for it, or could not keep up.
fn record(arguments: &[&str]) -> Option<(RunReport, BTreeMap<u32, Switches>)> {
    let dir = TempDir::new().unwrap();
    let (data, json) = (dir.path().join("perf.data"), dir.path().join("report.json"));
    let mut perf = Command::new("perf");
    perf.args(["record", "--quiet", "--all-cpus", "--event", "sched:sched_switch", "--mmap-pages", BUFFER, "--output"]).arg(&data);
    perf.arg("--").arg(host::schedscope()).args(["run", "--quiet", "--wait-all", "--json"]).arg(&json);
    let output = perf.arg("--").arg(workloads()).args(arguments).stdout(Stdio::null()).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    if complaint.contains("failed to mmap") {
        // All perf users of this host share what may be locked in memory.
        return None;
    }
    assert!(output.status.success(), "{output:?}");
    if script(&data, &["--show-lost-events"]).contains("PERF_RECORD_LOST") {
        return None;
    }
    let report = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    Some((report, switches_by_thread(&script(&data, &["--fields", "trace"]))))
}

#[test]
fn every_switch_is_one_that_perf_has_seen() {
    let Some(_) = privileged().and_then(|()| installed(&["perf"], "linux-perf")) else { return };
    let may_record =
        || Command::new("perf").args(["record", "-q", "-a", "-e", "sched:sched_switch", "-o", "/dev/null", "true"]).output();
    if !may_record().unwrap().status.success() {
        println!("skipped: perf cannot record sched_switch here");
        return;
    }
    for arguments in [
        &["ping-pong", "--switches", "4000", "--normal-policy"][..],
        &["mixed", "--seconds", "0.3"],
        &["fork-storm", "--count", "97", "--exec"],
        &["yield-loop", "--count", "2000"],
    ] {
        let Some((report, by_perf)) = (0..5).find_map(|_| record(arguments)) else {
            println!("skipped {arguments:?}: perf had no memory or lost events in each of five runs");
            continue;
        };
        assert_exact(&report);
        for thread in &report.threads {
            let ours = Switches { voluntary: thread.voluntary, involuntary: thread.preempted + thread.yielded };
            let perfs = by_perf.get(&thread.tid).unwrap_or_else(|| panic!("perf has not seen {thread:?}"));
            if thread.seeded {
                // The first thread had begun before it was registered.
                assert!(perfs.voluntary >= ours.voluntary && perfs.involuntary >= ours.involuntary, "{perfs:?}: {thread:?}");
            } else {
                assert_eq!(&ours, perfs, "{arguments:?}: {thread:?}");
            }
        }
    }
}
