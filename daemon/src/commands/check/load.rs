//! The tree that `schedscope check` traces: threads and processes that block, are preempted, yield and migrate.

use std::{
    io,
    thread::{scope, sleep},
    time::{Duration, Instant},
};

use super::part_command;

/// Parts of the tree, each of which can be a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// All of it.
    Tree,
    /// Computes for half a second.
    Spin,
}

/// Runs a part to its end.
pub fn run(part: Part) -> io::Result<()> {
    match part {
        Part::Spin => {
            spin(Duration::from_millis(500));
            Ok(())
        }
        Part::Tree => tree(),
    }
}

/// More that want to compute than there are CPUs, so that some are preempted, beside threads that sleep, yield and move about.
fn tree() -> io::Result<()> {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut processes = (0..=cpus).map(|_| part_command("spin")?.spawn()).collect::<io::Result<Vec<_>>>()?;
    scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                for _ in 0..200 {
                    sleep(Duration::from_micros(200));
                    spin(Duration::from_micros(100));
                }
            });
        }
        for _ in 0..2 {
            threads.spawn(|| (0..5_000).for_each(|_| std::thread::yield_now()));
        }
        threads.spawn(|| move_about(200));
    });
    for process in &mut processes {
        process.wait()?;
    }
    Ok(())
}

fn spin(time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}

/// Moves the calling thread from one of its CPUs to the next, if it has more than one.
fn move_about(times: usize) {
    // SAFETY: the sets are plain bits; their size is passed along, and the calls change the calling thread only.
    unsafe {
        let mut allowed: libc::cpu_set_t = std::mem::zeroed();
        if libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut allowed) != 0 {
            return;
        }
        let capacity = 8 * size_of::<libc::cpu_set_t>();
        let cpus: Vec<usize> = (0..capacity).filter(|cpu| libc::CPU_ISSET(*cpu, &allowed)).collect();
        for cpu in cpus.iter().cycle().take(if cpus.len() > 1 { times } else { 0 }) {
            let mut one: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(*cpu, &mut one);
            libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const one);
        }
    }
}
