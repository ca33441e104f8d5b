use std::{
    cell::{Cell as Shared, RefCell},
    rc::Rc,
};

use schedscope_ebpf::{
    abi::{Cell, CpuRecord, TaskRecord},
    distance::CpuPlace,
    task_clock::{Phase, TaskClock},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;
use crate::capture::{kernel::zeroed, snapshot::Thread};

/// A host with one CPU, on which this test's own process has run for an hour; its identity is the real one.
#[derive(Clone, Default)]
struct Host {
    moved: Rc<RefCell<Vec<(Tid, WorkloadId)>>>,
    statistics_on: Rc<Shared<bool>>,
    broken: Rc<Shared<bool>>,
    readings: Rc<Shared<u64>>,
}

const HOUR_NS: u64 = 3_600_000_000_000;

fn own_thread(workload: u32) -> Thread {
    let pid = std::process::id();
    let record = TaskRecord {
        workload,
        clock: TaskClock::starting(Phase::Running, HOUR_NS),
        tid: pid,
        on_cpu_ns: HOUR_NS,
        tgid: pid,
        seeded_as: Phase::Blocked as u32,
        ..zeroed()
    };
    Thread { record, on_cpu_ns_by_cpu: Vec::new() }
}

fn cell(on_cpu_ns: u64) -> Cell {
    Cell { on_cpu_ns, ..zeroed() }
}

impl KernelSide for Host {
    fn threads(&mut self) -> Result<Snapshot> {
        anyhow::ensure!(!self.broken.get(), "the maps are gone");
        let workload = self.moved.borrow().last().map_or(0, |(_, workload)| workload.0);
        let cpu = CpuRecord { switches: 10, switches_from_idle: 4, ..CpuRecord::default() };
        Ok(Snapshot { taken_ns: HOUR_NS, cpus: vec![cpu], threads: vec![own_thread(workload)], ..Snapshot::default() })
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        self.readings.set(self.readings.get() + 1);
        let cells = vec![vec![cell(7_000_000_000), cell(2_000_000_000)]];
        Ok(Snapshot { cells, ..self.threads()? })
    }

    fn compare_waiting(&mut self) -> Result<Residuals> {
        Ok(Residuals { compared: 3, differing: 1, ..Residuals::default() })
    }

    fn set_workload(&mut self, tid: Tid, workload: WorkloadId) {
        self.moved.borrow_mut().push((tid, workload));
    }

    fn set_gil(&mut self, _tid: Tid, _ranges: [AddressRange; RANGES]) {}

    fn measure_cost(&mut self, on: bool) -> Result<()> {
        self.statistics_on.set(on);
        Ok(())
    }

    fn programs(&self) -> Vec<ProgramState> {
        let failure = Some("this kernel has no such hook".to_owned());
        let waking = ProgramState { name: "sched_waking", failure, run_ns: 0, runs: 0, recursion_misses: 0 };
        let runs = self.readings.get() * 10;
        vec![ProgramState { name: "sched_switch", failure: None, run_ns: runs * 70, runs, recursion_misses: 0 }, waking]
    }

    fn online_at_start(&self) -> Vec<Cpu> {
        vec![Cpu(0), Cpu(1)]
    }

    fn place(&self, _cpu: u32) -> CpuPlace {
        CpuPlace::default()
    }
}

async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Runs the daemon over `host` while `client` talks to it.
async fn with_daemon(host: Host, config: Config, client: impl AsyncFnOnce(SocketAddr)) {
    let listener = serve::listen("127.0.0.1:0".parse().unwrap(), false, &Web::default()).unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let daemon = run_until(async { stopped.await.unwrap() }, host, config, listener, Web::default());
    let client = async {
        client(address).await;
        stop.send(()).unwrap();
    };
    let (result, ()) = tokio::join!(daemon, client);
    result.unwrap();
}

#[tokio::test]
async fn a_busy_process_is_labelled_with_its_executable_and_served() {
    let host = Host::default();
    let moved = Rc::clone(&host.moved);
    // Under a service manager the test belongs to that unit, so a rule decides.
    let rules = "[[workload]]\nname = \"this test\"\nmatch = { exe = \"*\" }\n";
    let config = Config::parse(std::path::Path::new("rules"), rules).unwrap();
    with_daemon(host, config, async |address| {
        let text = get(address, "/metrics").await;
        for line in [
            "schedscope_workload_on_cpu_seconds_total{workload=\"this test\",cpu=\"0\"} 2",
            "schedscope_workload_on_cpu_seconds_total{workload=\"other\",cpu=\"0\"} 7",
            // It is online, and nothing has run there yet.
            "schedscope_workload_on_cpu_seconds_total{workload=\"this test\",cpu=\"1\"} 0",
            "schedscope_cpu_context_switches_total{cpu=\"0\",kind=\"from_task\"} 6",
            "schedscope_bpf_program_attached{program=\"sched_switch\"} 1",
            "schedscope_bpf_program_attached{program=\"sched_waking\"} 0",
        ] {
            assert!(text.contains(&format!("\n{line}\n")), "{line} is not in {text}");
        }
        let status = get(address, "/status").await;
        assert!(status.contains("no such hook") && status.contains("\"this test\""), "{status}");
    })
    .await;
    assert_eq!(moved.borrow().as_slice(), [(Tid(std::process::id()), WorkloadId(1))]);
}

#[tokio::test]
async fn scrapes_in_quick_succession_share_a_reading() {
    let host = Host::default();
    let readings = Rc::clone(&host.readings);
    with_daemon(host, Config::default(), async |address| {
        let first = get(address, "/metrics").await;
        let second = get(address, "/metrics").await;
        assert_eq!(first.split_once("\r\n\r\n").unwrap().1, second.split_once("\r\n\r\n").unwrap().1);
    })
    .await;
    assert_eq!(readings.get(), 1);
}

#[tokio::test]
async fn a_failing_kernel_side_is_reported_and_recovers() {
    let host = Host::default();
    let broken = Rc::clone(&host.broken);
    broken.set(true);
    with_daemon(host, Config::default(), async |address| {
        let answer = get(address, "/metrics").await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("the maps are gone"), "{answer}");
        assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 503"));
        broken.set(false);
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        let text = get(address, "/metrics").await;
        assert!(text.contains("schedscope_collection_errors_total{stage=\"snapshot\"} 1\n"), "{text}");
    })
    .await;
}

#[tokio::test]
async fn statistics_are_on_for_the_window_only() {
    let host = Host::default();
    let on = Rc::clone(&host.statistics_on);
    let own_cost = crate::config::OwnCost { window: Duration::from_millis(400), every: Duration::from_secs(3600) };
    let config = Config { own_cost: Some(own_cost), ..Config::default() };
    with_daemon(host, config, async |address| {
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(on.get());
        get(address, "/metrics").await;
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert!(!on.get());
        let text = get(address, "/metrics").await;
        let value = |name: &str| -> f64 {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap();
            line.rsplit(' ').next().unwrap().parse().unwrap()
        };
        let measured = value("schedscope_bpf_measured_seconds_total");
        // Timers of the loop are good to a millisecond or two; a busy machine makes them late.
        assert!((0.39..0.9).contains(&measured), "{measured}");
        // One reading of ten runs fell into the window; the one that is served now did not.
        assert!((value("schedscope_bpf_program_runs_total{program=\"sched_switch\"}") - 10.0).abs() < 0.5);
    })
    .await;
}
