//! Our counts against the kernel's own.

use super::{
    super::{
        Options, RunReport,
        schema::{Check, Residual},
        words::{clean, counted, duration, grouped, sane, share},
    },
    Block,
};

/// Quantities that are counts: they are equal or wrong.
const COUNTS: [&str; 3] = ["nvcsw", "nivcsw", "nr_migrations"];
/// On-CPU time may be off by this much of the kernel's figure.
const ON_CPU_TOLERANCE: f64 = 0.001;
/// Or by this much per thread, whose last switch is counted a moment before the kernel's own account is closed.
const ON_CPU_TOLERANCE_SECONDS: f64 = 100e-6;

pub(in super::super) fn lines(report: &RunReport, options: &Options) -> Block {
    let check = &report.check;
    if check.threads == 0 {
        return vec![options.colour.faint("Not checked against the kernel: no thread ended under observation.")];
    }
    let counts = check.residuals.iter().filter(|residual| is_off(residual)).map(signed);
    let others = check.oracles.iter().filter(|residual| !residual.is_within()).map(out_of_bounds);
    let off: Vec<String> = counts.chain(others).collect();
    let on_cpu = check.residuals.iter().find(|residual| residual.quantity == "sum_exec_runtime_seconds");
    let (time, time_is_off) = on_cpu.map_or((String::new(), false), |residual| on_cpu_time(residual, check));
    if check.threads_differing == 0 && off.is_empty() && !time_is_off {
        return vec![format!(
            "Checked against the kernel: {}, switches and migrations equal{time}{}.",
            counted(check.threads, "thread"),
            agreeing(check)
        )];
    }
    let sums = if off.is_empty() { String::new() } else { format!(" ({})", off.join(", ")) };
    let differ = if check.threads_differing == 1 { "differs" } else { "differ" };
    let who = format!("{} of {}", grouped(check.threads_differing), counted(check.threads, "thread"));
    let what = format!("MISMATCH with the kernel: {who} {differ} in switches or migrations{sums}{time}.");
    vec![options.colour.alarm(&format!("{what} Do not rely on these figures; please report this."))]
}

/// "; wait4 and perf agree".
fn agreeing(check: &Check) -> String {
    let mut sources: Vec<String> = check.oracles.iter().map(|residual| clean(&residual.source)).collect();
    sources.dedup();
    match sources.as_slice() {
        [] => String::new(),
        [only] => format!("; {only} agrees"),
        [first @ .., last] => format!("; {} and {last} agree", first.join(", ")),
    }
}

/// "wait4 `ru_nvcsw` +3 out of bounds".
fn out_of_bounds(residual: &Residual) -> String {
    let digits = if residual.quantity.ends_with("_seconds") { 6 } else { 0 };
    let difference = if residual.difference.is_finite() { residual.difference } else { 0.0 };
    format!("{} {} {difference:+.digits$} out of bounds", clean(&residual.source), clean(&residual.quantity))
}

fn is_off(residual: &Residual) -> bool {
    COUNTS.contains(&residual.quantity.as_str()) && residual.difference.abs() >= 0.5
}

/// "nvcsw +3".
fn signed(residual: &Residual) -> String {
    format!("{} {:+.0}", clean(&residual.quantity), residual.difference)
}

/// How far on-CPU time is from the kernel's, and whether that is too far.
fn on_cpu_time(residual: &Residual, check: &Check) -> (String, bool) {
    let difference = sane(residual.difference.abs());
    let part = share(difference, residual.kernel);
    let is_off = !residual.difference.is_finite()
        || (part > ON_CPU_TOLERANCE || residual.kernel <= 0.0) && difference > ON_CPU_TOLERANCE_SECONDS * check.threads as f64;
    // Rounded up: "within" is a promise.
    let percent = (part * 1e4).ceil() / 100.0;
    (format!(", on-CPU time within {percent:.2} % ({})", duration(difference)), is_off)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::bounds::Bounds;

    fn check(threads_differing: u64, nvcsw: f64, on_cpu: f64) -> String {
        let residual = |quantity: &str, kernel: f64, difference| Residual {
            quantity: quantity.to_owned(),
            ours: kernel + difference,
            kernel,
            difference,
            ..Residual::default()
        };
        let residuals = vec![residual("nvcsw", 100.0, nvcsw), residual("sum_exec_runtime_seconds", 4.0, on_cpu)];
        let report =
            RunReport { check: Check { threads: 5, threads_differing, residuals, ..Check::default() }, ..RunReport::default() };
        lines(&report, &Options::default()).concat()
    }

    #[test]
    fn agreement_is_one_quiet_line_and_a_difference_is_loud() {
        assert_eq!(
            check(0, 0.0, -0.001),
            "Checked against the kernel: 5 threads, switches and migrations equal, on-CPU time within 0.03 % (1.00 ms)."
        );
        assert!(
            check(1, -2.0, 0.0)
                .starts_with("MISMATCH with the kernel: 1 of 5 threads differs in switches or migrations (nvcsw -2), on")
        );
        // Differences that cancel out in the sum.
        assert!(check(2, 0.0, 0.0).starts_with("MISMATCH"));
        assert!(check(0, 1.0, 0.0).starts_with("MISMATCH"));
        assert!(check(0, 0.0, 0.1).starts_with("MISMATCH"));
        assert!(check(0, 0.0, f64::NAN).starts_with("MISMATCH"));
        let oracle = |difference: f64| {
            let oracles = ["wait4", "wait4", "perf"]
                .map(|source| Residual::new(source, "switches", 100.0 + difference, 100.0, Bounds::between(1.0, 2.0)));
            let check = Check { threads: 5, oracles: oracles.to_vec(), ..Check::default() };
            lines(&RunReport { check, ..RunReport::default() }, &Options::default()).concat()
        };
        assert_eq!(oracle(1.0), "Checked against the kernel: 5 threads, switches and migrations equal; wait4 and perf agree.");
        assert!(oracle(0.0).contains("(wait4 switches +0 out of bounds, "), "{}", oracle(0.0));
        assert!(oracle(3.0).starts_with("MISMATCH"));
        let nothing = lines(&RunReport::default(), &Options::default()).concat();
        assert!(nothing.starts_with("Not checked"), "{nothing}");
    }
}
