use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

/// An empty program for `sched_switch`. The bench attaches it beside the real one: the run time that the kernel reports for it is what
/// the metering itself adds to every program on the hook.
#[btf_tracepoint]
fn meter_switch(_ctx: BtfTracePointContext) -> i32 {
    0
}

/// The same for `sched_waking`.
#[btf_tracepoint]
fn meter_waking(_ctx: BtfTracePointContext) -> i32 {
    0
}
