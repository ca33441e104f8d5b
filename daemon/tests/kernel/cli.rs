//! What the user sees: exit codes, messages, streams.

use std::ffi::OsStr;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Output, Stdio};
use std::{fs, io, thread};

use schedscope::commands::check::Outcome;
use schedscope::report::RunReport;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use serde_json::Value;
use tempfile::TempDir;

use super::exact::assert_exact;
use super::host::{self, Guarded, privileged};
use super::traced;

/// Our own failure under `run`, told apart from the command's codes.
const OWN_FAILURE: i32 = 125;
const NOBODY: u32 = 65_534;

fn schedscope(arguments: &[&str]) -> Output {
    Command::new(host::schedscope()).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// Standard error, which must be one line that begins with our name.
fn complaint(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.starts_with("schedscope: ") && !text.contains("panicked"), "{text}");
    text
}

#[test]
fn what_cannot_be_done_is_one_line_that_names_it_and_a_failure_before_anything_runs() {
    let Some(()) = privileged() else { return };
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("not-executable");
    fs::write(&file, "echo no\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let file = file.to_str().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().to_string();
    let report = "/no/such/directory/report.json";
    // Opening it would wait for a writer.
    let pipe = dir.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
    let pipe = pipe.to_str().unwrap();
    // A shell has these codes for a command that is not there or cannot be executed; no process id is above 4,194,304.
    for (arguments, code, words) in [
        (&["run", "--", "no-such-command-at-all"][..], 127, ["no-such-command-at-all", "not found"]),
        (&["run", "--", file], 126, [file, "execut"]),
        (&["run", "--", "/"], 126, ["/", "execut"]),
        (&["run", "--quiet", "--json", report, "--", "echo", "ran"], OWN_FAILURE, [report, "No such file"]),
        (&["attach", "--pid", "4194305"], 1, ["4194305", "no process"]),
        (&["daemon", "--listen", &taken], 1, [&taken, "--listen"]),
        (&["daemon", "--config", pipe], 1, [pipe, "not a regular file"]),
        (&["daemon", "--web-config", pipe], 1, [pipe, "not a regular file"]),
    ] {
        let output = schedscope(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
        let text = complaint(&output);
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
        assert!(output.stdout.is_empty(), "{output:?}");
    }
}

#[test]
fn the_exit_code_is_the_commands() {
    let Some(()) = privileged() else { return };
    for (script, code, exit) in [
        ("exit 0", 0, (Some(0), None)),
        ("exit 7", 7, (Some(7), None)),
        ("exit 255", 255, (Some(255), None)),
        ("kill -TERM $$", 128 + 15, (None, Some(15))),
        ("kill -SEGV $$", 128 + 11, (None, Some(11))),
    ] {
        let traced = traced::run(&["sh", "-c", script]);
        assert_eq!(traced.status.code(), Some(code), "{script}");
        assert_eq!((traced.report.exit.code, traced.report.exit.signal), exit, "{script}");
    }
}

#[test]
fn a_command_that_ends_at_once_has_a_whole_report() {
    let Some(()) = privileged() else { return };
    for _ in 0..5 {
        let report = traced::run(&["true"]).report;
        assert_eq!((report.tasks.processes, report.tasks.threads), (1, 1), "{:?}", report.tasks);
        assert!((1e-5..1.0).contains(&report.wall_seconds), "{}", report.wall_seconds);
        assert!(report.time_seconds.on_cpu > 0.0 && report.threads[0].comm == "true", "{:?}", report.threads);
        assert_exact(&report);
    }
}

#[test]
fn the_commands_streams_are_its_own() {
    let Some(()) = privileged() else { return };
    let mut tracer = Command::new(host::schedscope());
    tracer.args(["run", "--", "sh", "-c", "cat; echo to-stderr >&2"]);
    let mut tracer = tracer.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
    let mut stdin = tracer.stdin.take().unwrap();
    let sent = bytes.clone();
    let sender = thread::spawn(move || stdin.write_all(&sent).unwrap());
    let output = tracer.wait_with_output().unwrap();
    sender.join().unwrap();
    assert!(output.status.success());
    assert!(output.stdout == bytes, "{} bytes came back of {}", output.stdout.len(), bytes.len());
    let report = String::from_utf8(output.stderr).unwrap();
    assert!(report.starts_with("to-stderr\n") && report.lines().count() > 5, "{report}");
    assert!(!report.contains('\x1b'), "colours without a terminal: {report:?}");
}

#[test]
fn json_goes_to_standard_output_on_request() {
    let Some(()) = privileged() else { return };
    let output = schedscope(&["run", "--quiet", "--name", "a name", "--json", "-", "--", "echo", "hello"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["schema"], &report["name"]), (&Value::from("schedscope.run/1"), &Value::from("a name")));
    assert_eq!(output.stderr, b"hello\n", "what the command prints is not JSON");
    // The contract: names may be added, not taken away.
    for (place, names) in [
        ("", "wall_seconds exit cpus tasks parallelism time_seconds blocked_seconds_by_reason switches migrations threads loss"),
        ("", "wakeup_latency_seconds preemption_wait_seconds timeslice_seconds on_cpu_seconds_by_cpu model check"),
        ("/exit", "code signal"),
        ("/cpus", "online allowed"),
        ("/tasks", "processes threads peak_threads"),
        ("/parallelism", "running_mean demand_mean effective_cpus"),
        ("/time_seconds", "on_cpu runnable blocked"),
        ("/blocked_seconds_by_reason", "gil futex sleep poll disk page_fault mmap_lock kernel_lock stopped other"),
        ("/switches", "voluntary preempted yielded"),
        ("/migrations", "total at_wakeup while_queued by_distance"),
        ("/migrations/by_distance", "smt llc node remote"),
        ("/wakeup_latency_seconds", "count p50 p90 p99 max"),
        ("/threads/0", "tid tgid ppid comm on_cpu_seconds runnable_seconds blocked_seconds voluntary preempted yielded"),
        ("/threads/0", "migrations on_cpu_seconds_by_cpu"),
        ("/model", "name confidence evidence"),
        ("/loss", "total by_reason"),
    ] {
        for name in names.split(' ') {
            assert!(report.pointer(&format!("{place}/{name}")).is_some(), "no {name} at {place}/: {report}");
        }
    }
}

#[test]
fn json_keeps_to_its_schema_and_has_no_digits_that_mean_nothing() {
    let (Some(()), Some(python)) = (privileged(), host::python()) else { return };
    let schema = serde_json::from_str(include_str!("../../../docs/schema/run-1.json")).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let program = "import threading, time\ndef work():\n end = time.time() + 0.3\n while time.time() < end: pass\n\
                   threads = [threading.Thread(target=work) for _ in range(3)]\n[t.start() for t in threads]\n[t.join() for t in threads]";
    let output = schedscope(&["run", "--quiet", "--json", "-", "--", &python, "-c", program]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let faults: Vec<String> = validator.iter_errors(&report).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(faults.is_empty(), "{faults:#?}");
    let mut figures = Vec::new();
    numbers("", &report, &mut figures);
    assert!(figures.len() > 100 && figures.iter().any(|(path, _)| path.starts_with("/core_map/")), "{figures:?}");
    let with_fractions = figures.iter().filter(|(_, figure)| figure.fract() != 0.0);
    let long = with_fractions.filter(|(path, figure)| {
        let power =
            if path.contains("seconds") || path.contains("_map/") || path.contains("/residuals/") || path.contains("/oracles/") {
                1e9
            } else {
                1e6
            };
        ((figure * power).round() / power - figure).abs() > 0.0
    });
    assert_eq!(long.collect::<Vec<_>>(), Vec::<&(String, f64)>::new());
}

/// Every number of a report with the way to it.
fn numbers(path: &str, value: &Value, found: &mut Vec<(String, f64)>) {
    match value {
        Value::Object(members) => members.iter().for_each(|(name, member)| numbers(&format!("{path}/{name}"), member, found)),
        Value::Array(items) => items.iter().enumerate().for_each(|(index, item)| numbers(&format!("{path}/{index}"), item, found)),
        Value::Number(number) => found.extend(number.as_f64().map(|number| (path.to_owned(), number))),
        _ => {}
    }
}

#[test]
fn attach_ends_after_its_time() {
    let Some(()) = privileged() else { return };
    let sleeper = Guarded::start("sleep", &["60"]);
    let output = schedscope(&["attach", "--quiet", "--json", "-", "--duration", "0.5", "--pid", &sleeper.id().to_string()]);
    let report: RunReport = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((report.exit.code, report.exit.signal), (None, None));
    assert!((0.5..1.5).contains(&report.wall_seconds), "{}", report.wall_seconds);
    // It slept all the time, and that wait has not ended.
    assert!(report.time_seconds.blocked > 0.49 && report.time_seconds.on_cpu < 0.01, "{:?}", report.time_seconds);
}

#[test]
fn attach_leaves_out_a_process_that_has_ended_and_says_which() {
    let Some(()) = privileged() else { return };
    let sleeper = Guarded::start("sleep", &["60"]);
    let mut ended = Guarded::start("true", &[]);
    ended.wait().unwrap();
    let [sleeper, ended] = [&sleeper, &ended].map(|process| process.id().to_string());
    let output = schedscope(&["attach", "--quiet", "--json", "-", "--duration", "0.2", "--pid", &ended, "--pid", &sleeper]);
    assert!(complaint(&output).contains(&ended));
    let report: RunReport = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), report.tasks.processes, report.name), (Some(0), 1, format!("pid {sleeper}")));
}

