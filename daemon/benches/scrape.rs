//! How long it takes to make the text of a scrape of a large host, by the size that the design names. Prints the median and the quartiles
//! in milliseconds, and the size of the text in bytes; `cargo xtask bench` reads them.

use std::time::Instant;

use schedscope::{
    capture::{
        distribution::Distribution,
        snapshot::{Cpu, Times},
        totals::Totals,
    },
    metrics::{CpuTotals, Exposition, Metrics, Workload},
};
use schedscope_ebpf::{
    abi::Histogram,
    blocked::REASON_SLOTS,
    bucket::BUCKETS,
    distance::{CpuPlace, Distance},
};

const WORKLOADS: u64 = 64;
const CPUS: u32 = 64;
/// Scrapes; of a host this size one comes every 15 seconds, so the first ones count as much as the others.
const SCRAPES: usize = 101;

/// Long numbers, as after weeks: each is another text of 16 or so digits.
fn figure(seed: u64) -> u64 {
    1_000_000_007 * (seed + 1) + 123_456_789_012
}

fn distribution(seed: u64) -> Distribution {
    let counts = std::array::from_fn(|bucket| seed + bucket as u64);
    let mut distribution = Distribution::default();
    distribution.add(&Histogram { sum_ns: figure(seed), max_ns: figure(seed), counts });
    assert_eq!(counts.len(), BUCKETS);
    distribution
}

fn workload(number: u64) -> Workload {
    let blocked_ns: [u64; REASON_SLOTS] = std::array::from_fn(|reason| figure(number + reason as u64));
    Workload {
        name: format!("a-service-with-a-name-{number}.service"),
        allowed_cpus: Some(CPUS),
        model: "threads (parallel)",
        totals: Totals {
            times: Times { on_cpu_ns: figure(number), wakeup_wait_ns: figure(number), preempt_wait_ns: figure(number), blocked_ns },
            on_cpu_ns_by_cpu: (0..u64::from(CPUS)).map(|cpu| figure(number * 1_000 + cpu)).collect(),
            voluntary: figure(number),
            preempted: figure(number),
            migrations: [[figure(number); Distance::ALL.len()]; 2],
            threads: number,
            processes: number,
            timeslice: distribution(number),
            wakeup_latency: distribution(number + 1),
            preemption_wait: distribution(number + 2),
            ..Totals::default()
        },
        ..Workload::default()
    }
}

fn exposition() -> Exposition {
    let place = Some(CpuPlace { core: 0, llc: 0, node: 0, reserved: 0 });
    let cpu =
        |cpu| CpuTotals { cpu: Cpu(cpu), place, switches_from_task: 1, switches_from_idle: 1, idle_ns: figure(u64::from(cpu)) };
    Exposition {
        workloads: (0..WORKLOADS).map(workload).collect(),
        cpus: (0..CPUS).map(cpu).collect(),
        online_at_start: (0..CPUS).map(Cpu).collect(),
        ..Exposition::default()
    }
}

fn main() -> prometheus::Result<()> {
    let metrics = Metrics::new()?;
    let mut bytes = 0;
    let mut milliseconds = Vec::with_capacity(SCRAPES);
    for _ in 0..SCRAPES {
        // Collected anew for each scrape, and not part of what is measured here.
        let exposition = exposition();
        let begin = Instant::now();
        bytes = metrics.text(exposition)?.len();
        milliseconds.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    milliseconds.sort_by(f64::total_cmp);
    let [quarter, half, three_quarters] = [1, 2, 3].map(|quarters| milliseconds[quarters * SCRAPES / 4]);
    println!("{half:.3} {quarter:.3} {three_quarters:.3} {bytes}");
    Ok(())
}
