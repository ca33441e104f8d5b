//! `cargo xtask oracles`: programs of all kinds, traced by schedscope while ftrace's own ring records every event of the scheduler and
//! perf records them again; the three are compared thread by thread, and the result goes to `docs/accuracy.md`.
//!
//! [`ring`] reads what the kernel wrote, [`clock`] says when it happened by the clock that our figures are by, [`replay`] makes each
//! thread's figures of it, and [`compare`] compares. None of them knows how schedscope comes to its own.

mod clock;
mod compare;
mod replay;
mod ring;
mod timehist;

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::SystemTime;

use anyhow::{Context, Result, bail, ensure};
use comfy_table::{Table, presets};
use compare::{Comparison, Distribution, QUANTILES, compare};
pub(crate) use ring::{TRACEFS, find_tracefs};
use schedscope::report::RunReport;
use schedscope::verify::comparison::OUT_OF_BOUNDS;

use crate::accuracy;
use crate::outcome::{Counts, Outcome};
use crate::workspace::{build_debug, date, find_program, require_root, root};

/// Programs of `programs.sh`. The tests watch the first ones, which takes a minute.
const PROGRAMS: [&str; 29] = [
    "workload-mixed",
    "workload-yield",
    "workload-exec",
    "switch",
    "fork",
    "futex",
    "hackbench-threads",
    "cyclictest",
    "python-queue",
    "nginx",
    "memcached",
    "postgresql",
    "vfork",
    "clone",
    "exec",
    "sem",
    "mq",
    "pipe",
    "yield",
    "io-uring",
    "hackbench-processes",
    "perf-bench-pipe",
    "perf-bench-messaging",
    "python-threads",
    "python-processes",
    "python-asyncio",
    "mariadb",
    "redis",
    "sleepers",
];
const IN_TESTS: usize = 12;

/// Debian packages that have them, and perf.
pub(crate) const PACKAGES: [&str; 13] = [
    "libmemcached-tools",
    "linux-perf",
    "mariadb-client",
    "mariadb-server",
    "memcached",
    "nginx-light",
    "postgresql",
    "python3",
    "redis-server",
    "redis-tools",
    "rt-tests",
    "stress-ng",
    "wrk",
];
/// A program of each that is not there otherwise.
const NEEDED: [&str; 13] = [
    "hackbench",
    "pgbench",
    "memcslap",
    "perf",
    "mysqlslap",
    "mariadbd",
    "memcached",
    "nginx",
    "redis-server",
    "redis-benchmark",
    "cyclictest",
    "stress-ng",
    "wrk",
];

/// Longest time that a program may take.
const LIMIT_SECONDS: &str = "60";
/// Memory of the ring for each CPU: enough for every program here, and for a host that has much else to do.
const RING_KIB: [u64; 2] = [256 << 10, 1024 << 10];

/// Differences that are told of each program.
const SHOWN: usize = 20;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only these, and leave docs/accuracy.md alone.
    programs: Vec<String>,
    /// Only those that the tests watch, and leave docs/accuracy.md alone.
    #[arg(long, conflicts_with = "programs")]
    quick: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    require_root("oracles")?;
    find_needed()?;
    find_tracefs()?;
    let is_partial = arguments.quick || !arguments.programs.is_empty();
    let chosen: Vec<&str> = match arguments.programs.as_slice() {
        [] if arguments.quick => PROGRAMS[..IN_TESTS].to_vec(),
        [] => PROGRAMS.to_vec(),
        named => named.iter().map(String::as_str).collect(),
    };
    let observed = observe_all(&chosen)?;
    let text = markdown(&observed, &date(SystemTime::now())?);
    if is_partial {
        print!("{text}");
    } else {
        accuracy::write_oracles(&text)?;
    }
    let failed = observed.iter().filter(|observed| !observed.comparison.wrong.is_empty()).count();
    ensure!(failed == 0, "{failed} of {} programs differ", observed.len());
    Ok(())
}

