//! The ledger under examples, orderly lives, lost events and arbitrary event orders.

extern crate std;

use std::vec::Vec;

use super::*;

mod arbitrary;
mod cases;
mod lost_events;
mod orderly;

/// A switch-out before which the thread did not run.
const NO_GROWTH: KernelGrowth = KernelGrowth { runtime_ns: 0, run_delay_ns: None };
