//! Our counts against the kernel's own.

use super::super::words::{clean, counted, duration, sane, share};
use super::super::{Options, RunReport};
use super::Block;
use crate::verify::{Check, Verdict};

pub(in super::super) fn lines(report: &RunReport, options: &Options) -> Block {
    let check = &report.check;
    vec![match check.verdict() {
        Verdict::NotCompared { why } => options.colour.faint(&format!("Not checked against the kernel: {}.", clean(&why))),
        Verdict::Agrees => format!(
            "Checked against the kernel: {}, switches and migrations equal{}{}{}.",
            counted(check.threads, "thread"),
            within(check, "sum_exec_runtime_seconds", "on-CPU time"),
            within(check, "run_delay_seconds", "run delay"),
            agreeing(check)
        ),
        Verdict::Differs { rows } => {
            let rows: Vec<String> = rows.iter().map(|row| clean(row)).collect();
            let what = format!("MISMATCH with the kernel: {}.", rows.join(", "));
            options.colour.alarm(&format!("{what} Do not rely on these figures; please report this."))
        }
    }]
}

/// ", on-CPU time within 0.03 % (1.00 ms)" or ", run delay equal", if it was compared.
fn within(check: &Check, quantity: &str, name: &str) -> String {
    let compared = check.residuals.iter().find(|row| row.quantity == quantity && row.verdict() == Verdict::Agrees);
    compared.map_or(String::new(), |row| {
        if row.difference == 0.0 {
            return format!(", {name} equal");
        }
        let difference = sane(row.difference.abs());
        // Rounded up: "within" is a promise.
        let percent = (share(difference, row.kernel) * 1e4).ceil() / 100.0;
        format!(", {name} within {percent:.2} % ({})", duration(difference))
    })
}

/// "; wait4 and proc agree".
fn agreeing(check: &Check) -> String {
    let agreeing = check.oracles.iter().filter(|row| row.source != "ledger" && row.verdict() == Verdict::Agrees);
    let mut sources: Vec<String> = agreeing.map(|residual| clean(&residual.source)).collect();
    sources.dedup();
    match sources.as_slice() {
        [] => String::new(),
        [only] => format!("; {only} agrees"),
        [first @ .., last] => format!("; {} and {last} agree", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::{Bounds, Residual};

    fn line(threads_differing: u64, residuals: &[(&str, f64, f64)], oracles: &[(&str, f64)]) -> String {
        let row = |(quantity, kernel, difference): &(&str, f64, f64)| {
            let bounds = if quantity.ends_with("_seconds") { Bounds::within(0.001 * kernel) } else { Bounds::EQUAL };
            Residual::new("task_struct", quantity, kernel + difference, *kernel, bounds)
        };
        let oracle = |(source, difference): &(&str, f64)| {
            Residual::new(source, "switches", 100.0 + difference, 100.0, Bounds::between(1.0, 2.0))
        };
        let check = Check {
            threads: 5,
            threads_differing,
            residuals: residuals.iter().map(row).collect(),
            oracles: oracles.iter().map(oracle).collect(),
            ..Check::default()
        };
        lines(&RunReport { check, ..RunReport::default() }, &Options::default()).concat()
    }

    #[test]
    fn agreement_is_one_quiet_line() {
        assert_eq!(
            line(
                0,
                &[("nvcsw", 100.0, 0.0), ("sum_exec_runtime_seconds", 4.0, -0.001)],
                &[("wait4", 1.0), ("wait4", 2.0), ("proc", 1.0)]
            ),
            "Checked against the kernel: 5 threads, switches and migrations equal, on-CPU time within 0.03 % (1.00 ms); wait4 and proc agree."
        );
        let nothing = lines(&RunReport::default(), &Options::default()).concat();
        assert_eq!(nothing, "Not checked against the kernel: no thread ended under observation.");
    }

    #[test]
    fn every_row_out_of_bounds_is_named() {
        assert_eq!(
            line(1, &[("nvcsw", 100.0, -2.0), ("run_delay_seconds", 4.0, 0.03)], &[("wait4", 3.0)]),
            "MISMATCH with the kernel: task_struct nvcsw -2 (0 allowed), \
             task_struct run_delay_seconds +0.030000 (-0.004000 to 0.004000 allowed), task_struct threads with any other count +1 \
             (0 allowed), wait4 switches +3 (1 to 2 allowed). Do not rely on these figures; please report this."
        );
        // Differences that cancel out in the sum, and a figure that is no number.
        assert!(line(2, &[("nvcsw", 100.0, 0.0)], &[]).starts_with("MISMATCH"));
        assert!(line(0, &[("sum_exec_runtime_seconds", 4.0, f64::NAN)], &[]).starts_with("MISMATCH"));
    }
}