/// The tests' part.
pub(crate) fn run_briefly() -> Result<Outcome> {
    let wrong = |programs: &[&'static str]| -> Result<Vec<(&'static str, String)>> {
        let first = |(program, observed): (&&'static str, Observed)| Some((*program, observed.comparison.wrong.first()?.clone()));
        Ok(programs.iter().zip(observe_all(programs)?).filter_map(first).collect())
    };
    let programs = &PROGRAMS[..IN_TESTS];
    let first = wrong(programs)?;
    // The ring and we share the kernel with whatever else the host does.
    let again = wrong(&first.iter().map(|(program, _)| *program).collect::<Vec<_>>())?;
    let tell = |wrong: &[(&str, String)]| wrong.iter().map(|(program, why)| format!("{program}: {why}")).collect::<Vec<_>>();
    let repeated: Vec<_> = first.into_iter().filter(|(program, _)| again.iter().all(|(wrong, _)| wrong != program)).collect();
    let (passed, failed) = (programs.len() - again.len(), again.len());
    let counts = Counts { passed, failed, repeated: tell(&repeated), ..Counts::default() };
    if again.is_empty() {
        return Ok(Outcome::Passed(counts));
    }
    Ok(Outcome::Failed { counts, reason: format!("not as ftrace has it: {}", tell(&again).join("; ")) })
}

/// Fails if a program is not installed.
pub(crate) fn find_needed() -> Result<()> {
    let lacking: Vec<&str> = NEEDED.into_iter().filter(|name| find_server(name).is_none()).collect();
    ensure!(lacking.is_empty(), "no {}: install {}", lacking.join(", "), PACKAGES.join(" "));
    Ok(())
}

/// Servers are where only root looks for programs.
fn find_server(name: &str) -> Option<std::path::PathBuf> {
    find_program(name).or_else(|| Some(Path::new("/usr/sbin").join(name)).filter(|path| path.is_file()))
}

struct Observed {
    program: String,
    kernel: String,
    comparison: Comparison,
}

fn observe_all(programs: &[&str]) -> Result<Vec<Observed>> {
    let built = build_debug()?;
    let observe = |program: &&str| {
        let observed = observe(program, &built).with_context(|| format!("cannot watch {program}"))?;
        let comparison = &observed.comparison;
        println!("{program}: {} threads, {}", comparison.threads, if comparison.wrong.is_empty() { "ok" } else { OUT_OF_BOUNDS });
        for wrong in comparison.wrong.iter().take(SHOWN) {
            println!("  {wrong}");
        }
        for otherwise in comparison.otherwise.iter().take(SHOWN) {
            println!("  (between the other two) {otherwise}");
        }
        if comparison.wrong.len() > SHOWN {
            println!("  and {} more", comparison.wrong.len() - SHOWN);
        }
        Ok(observed)
    };
    programs.iter().map(observe).collect()
}

/// Runs a program, with a larger ring if events did not fit.
fn observe(program: &str, built: &Path) -> Result<Observed> {
    for kib in RING_KIB {
        if let Some(observed) = try_to_observe(program, built, kib)? {
            return Ok(observed);
        }
        println!("{program}: a ring of {} MiB for each CPU is too small", kib >> 10);
    }
    bail!("the ring has lost events")
}

fn try_to_observe(program: &str, built: &Path, ring_kib: u64) -> Result<Option<Observed>> {
    let directory = tempfile::tempdir()?;
    // Some programs give up root.
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755))?;
    let (json, data, own) =
        (directory.path().join("report.json"), directory.path().join("perf.data"), directory.path().join("own"));
    fs::create_dir(&own)?;
    let perf = find_program("perf").context("perf is gone")?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let mut command = timehist::record(&perf, &data);
    command.arg(built.join("schedscope")).args(["run", "--quiet", "--wait-all", "--name", program, "--json"]).arg(&json);
    command.args(["--", "timeout", LIMIT_SECONDS, "sh"]).arg(root().join("xtask/src/oracles/programs.sh")).arg(program).arg(&own);
    command.env("SCHEDSCOPE_ROOT", root()).env("SCHEDSCOPE_WORKLOADS", built.join("schedscope-workloads"));
    command.env("SCHEDSCOPE_PORT", port.to_string()).stdout(Stdio::null());

    let ring = ring::Ring::start(ring_kib)?;
    let output = command.output().context("cannot start perf")?;
    let Some(events) = ring.stop()? else { return Ok(None) };
    let complaint = || String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "it failed: {}\n{}", output.status, complaint());
    let report: RunReport = serde_json::from_slice(&fs::read(&json).with_context(complaint)?)?;
    let begin_ns = report.over_time.as_ref().context("the run was too short")?.begin_monotonic_ns;
    let leader =
        report.threads.iter().find(|thread| thread.comm == "timeout").context("no thread was there when the run began")?.tid;
    let threads = replay::replay(&events, leader, begin_ns);
    let shown = timehist::show(&perf, &data, begin_ns)?;
    let comparison = compare(&report, &threads, shown.as_ref());
    Ok(Some(Observed { program: program.to_owned(), kernel: report.host.kernel, comparison }))
}

/// The part of docs/accuracy.md.
fn markdown(observed: &[Observed], date: &str) -> String {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    let names =
        ["program", "threads", "voluntary", "preempted", "yielded", "migrations", "wake-ups", "preemption waits", "timeslices"];
    let header = names.map(str::to_owned).into_iter();
    let of = |what: &str| QUANTILES.map(|name| format!("{what} {name}"));
    table.set_header(
        header.chain(of("wake-up")).chain(of("preemption")).chain(of("timeslice")).chain(["timehist".into(), String::new()]),
    );
    for Observed { program, comparison, .. } in observed {
        let Comparison { threads, voluntary, preempted, yielded, migrations, wakeup, preemption, timeslice, .. } = comparison;
        let counts = [*threads, *voluntary, *preempted, *yielded, *migrations, wakeup.count, preemption.count, timeslice.count];
        let mut row = vec![format!("`{program}`")];
        row.extend(counts.map(|count| count.to_string()));
        row.extend([wakeup, preemption, timeslice].into_iter().flat_map(cells));
        row.push(comparison.timehist.map_or("-".to_owned(), |switches| match comparison.otherwise.len() {
            0 => switches.to_string(),
            differing => format!("{switches}, {differing} differ"),
        }));
        row.push(if comparison.wrong.is_empty() { "ok" } else { OUT_OF_BOUNDS }.to_owned());
        table.add_row(row);
    }
    let kernel = observed.first().map_or("", |observed| &observed.kernel);
    format!("`cargo xtask oracles`, {date}, Linux {kernel}.\n\n{}{table}\n", include_str!("oracles/section.md"))
}

/// Microseconds: ours, and the interval.
fn cells(distribution: &Distribution) -> Vec<String> {
    let us = |ns: u64| format!("{:.1}", ns as f64 / 1e3);
    let mut cells: Vec<String> = distribution
        .quantiles
        .iter()
        .map(|figure| {
            let (least, most) = (us(figure.allowed.least_ns), us(figure.allowed.most_ns));
            if least == most {
                format!("{} ({least})", us(figure.ours_ns))
            } else {
                format!("{} ({least} to {most})", us(figure.ours_ns))
            }
        })
        .collect();
    cells.resize(QUANTILES.len(), "-".to_owned());
    cells
}

#[cfg(test)]
mod tests;
