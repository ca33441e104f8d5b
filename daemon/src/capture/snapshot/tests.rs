use schedscope_ebpf::task_clock::TaskClock;

use super::*;

/// A thread in its first nanosecond.
pub(crate) fn thread(tid: u32, phase: Phase) -> Thread {
    let record = TaskRecord {
        workload: 1,
        task: u64::from(tid),
        clock: TaskClock::starting(phase, 0),
        reason: Reason::Sleep as u32,
        tid,
        start_ns: 1,
        tgid: tid,
        ppid: 1,
        seeded_as: Phase::New as u16,
        comm: *b"worker\0\0\0\0\0\0\0\0\0\0",
        ..TaskRecord::default()
    };
    Thread { record, on_cpu_ns_by_cpu: Vec::new(), wait_account: None }
}

#[test]
fn a_name_is_cut_at_its_end_and_cannot_control_a_terminal() {
    let mut thread = thread(1, Phase::New);
    assert_eq!(thread.comm(), "worker");
    thread.record.comm = *b"\x1b[31mred\xff\0\0\0\0\0\0\0";
    assert_eq!(thread.comm(), "?[31mred\u{fffd}");
}

#[test]
fn a_life_ends_with_its_last_switch_or_goes_on() {
    let mut thread = thread(7, Phase::Running);
    thread.record.start_ns = 100;
    thread.record.clock.since_ns = 300;
    assert_eq!((thread.lifetime_ns(500), thread.has_ended()), (400, false));
    // A switch between the reading of the clock and of the record.
    assert_eq!(thread.lifetime_ns(250), 200);
    thread.record.clock.phase = Phase::Dead as u32;
    assert_eq!((thread.lifetime_ns(500), thread.has_ended()), (200, true));
}

#[test]
fn a_thread_is_what_its_record_says() {
    let mut thread = thread(7, Phase::Running);
    (thread.record.tgid, thread.record.workload) = (5, 3);
    assert_eq!((thread.tid(), thread.tgid(), thread.workload()), (Tid(7), Tgid(5), WorkloadId(3)));
    assert!(!thread.was_seeded());
    for phase in [Phase::Running, Phase::Runnable, Phase::Blocked] {
        thread.record.seeded_as = phase as u16;
        assert!(thread.was_seeded());
    }
    // A number out of range must not read beyond the counters.
    thread.record.reason = u32::MAX;
    assert_eq!(thread.reason_index(), REASON_SLOTS - 1);
}

#[test]
fn closed_and_open_time_add_up() {
    let mut thread = thread(1, Phase::Blocked);
    thread.record.clock.waking_ns = 300;
    (thread.record.on_cpu_ns, thread.record.wakeup_wait_ns, thread.record.preempt_wait_ns) = (1_000, 2_000, 4_000);
    thread.record.blocked_ns[Reason::Sleep as usize] = 8_000;
    thread.record.blocked_ns[Reason::Futex as usize] = 16_000;
    let times = thread.times(500);
    assert_eq!((times.on_cpu_ns, times.wakeup_wait_ns, times.preempt_wait_ns), (1_000, 2_200, 4_000));
    assert_eq!((times.runnable_ns(), times.blocked_total_ns()), (6_200, 24_300));
    let by_reason: Vec<(Reason, u64)> = times.blocked_by_reason().filter(|(_, ns)| *ns > 0).collect();
    assert_eq!(by_reason, [(Reason::Futex, 16_000), (Reason::Sleep, 8_300)]);
    for (phase, expected) in [(Phase::Running, (1_500, 2_000, 4_000)), (Phase::Runnable, (1_000, 2_000, 4_500))] {
        thread.record.clock.phase = phase as u32;
        thread.record.clock.waking_ns = 0;
        let times = thread.times(500);
        assert_eq!((times.on_cpu_ns, times.wakeup_wait_ns, times.preempt_wait_ns), expected);
    }
}

#[test]
fn a_thread_without_events_does_what_it_was_found_doing() {
    let mut thread = thread(1, Phase::Unseen);
    thread.record.seeded_as = Phase::Running as u16;
    assert_eq!(thread.open(500).on_cpu_ns, 500);
    // Not a phase: most threads sleep.
    thread.record.seeded_as = 77;
    assert_eq!(thread.open(500).blocked_ns, 500);
}

#[test]
fn losses_are_summed_over_the_cpus() {
    let mut cpus = vec![CpuRecord::default(); 2];
    cpus[0].loss[Loss::AfterEnd as usize] = 2;
    cpus[1].loss[Loss::AfterEnd as usize] = 3;
    cpus[1].loss[Loss::FreeUnseen as usize] = 10;
    let losses = Snapshot { cpus, ..Snapshot::default() }.losses();
    let counted: Vec<(Loss, u64)> = losses.by_reason().filter(|(_, count)| *count > 0).collect();
    assert_eq!(counted, [(Loss::AfterEnd, 5), (Loss::FreeUnseen, 10)]);
}
