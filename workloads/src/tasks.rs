//! Tasks: what one unit of work is.

use std::hint::black_box;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};

/// Bytes that one unit of `hash` works on, the same as in the Python cell.
const HASH_BLOCK_BYTES: usize = 1 << 20;
/// The number whose factorial one unit of `factorial` computes, the same as in the Python cell.
const FACTORIAL_OF: u32 = 2000;
/// Steps of one unit of `spin`: about a millisecond.
const SPIN_STEPS: u32 = 500_000;
/// Steps of one unit of `mutex`, done with the lock held: about ten microseconds.
const LOCKED_STEPS: u32 = 5_000;

/// The lock that all workers of `mutex` want.
static CONTENDED: Mutex<u64> = Mutex::new(0);

/// A task that `native` can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskKind {
    /// Arithmetic in registers: nothing but the core is needed.
    Spin,
    /// The factorial of 2000 as a big number.
    Factorial,
    /// SHA-256 of 1 MiB.
    Hash,
    /// Sleep: blocked in the kernel, no CPU needed.
    Sleep,
    /// Arithmetic with a lock held that all threads want: serialised like the GIL, but not by it.
    Mutex,
}

impl TaskKind {
    pub(crate) fn kind(self) -> &'static str {
        if self == Self::Sleep { "io" } else { "cpu" }
    }

    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Spin => "500,000 multiplications",
            Self::Factorial => "factorial of 2000",
            Self::Hash => "SHA-256 of 1 MiB",
            Self::Sleep => "one sleep",
            Self::Mutex => "5,000 multiplications with the lock held",
        }
    }

    /// Units for all workers together that take one core 0.5 to 1 s.
    pub(crate) fn default_work(self) -> u64 {
        match self {
            Self::Spin | Self::Hash => 1_000,
            Self::Factorial => 600,
            Self::Sleep => 64,
            Self::Mutex => 100_000,
        }
    }

    /// Prepares the task; the returned function does one unit.
    pub(crate) fn unit_of_work(self, pause: Duration) -> Box<dyn FnMut()> {
        match self {
            Self::Spin => Box::new(|| {
                black_box(multiply(SPIN_STEPS, 1));
            }),
            Self::Factorial => Box::new(|| drop(black_box(factorial(black_box(FACTORIAL_OF))))),
            Self::Hash => {
                let block = vec![0_u8; HASH_BLOCK_BYTES];
                Box::new(move || {
                    black_box(Sha256::digest(black_box(&block)));
                })
            }
            Self::Sleep => Box::new(move || std::thread::sleep(pause)),
            Self::Mutex => Box::new(|| {
                let mut held = CONTENDED.lock().unwrap_or_else(PoisonError::into_inner);
                *held = multiply(LOCKED_STEPS, *held);
            }),
        }
    }
}

/// A chain of multiplications, each needing the result before it: no vector unit can shorten it.
pub(crate) fn multiply(steps: u32, seed: u64) -> u64 {
    (0..steps).fold(seed, |state, _| black_box(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1)))
}

/// `n!` in base 10^9, least significant digit first.
fn factorial(n: u32) -> Vec<u32> {
    const BASE: u64 = 1_000_000_000;
    let mut digits = vec![1_u32];
    for factor in 2..=u64::from(n) {
        let mut carry = 0;
        for digit in &mut digits {
            let value = u64::from(*digit) * factor + carry;
            *digit = u32::try_from(value % BASE).unwrap_or_default();
            carry = value / BASE;
        }
        while carry > 0 {
            digits.push(u32::try_from(carry % BASE).unwrap_or_default());
            carry /= BASE;
        }
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factorials_are_right() {
        assert_eq!(factorial(0), [1]);
        assert_eq!(factorial(5), [120]);
        // 20! = 2432902008176640000, the last that fits 64 bits.
        assert_eq!(factorial(20), [176_640_000, 432_902_008, 2]);
        // 25! = 15511210043330985984000000.
        assert_eq!(factorial(25), [984_000_000, 43_330_985, 15_511_210]);
    }
}