#[test]
fn arguments_are_bytes() {
    let Some(()) = privileged() else { return };
    let word = OsStr::from_bytes(b"caf\xe9");
    let words = [OsStr::new("--"), OsStr::new("printf"), OsStr::new("%s"), word];
    let output = Command::new(host::schedscope()).args(["run", "--quiet"]).args(words).output().unwrap();
    assert_eq!((output.status.code(), output.stdout, output.stderr), (Some(0), word.as_bytes().to_vec(), Vec::new()));
    let traced = traced::Running::start_with("run", &words, |_| {}).end();
    assert_eq!(traced.report.command[2], "caf\u{fffd}");
}

#[test]
fn a_user_without_privileges_is_told_what_to_do() {
    let Some(()) = privileged() else { return };
    let Some((_dir, program)) = host::schedscope_for_all() else { return };
    let own = std::process::id().to_string();
    for (arguments, code) in
        [(&["run", "--", "true"][..], OWN_FAILURE), (&["attach", "--pid", &own], 1), (&["daemon", "--listen", "127.0.0.1:0"], 1)]
    {
        let output = Command::new(&program).args(arguments).uid(NOBODY).gid(NOBODY).current_dir("/").output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", output.status);
        assert_eq!(output.status.signal(), None);
        let text = complaint(&output);
        assert!(text.contains("sudo") || text.contains("CAP_BPF"), "{text}");
    }
    let doctor = Command::new(&program).arg("doctor").uid(NOBODY).gid(NOBODY).output().unwrap();
    assert_eq!(doctor.status.code(), Some(1));
    let text = String::from_utf8(doctor.stdout).unwrap();
    assert!(text.lines().any(|line| line.starts_with("NO") && line.contains("privileges")), "{text}");
}

