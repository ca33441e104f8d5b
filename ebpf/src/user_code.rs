//! Looks at the program's own code where a sample has interrupted it.

use core::ffi::c_void;

use aya_ebpf::bindings::BPF_F_USER_STACK;
use aya_ebpf::helpers::generated::{bpf_get_stack, bpf_probe_read_user};
use schedscope_ebpf::params::ABSENT;
use schedscope_ebpf::pause::{self, CODE_BYTES, CODE_WORDS};

use crate::kernel_types::REGS_CODE_SEGMENT;

/// The address of the innermost frame, as far as there is one.
#[inline(always)]
fn innermost(ctx: *mut c_void, flags: u32) -> Option<u64> {
    let mut frame = 0_u64;
    // SAFETY: the helper is given the program's context and room for one frame.
    let bytes = unsafe { bpf_get_stack(ctx, (&raw mut frame).cast(), size_of::<u64>() as u32, flags.into()) };
    (bytes > 0).then_some(frame)
}

/// Whether the sample has interrupted the program itself: the kernel has no stack then.
#[inline(always)]
pub(crate) fn is_interrupted(ctx: *mut c_void) -> bool {
    innermost(ctx, 0).is_none()
}

/// Whether it was about to wait there for another thread without giving its CPU up.
#[inline(always)]
pub(crate) fn is_pausing(ctx: *mut c_void) -> bool {
    let Some(address) = innermost(ctx, BPF_F_USER_STACK) else { return false };
    let mut code = [0_u64; CODE_WORDS];
    let begin = address.wrapping_sub(CODE_BYTES as u64 / 2);
    // SAFETY: the helper checks the address, and writes at most so many bytes.
    let failed = unsafe { bpf_probe_read_user(code.as_mut_ptr().cast(), CODE_BYTES as u32, begin as *const c_void) };
    if failed != 0 {
        return false;
    }
    if REGS_CODE_SEGMENT.load() != ABSENT { pause::is_in_x86_64(&code) } else { pause::is_in_aarch64(&code) }
}
