use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

/// An empty program for `sched_switch`. The bench attaches it beside the real one: by how much the kernel's run time of this one
/// is not 0, that of every program on the hook is too high.
#[btf_tracepoint]
fn meter_switch(_ctx: BtfTracePointContext) -> i32 {
    0
}

/// The same for `sched_waking`.
#[btf_tracepoint]
fn meter_waking(_ctx: BtfTracePointContext) -> i32 {
    0
}