#[test]
fn whose_process_ids_are_not_the_hosts_is_told_what_to_do() {
    let Some(()) = privileged() else { return };
    let Some(unshare) = host::installed(&["unshare"], "util-linux") else { return };
    let program = host::schedscope();
    for (arguments, code) in [
        (&["run", "--", "true"][..], OWN_FAILURE),
        (&["attach", "--pid", "1"], 1),
        (&["daemon", "--listen", "127.0.0.1:0"], 1),
        (&["doctor"], 1),
    ] {
        let output = Command::new(unshare).args(["-pf", "--mount-proc"]).arg(&program).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(["docker", "podman", "--pid=host", "Kubernetes", "hostPID: true"].iter().all(|fix| text.contains(fix)), "{text}");
    }
}

#[test]
fn who_has_the_rights_and_is_forbidden_bpf_is_told_what_to_do() {
    let Some(()) = privileged() else { return };
    let (forbidden, rest) = ([(libc::SYS_bpf, Vec::new())], SeccompAction::Allow);
    let refusal = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    let architecture = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(forbidden.into(), rest, refusal, architecture).unwrap();
    let filter: BpfProgram = filter.try_into().unwrap();
    for arguments in [&["run", "--", "true"][..], &["doctor"], &["daemon", "--listen", "127.0.0.1:0"]] {
        let mut command = Command::new(host::schedscope());
        let filter = filter.clone();
        let forbid = move || seccompiler::apply_filter(&filter).map_err(|_| io::ErrorKind::Other.into());
        // SAFETY: between fork and exec it makes system calls only.
        unsafe { command.args(arguments).pre_exec(forbid) };
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains("seccomp=unconfined") && text.contains("Kubernetes"), "{text}");
    }
}

#[test]
fn doctor_loads_every_program() {
    let Some(()) = privileged() else { return };
    let output = schedscope(&["doctor"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    for hook in
        ["sched_switch", "sched_waking", "sched_wakeup_new", "sched_migrate_task", "sched_process_fork", "sched_process_exec"]
    {
        assert!(text.lines().any(|line| line.starts_with("ok") && line.contains(&format!("program {hook} "))), "{hook}: {text}");
    }
}

#[test]
fn check_finds_the_figures_equal_to_the_kernels() {
    let Some(()) = privileged() else { return };
    let output = schedscope(&["check", "--seconds", "0.3", "--json", "-"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert_eq!(output.stderr, b"");
    let outcome: Outcome = serde_json::from_str(&text).unwrap();
    assert!(outcome.passed && outcome.threads_differing == 0 && outcome.not_compared.is_empty(), "{text}");
    for (source, quantities) in [
        ("task_struct", "nvcsw nivcsw nr_migrations sum_exec_runtime_seconds run_delay_seconds"),
        ("wait4", "ru_nvcsw ru_nivcsw"),
        ("perf", "context-switches"),
        ("proc", "voluntary_ctxt_switches nonvoluntary_ctxt_switches schedstat_on_cpu_seconds schedstat_timeslices"),
        ("proc_stat", "ctxt"),
    ] {
        for quantity in quantities.split(' ') {
            let mut all = outcome.comparisons.iter();
            let found = all.find(|found| (&*found.residual.source, &*found.residual.quantity) == (source, quantity));
            let found = found.unwrap_or_else(|| panic!("no {quantity} of {source}: {text}"));
            assert!(found.within && found.residual.kernel >= 1e-3, "{found:?}");
        }
    }
}
