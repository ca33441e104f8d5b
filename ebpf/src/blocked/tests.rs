use super::*;

#[test]
fn the_discriminant_is_the_place_in_all() {
    for (index, reason) in Reason::ALL.iter().enumerate() {
        assert_eq!(*reason as usize, index, "{}", reason.name());
    }
    assert!(Reason::ALL.len() <= REASON_SLOTS);
}

#[test]
fn state_goes_before_system_call() {
    let poll = Reason::Poll as u8;
    assert_eq!(classify(state::STOPPED, false, poll), Reason::Stopped as u8);
    assert_eq!(classify(state::TRACED, false, Reason::Unknown as u8), Reason::Stopped as u8);
    assert_eq!(classify(state::UNINTERRUPTIBLE, true, Reason::PipeSocket as u8), Reason::Disk as u8);
    assert_eq!(classify(state::UNINTERRUPTIBLE, true, Reason::PageFault as u8), Reason::PageFault as u8);
    assert_eq!(classify(1, true, poll), Reason::Poll as u8);
    assert_eq!(classify(1, false, Reason::Unknown as u8), Reason::Unknown as u8);
}

#[test]
fn the_disk_is_waited_for_without_interruption_and_in_iowait() {
    let read = Reason::PipeSocket as u8;
    assert_eq!(classify(state::UNINTERRUPTIBLE, false, read), Reason::PipeSocket as u8);
    assert_eq!(classify(state::UNINTERRUPTIBLE, true, Reason::Unknown as u8), Reason::Disk as u8);
    // Other bits may be set beside the ones that matter: TASK_NOLOAD, TASK_WAKEKILL.
    assert_eq!(classify(0x400 | state::UNINTERRUPTIBLE, true, read), Reason::Disk as u8);
    assert_eq!(classify(0x100 | state::STOPPED, true, read), Reason::Stopped as u8);
}

#[test]
fn polling_nothing_is_sleeping() {
    let poll = Reason::Poll as u8;
    assert_eq!(reason_of_class(poll | class::FILES_0, Some((0, 7))), Reason::Sleep as u8);
    assert_eq!(reason_of_class(poll | class::FILES_0, Some((3, 0))), poll);
    assert_eq!(reason_of_class(poll | class::FILES_1, Some((7, 0))), Reason::Sleep as u8);
    assert_eq!(reason_of_class(poll | class::FILES_1, None), poll);
    assert_eq!(reason_of_class(poll | class::EPOLL, Some((0, 0))), poll);
    assert!(Reason::ALL.iter().all(|reason| *reason as u8 & !class::REASON == 0));
}
