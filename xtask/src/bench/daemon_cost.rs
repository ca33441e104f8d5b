//! What the daemon itself takes while the host switches as fast as one CPU can.

use std::net::SocketAddr;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use procfs::process::Process;
use procfs::{CurrentSI, KernelStats};
use schedscope::http::Http;
use schedscope::lab::child::{Service, Stop};
use schedscope::lab::daemon::{self, free_address};

use super::load::Load;
use super::quartiles::median;
use crate::workspace::{cargo, output};

const WATCHED: Duration = Duration::from_secs(10);

pub(super) struct DaemonCost {
    /// CPU seconds of user space per second.
    pub(super) cpu_share: f64,
    pub(super) rss_mib: f64,
    /// Median scrape, in milliseconds, as a client sees it.
    pub(super) scrape_ms: f64,
    /// Switches of the host per second meanwhile.
    pub(super) switches_per_second: f64,
    pub(super) large: LargeScrape,
}

/// Making the text of a scrape of 64 workloads on 64 CPUs (`daemon/benches/scrape.rs`), which no machine here has.
pub(super) struct LargeScrape {
    pub(super) ms: [f64; 3],
    pub(super) mib: f64,
    /// The median, as a share of what the prometheus crate's encoder takes for the same text, in turns.
    pub(super) of_encoder: f64,
}

pub(super) fn measure(binary: &Path) -> Result<DaemonCost> {
    let large = large_scrape()?;
    let address = free_address()?;
    let scratch = tempfile::tempdir()?;
    let daemon = daemon::start(binary, scratch.path().join(daemon::LOG), address, &[], &Stop::default())?;
    let _load = Service::start(&mut Load::pipe(100_000_000).command(&[]))?;
    sleep(Duration::from_secs(1));
    let process = Process::new(daemon.id().try_into()?)?;
    let (begin, cpu_before, switches_before) = (Instant::now(), cpu_seconds(&process)?, KernelStats::current()?.ctxt);
    let mut scrapes = Vec::new();
    while begin.elapsed() < WATCHED {
        scrapes.push(scrape_seconds(address)? * 1e3);
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

fn scrape_seconds(address: SocketAddr) -> Result<f64> {
    let http = Http::new(address);
    let begin = Instant::now();
    http.text("/metrics")?;
    Ok(begin.elapsed().as_secs_f64())
}

/// Run time of all its threads by the scheduler's clock; ticks would be too coarse.
fn cpu_seconds(process: &Process) -> Result<f64> {
    let times = process.tasks()?.map(|task| Ok(task?.schedstat()?.sum_exec_runtime as f64 / 1e9));
    times.sum()
}
