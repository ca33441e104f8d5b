//! Boots one kernel after another and takes them through the plan.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::budget::Budget;
use super::initramfs::Programs;
use super::kernels::{Image, Kernel};
use super::machine::Machine;
use super::plan::{Message, Step};
use super::results::{self, Finding, KernelResult};
use super::verdict::{self, Verdict};
use crate::architecture::Architecture;
use crate::workspace::target_dir;

/// An emulated machine boots in 4 to 8 seconds; this is for one that is starved.
const BOOT_PATIENCE: Duration = Duration::from_secs(180);
/// Above what a step may take by itself, to start it and to send its output.
const STEP_PATIENCE: Duration = Duration::from_secs(60);
/// Attempts to boot a kernel. One that patches its own code while it boots may run into its own breakpoint under emulation: of some thirty
/// boots of 7.2 four ended so within three seconds, three of them in a row. Nothing of schedscope has been loaded by then, so it is tried
/// again, and said.
const BOOTS: u32 = 8;

/// Everything that is the same for all kernels.
pub(super) struct Matrix {
    architecture: Architecture,
    dir: PathBuf,
    programs: Programs,
    initramfs: PathBuf,
    steps: Vec<Step>,
    budget: Budget,
    /// Take what is counted as the budget.
    sets_budget: bool,
    results: Vec<KernelResult>,
    findings: Vec<Finding<Value>>,
}

impl Matrix {
    /// Builds what runs inside and packs it; `plan` makes the steps of the paths of the test programs.
    pub(super) fn prepare(
        architecture: Architecture,
        sets_budget: bool,
        plan: impl FnOnce(&[String]) -> Vec<Step>,
    ) -> Result<Self> {
        ensure!(cfg!(target_arch = "x86_64"), "the machines are emulated on x86-64 only so far");
        let dir = target_dir().join("vm");
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let programs = Programs::build(architecture)?;
        let steps = plan(&programs.tests);
        ensure!(!steps.is_empty(), "no step has such a name");
        let initramfs = dir.join(format!("{}.cpio", architecture.suffixed("initramfs")));
        let budget = Budget::read()?;
        Ok(Self { architecture, dir, programs, initramfs, steps, budget, sets_budget, results: Vec::new(), findings: Vec::new() })
    }

    /// Boots a kernel and goes through the plan; what fails is in the result. Returns how long it took.
    pub(super) fn try_kernel(&mut self, kernel: &'static Kernel, image: &Image) -> Duration {
        println!("\n== Linux {} ({} {})", self.architecture.suffixed(kernel.version), image.package, image.version);
        let start = Instant::now();
        let mut result = KernelResult::of(self.architecture.suffixed(kernel.version));
        self.run_plan(image, &self.steps.clone(), &mut result);
        let programs = result.programs();
        if self.sets_budget {
            self.budget.set(&result.kernel, &programs);
        }
        result.excesses = self.budget.excesses(&result.kernel, &programs);
        for excess in &result.excesses {
            println!("NO    budget: {excess}");
        }
        result.wall_seconds = start.elapsed().as_secs_f64();
        self.results.push(result);
        start.elapsed()
    }

    /// Goes once more through what did not pass on the last kernel, on a new machine: an emulated one has as much time as the host
    /// leaves it. What passes then is told.
    pub(super) fn repeat_failed(&mut self, image: &Image) -> Duration {
        let start = Instant::now();
        let Some(mut result) = self.results.pop() else { return Duration::ZERO };
        let has_passed = |step: &Step| result.verdicts.iter().any(|verdict| verdict.step == step.name && verdict.failure.is_none());
        let failed: Vec<Step> = self.steps.iter().filter(|step| !has_passed(step)).cloned().collect();
        if !failed.is_empty() {
            println!("\n== Linux {}, repeating what failed", result.kernel);
            let mut again = KernelResult::of(result.kernel.clone());
            self.run_plan(image, &failed, &mut again);
            result.replace_with(again);
            result.excesses = self.budget.excesses(&result.kernel, &result.programs());
            result.wall_seconds += start.elapsed().as_secs_f64();
        }
        self.results.push(result);
        start.elapsed()
    }

    /// Boots and goes through the steps; what fails is in the result.
    fn run_plan(&mut self, image: &Image, steps: &[Step], result: &mut KernelResult) {
        if let Err(error) = self.run_steps(image, steps, result) {
            println!("NO    {error:#}");
            result.broken = Some(format!("{error:#}"));
        }
    }

    fn run_steps(&mut self, image: &Image, steps: &[Step], result: &mut KernelResult) -> Result<()> {
        let initramfs = &self.initramfs;
        fs::write(initramfs, self.programs.pack(steps)?).with_context(|| format!("cannot write {}", initramfs.display()))?;
        let console = self.dir.join(format!("console-{}.log", result.kernel));
        let (mut machine, release) = self.boot(image, &console)?;
        println!("ok    booted {release}");
        result.release = Some(release.clone());
        for step in steps {
            let patience = STEP_PATIENCE + Duration::from_secs(step.timeout_seconds);
            let answer = machine.next(patience).with_context(|| format!("during {}", step.name))?;
            let Message::Done(outcome) = answer else { bail!("the machine left out {}", step.name) };
            ensure!(outcome.name == step.name, "the machine did {} instead of {}", outcome.name, step.name);
            let verdict = verdict::judge(step, &outcome);
            print(&verdict, outcome.wall_seconds);
            self.findings.push(Finding::new(&release, step, &outcome, &verdict));
            result.verdicts.push(verdict);
        }
        Ok(())
    }

    /// Until the machine says what it runs.
    fn boot(&self, image: &Image, console: &Path) -> Result<(Machine, String)> {
        let mut attempt = 1;
        loop {
            let mut machine = Machine::boot(self.architecture, &image.path, &self.initramfs, console)?;
            match machine.next(BOOT_PATIENCE) {
                Ok(Message::Ready { release }) => return Ok((machine, release)),
                Ok(Message::Done(_)) => bail!("the machine did not begin with its kernel's name"),
                Err(error) if attempt < BOOTS => println!("again: it did not come up, with nothing loaded: {error:#}"),
                Err(error) => return Err(error.context(format!("in {BOOTS} attempts to boot"))),
            }
            attempt += 1;
        }
    }

    /// Prints the tables, writes the findings to `target/vm/NAME`, and the budget if all kernels passed. Returns the results.
    pub(super) fn conclude(self, name: &str, keep: bool) -> Result<Vec<KernelResult>> {
        let file = self.dir.join(name);
        fs::write(&file, serde_json::to_vec_pretty(&self.findings)?).with_context(|| format!("cannot write {}", file.display()))?;
        if !keep {
            fs::remove_file(&self.initramfs).with_context(|| format!("cannot remove {}", self.initramfs.display()))?;
        }
        println!("\n{}\n\n{}", results::programs(&self.results), results::summary(&self.results));
        if self.sets_budget && self.results.iter().all(|result| result.failures() == 0) {
            self.budget.write()?;
        }
        Ok(self.results)
    }
}

fn print(verdict: &Verdict, wall_seconds: f64) {
    match &verdict.failure {
        None => println!("ok    {:<25} {wall_seconds:5.1} s  {}", verdict.step, verdict.measured),
        Some(why) => println!("NO    {:<25} {wall_seconds:5.1} s  {why}", verdict.step),
    }
    for line in verdict.table.lines() {
        println!("      {line}");
    }
    for name in &verdict.tests_failed {
        println!("      failed: {name}");
    }
    for reason in &verdict.tests_skipped {
        println!("      skipped: {reason}");
    }
}
