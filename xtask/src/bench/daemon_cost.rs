//! What the daemon itself takes while the host switches as fast as one CPU can.

use std::{
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use procfs::{CurrentSI, KernelStats, process::Process};
use rustix::process::{Pid, Signal, kill_process_group};

use super::{load::Load, median};
use crate::workspace::{cargo, output};

/// Where the bench has the daemon listen.
const ADDRESS: &str = "127.0.0.1:9753";
/// How long it is watched.
const WATCHED: Duration = Duration::from_secs(10);

/// The daemon under load.
pub(super) struct DaemonCost {
    /// CPU seconds of user space per second.
    pub(super) cpu_share: f64,
    pub(super) rss_mib: f64,
    /// Median scrape, in milliseconds, as a client sees it.
    pub(super) scrape_ms: f64,
    /// Switches of the host per second meanwhile.
    pub(super) switches_per_second: f64,
    /// The text of a large host's scrape.
    pub(super) large: LargeScrape,
}

/// Making the text of a scrape of 64 workloads on 64 CPUs (`daemon/benches/scrape.rs`), which no machine here has.
pub(super) struct LargeScrape {
    pub(super) ms: [f64; 3],
    pub(super) mib: f64,
    /// The median, as a share of what the prometheus crate's encoder takes for the same text, in turns.
    pub(super) of_encoder: f64,
}

/// A process, killed with its group when dropped.
struct Group(Child);

impl Group {
    fn start(command: &mut Command) -> std::io::Result<Group> {
        Ok(Group(command.process_group(0).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?))
    }

    fn process(&self) -> Result<Process> {
        Ok(Process::new(self.0.id().try_into()?)?)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The leader is not reaped yet, so the group is still its own. The load forks a partner.
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        let _ = self.0.wait();
    }
}

pub(super) fn measure(binary: &Path) -> Result<DaemonCost> {
    let large = large_scrape()?;
    let daemon = Group::start(Command::new(binary).args(["daemon", "--listen", ADDRESS])).context("cannot start the daemon")?;
    wait_until_up()?;
    let _load = Group::start(&mut Load::pipe(100_000_000).command(&[])).context("cannot start the load")?;
    sleep(Duration::from_secs(1));
    let process = daemon.process()?;
    let (begin, cpu_before, switches_before) = (Instant::now(), cpu_seconds(&process)?, KernelStats::current()?.ctxt);
    let mut scrapes = Vec::new();
    while begin.elapsed() < WATCHED {
        scrapes.push(scrape()?.as_secs_f64() * 1e3);
        sleep(Duration::from_secs(1));
    }
    let seconds = begin.elapsed().as_secs_f64();
    Ok(DaemonCost {
        cpu_share: (cpu_seconds(&process)? - cpu_before) / seconds,
        rss_mib: process.status()?.vmrss.context("the kernel gives no resident size")? as f64 / 1024.0,
        scrape_ms: median(scrapes),
        switches_per_second: (KernelStats::current()?.ctxt - switches_before) as f64 / seconds,
        large,
    })
}

fn large_scrape() -> Result<LargeScrape> {
    let text = output(cargo().args(["bench", "--quiet", "-p", "schedscope", "--bench", "scrape"]))?;
    let figures: Vec<f64> = text.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [half, quarter, three_quarters, bytes, of_encoder] = figures[..] else {
        bail!("the bench of a large scrape printed {text:?}");
    };
    Ok(LargeScrape { ms: [half, quarter, three_quarters], mib: bytes / f64::from(1 << 20), of_encoder })
}

fn wait_until_up() -> Result<()> {
    for _ in 0..100 {
        if scrape().is_ok() {
            return Ok(());
        }
        sleep(Duration::from_millis(100));
    }
    bail!("the daemon does not answer on {ADDRESS}: does something else listen there?")
}

fn scrape() -> Result<Duration> {
    let begin = Instant::now();
    let mut response = ureq::get(format!("http://{ADDRESS}/metrics")).call().context("the daemon refused a scrape")?;
    response.body_mut().read_to_vec()?;
    Ok(begin.elapsed())
}

/// Run time of all its threads by the scheduler's clock; ticks would be too coarse.
fn cpu_seconds(process: &Process) -> Result<f64> {
    let times = process.tasks()?.map(|task| Ok(task?.schedstat()?.sum_exec_runtime as f64 / 1e9));
    times.sum()
}
