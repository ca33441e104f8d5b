//! `schedscope doctor`: what this host can do, and how to fix what it lacks.

use crate::capture::kernel::{Sizes, Tracer};
use crate::capture::preflight::{Verdict, examine, without};
use crate::capture::topology::Topology;

/// Prints the findings; 1 if tracing is impossible here.
pub fn doctor() -> anyhow::Result<i32> {
    let findings = examine();
    for finding in &findings {
        let mark = match finding.verdict {
            Verdict::Good => "ok  ",
            Verdict::Degraded => "less",
            Verdict::Fatal => "NO  ",
        };
        println!("{mark}  {:<26} {}", finding.what, finding.detail);
    }
    if findings.iter().any(|finding| finding.verdict == Verdict::Fatal) {
        println!("\nschedscope cannot trace on this host; see the lines marked NO.");
        return Ok(1);
    }
    // The proof: load and attach everything, then detach. With a provisional workload the programs are those of the daemon, which does most.
    let tracer = Tracer::start(
        Sizes { workloads: 2, provisional: 1, tasks: 64, thread_by_core: true, wait_accounts: false, samples: true },
        &Topology::read()?,
    )?;
    let mut failed = 0;
    for program in tracer.programs() {
        match (&program.failure, program.verified_instructions) {
            (Some(why), _) => {
                failed += 1;
                println!("less  program {:<18} {why}; {}", program.name, without(program.name));
            }
            (None, Some(count)) => println!("ok    program {:<18} {count} instructions verified", program.name),
            (None, None) => println!("ok    program {:<18} loaded", program.name),
        }
    }
    println!("\nschedscope can trace on this host{}.", if failed > 0 { ", with the losses listed above" } else { "" });
    Ok(0)
}
