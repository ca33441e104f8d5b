//! The contract between the BPF programs and user space.
//!
//! This library is compiled twice: for the BPF target, where the programs in `main.rs` use it, and for the host, where the
//! daemon reads what they wrote and the tests drive the same decisions. There is no second definition of anything here.
//!
//! In reading order:
//! - [`abi`]: records shared through maps, map and program names, layouts asserted at compile time.
//! - [`task_clock`]: the ledger of one thread; which interval an event closes and which it opens.
//! - [`ledger`]: how a thread's sums and its workload's are reconciled with the kernel's.
//! - [`cpu_account`]: the account of one CPU; whether every switch was seen.
//! - [`switch_clock`]: the time of a switch without reading a clock.
//! - [`residual`]: our counts of a thread against the kernel's.
//! - [`wait_account`]: how a thread's waits differ from the kernel's run delay.
//! - [`blocked`]: what a blocked thread waits for.
//! - [`kernel_stack`]: which lock inside the kernel it waits for.
//! - [`gil`]: which futex waits are waits for a Python interpreter's lock.
//! - [`distance`]: how far a migration went.
//! - [`bucket`]: histogram buckets, index and bounds as one pair.
//! - [`loss`]: every way an observation can be missing.
//! - [`values!`]: enums whose values have names outside the program.
//! - [`params`]: what the loader freezes into the object before the verifier sees it.
#![no_std]
#![expect(clippy::inline_always, reason = "a call in BPF costs a frame and hides bounds from the verifier")]

mod values;

pub mod abi;
pub mod cpu_account;
pub mod ledger;
pub mod residual;
pub mod switch_clock;
pub mod task_clock;
pub mod wait_account;

pub mod blocked;
pub mod bucket;
pub mod distance;
pub mod gil;
pub mod kernel_stack;
pub mod loss;
pub mod pause;

pub mod params;
