//! What the daemon itself takes while the host switches as fast as one CPU can.

use std::{
    io::{Read, Write},
    net::TcpStream,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::pipe;
use crate::workspace::{cargo, output};

/// Where the bench has the daemon listen.
const ADDRESS: &str = "127.0.0.1:9753";
/// How long it is watched.
const WATCHED: Duration = Duration::from_secs(10);

/// The daemon under load.
pub(super) struct DaemonCost {
    /// CPU seconds of user space per second.
    pub(super) cpu_share: f64,
    /// Resident memory in MiB.
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
    /// Median and quartiles in milliseconds.
    pub(super) ms: [f64; 3],
    /// Its size.
    pub(super) mib: f64,
}

/// Ends the process group that the process it holds leads.
struct Ended(Child);

impl Ended {
    fn start(command: &mut Command) -> std::io::Result<Ended> {
        Ok(Ended(command.process_group(0).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?))
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        if let Ok(group) = libc::pid_t::try_from(self.0.id()) {
            // SAFETY: the leader is ours and not reaped yet, so the group is still its own. The load forks a partner.
            unsafe { libc::kill(-group, libc::SIGKILL) };
        }
        let _ = self.0.wait();
    }
}

pub(super) fn measure(binary: &Path) -> Result<DaemonCost> {
    let large = large_scrape()?;
    let daemon = Ended::start(Command::new(binary).args(["daemon", "--listen", ADDRESS])).context("cannot start the daemon")?;
    wait_until_up()?;
    let words = pipe::command(100_000_000);
    let _load = Ended::start(Command::new(&words[0]).args(&words[1..])).context("cannot start the load")?;
    std::thread::sleep(Duration::from_secs(1));
    let (begin, cpu_before, switches_before) = (Instant::now(), cpu_seconds(daemon.0.id())?, host_switches()?);
    let mut scrapes = Vec::new();
    while begin.elapsed() < WATCHED {
        scrapes.push(scrape()?.as_secs_f64() * 1e3);
        std::thread::sleep(Duration::from_secs(1));
    }
    let seconds = begin.elapsed().as_secs_f64();
    Ok(DaemonCost {
        cpu_share: (cpu_seconds(daemon.0.id())? - cpu_before) / seconds,
        rss_mib: rss_mib(daemon.0.id())?,
        scrape_ms: super::median(&mut scrapes),
        switches_per_second: (host_switches()? - switches_before) / seconds,
        large,
    })
}

fn large_scrape() -> Result<LargeScrape> {
    let text = output(cargo().args(["bench", "--quiet", "-p", "schedscope", "--bench", "scrape"]))?;
    let figures: Vec<f64> = text.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [half, quarter, three_quarters, bytes] = figures[..] else { bail!("the bench of a large scrape printed {text:?}") };
    Ok(LargeScrape { ms: [half, quarter, three_quarters], mib: bytes / f64::from(1 << 20) })
}

fn wait_until_up() -> Result<()> {
    for _ in 0..100 {
        if scrape().is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    bail!("the daemon does not answer on {ADDRESS}: does something else listen there?")
}

fn scrape() -> Result<Duration> {
    let begin = Instant::now();
    let mut stream = TcpStream::connect(ADDRESS)?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut text = Vec::new();
    stream.read_to_end(&mut text)?;
    if !text.starts_with(b"HTTP/1.1 200") {
        bail!("the daemon refused a scrape: {}", String::from_utf8_lossy(&text).lines().next().unwrap_or_default());
    }
    Ok(begin.elapsed())
}

/// Run time of all its threads by the scheduler's clock; ticks would be too coarse.
fn cpu_seconds(pid: u32) -> Result<f64> {
    let mut total_ns = 0.0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = std::fs::read_to_string(thread?.path().join("schedstat"))?;
        total_ns += text.split_ascii_whitespace().next().and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    }
    Ok(total_ns / 1e9)
}

fn rss_mib(pid: u32) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = text.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?.trim().parse::<f64>().ok());
    Ok(kib.context("the kernel gives no resident size")? / 1024.0)
}

fn host_switches() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/stat")?;
    text.lines().find_map(|line| line.strip_prefix("ctxt ")?.parse().ok()).context("/proc/stat has no ctxt line")
}
