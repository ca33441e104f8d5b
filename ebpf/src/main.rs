//! The BPF programs. One file per kernel hook under `hooks/`; each reads the arguments, asks the pure decisions of the library
//! and charges what they return.
//!
//! In reading order: `kernel_types` reads fields of kernel structs, `maps` holds the state, `tasks` finds, admits and releases
//! threads, `kernel_lock` looks at kernel
//! stacks, `owner` decides which workload a process belongs to that execs, `charge` adds to the counters, `accounts` keeps what
//! verification needs, `hooks` is where the kernel calls in.
#![no_std]
#![no_main]
// Inline assembly for BPF is still unstable: `charge` has barriers, and `kernel_types` the places that the loader fills in.
#![feature(asm_experimental_arch)]

mod accounts;
mod charge;
mod hooks;
mod kernel_lock;
mod kernel_types;
mod maps;
mod owner;
mod tasks;
mod user_code;

/// Helpers that the kernel gives to GPL programs only (`bpf_probe_read_kernel`, tracing) look for this section.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";

/// The verifier refuses an object that can reach a panic, so this is never called.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
