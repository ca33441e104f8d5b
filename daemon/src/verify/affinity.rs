//! Moving a thread from CPU to CPU.

use std::thread::{sleep, spawn};
use std::time::Duration;

use anyhow::{Result, anyhow};
use schedscope_workloads::{pin_to, usable_cpus};

/// Makes a context switch on every CPU that this process may use, by visiting it.
///
/// A switch that was hidden from tracing shows at the next one that was not, which on an idle CPU may be much later.
pub(crate) fn visit_all() -> Result<()> {
    // In a thread of its own, whose affinity ends with it.
    let visitor = spawn(|| {
        for cpu in usable_cpus()? {
            pin_to(cpu)?;
            sleep(Duration::from_micros(1));
        }
        Ok(())
    });
    visitor.join().map_err(|_| anyhow!("the thread that visits every CPU has failed"))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::host::switches;

    #[test]
    fn a_visit_makes_a_switch_on_every_cpu_and_leaves_us_where_we_were() {
        let before = switches().unwrap();
        let cpus = usable_cpus().unwrap();
        visit_all().unwrap();
        assert!(!cpus.is_empty() && switches().unwrap() >= before + cpus.len() as u64);
        assert_eq!(usable_cpus().unwrap(), cpus);
    }
}
