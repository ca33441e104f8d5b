use std::time::Duration;

use schedscope::capture::python::{GilKind, Interpreter, Unresolved};
use schedscope_ebpf::gil::AddressRange;

use super::interpreters::{Python, Running, those};
use super::waits::sample;

/// Four threads that compute for ever, the main one among them.
pub(crate) const SPIN: &str = "
import sys, threading
def spin():
    x = 0
    while True: x += 1
if sys.version_info[0] > 2: sys.setswitchinterval(0.0123)
for _ in range(3):
    t = threading.Thread(target=spin); t.daemon = True; t.start()
print('ready'); sys.stdout.flush()
spin()
";

/// Four threads that wait for other locks than the GIL.
const WAIT: &str = "
import sys, threading, time
lock = threading.Lock(); lock.acquire()
event = threading.Event()
for wait in (lock.acquire, event.wait, event.wait):
    t = threading.Thread(target=wait); t.daemon = True; t.start()
print('ready'); sys.stdout.flush()
lock.acquire()
";

/// Two threads in the main interpreter and three in a second one, which has a GIL of its own.
const SUB_INTERPRETER: &str = "
import sys, threading
try: import _interpreters as interpreters
except ImportError: import _xxsubinterpreters as interpreters
spin = '''
def spin():
    x = 0
    while True: x += 1
'''
script = spin + '''
import threading
for _ in range(2): threading.Thread(target=spin).start()
spin()
'''
exec(spin)
threading.Thread(target=interpreters.run_string, args=(interpreters.create(), script), daemon=True).start()
threading.Thread(target=spin, daemon=True).start()
print('ready'); sys.stdout.flush()
spin()
";

const ENOUGH: usize = 200;
const PATIENCE: Duration = Duration::from_secs(20);

fn assert_described(python: &Python, found: &Interpreter) {
    let version = found.version.unwrap_or_else(|| panic!("{python:?} has no version"));
    assert_eq!((version.major, version.minor), python.minor(), "{python:?}");
    assert_eq!(version.micro, (python.minor() >= (3, 11)).then_some(python.version.2), "{python:?}");
    let kind = match python.minor() {
        _ if python.is_free_threaded && found.gils.iter().any(|gil| gil.enabled) => GilKind::FreeThreadedButEnabled,
        _ if python.is_free_threaded => GilKind::FreeThreaded,
        (3, ..12) => GilKind::PerProcess,
        _ => GilKind::PerInterpreter,
    };
    assert_eq!(found.kind, kind, "{python:?}");
}

/// All futex waits of a process that does nothing but compute are for its GIL, and inside it.
pub(crate) fn assert_waits_for_the_gil(process: &Running, found: &Interpreter) {
    let gil = found.gils.first().unwrap_or_else(|| panic!("{found:?}"));
    let waits = sample(process.tgid(), ENOUGH, PATIENCE);
    assert!(waits.len() >= ENOUGH, "only {} waits: {found:?}", waits.len());
    for address in &waits {
        assert!(found.wait_ranges().iter().any(|range| range.contains(*address)), "{address:#x} is not in {found:?}");
        assert!(gil.range.contains(*address), "{address:#x} is not in {gil:?}");
    }
}

#[test]
fn threads_that_compute_wait_inside_the_gil() {
    for python in &those(|python| python.is_supported() && !python.is_free_threaded, "CPython with a GIL") {
        let process = python.run(SPIN);
        let found = process.resolve();
        println!("{}: {found:?}", python.program.display());
        assert_described(python, &found);
        assert_eq!(found.switch_interval_us(), Some(12_300), "{python:?}");
        assert_eq!(found.gils.len(), 1, "{python:?}");
        assert_waits_for_the_gil(&process, &found);
    }
}

#[test]
fn other_locks_are_outside_the_gil() {
    for python in &those(Python::is_supported, "CPython 3.7 or later") {
        let process = python.run(WAIT);
        let found = process.resolve();
        assert_described(python, &found);
        let waits = sample(process.tgid(), ENOUGH, PATIENCE);
        assert!(waits.len() >= ENOUGH, "{python:?}: only {} waits", waits.len());
        let ranges = found.wait_ranges();
        // The threads need the GIL to begin to wait, so one of the first samples may be of that.
        let inside = waits.iter().filter(|address| ranges.iter().any(|range| range.contains(**address))).count();
        assert!(inside <= 3, "{python:?}: {inside} of {} waits are in {ranges:?}", waits.len());
    }
}

#[test]
fn a_second_interpreter_has_its_own_gil() {
    let with_gil = |python: &Python| python.minor() >= (3, 12) && !python.is_free_threaded;
    for python in &those(with_gil, "CPython 3.12 or later with a GIL") {
        let process = python.run(SUB_INTERPRETER);
        let found = process.resolve_until(|found| found.gils.len() == 2);
        println!("{}: {found:?}", python.program.display());
        let AddressRange { start, end } = found.gils[0].range;
        assert!(found.runtime.contains(start) && end <= found.runtime.end, "{found:?}");
        assert!(!found.runtime.contains(found.gils[1].range.start), "{found:?}");
        assert_eq!(found.wait_ranges()[..2], [found.runtime, found.gils[1].range]);

        // Starting threads takes other locks, and under load it takes a while; once all compute there are no other waits.
        let batch = || {
            let waits = sample(process.tgid(), 2 * ENOUGH, PATIENCE);
            let of = |gil: usize| waits.iter().filter(|address| found.gils[gil].range.contains(**address)).count();
            (of(0), of(1), waits.len())
        };
        let is_settled = |(first, second, all): &(usize, usize, usize)| *first > 0 && *second > 0 && first + second == *all;
        assert!((0..20).map(|_| batch()).any(|counts| is_settled(&counts)), "{python:?}: {:?}", batch());
        let (first, second, all) = batch();
        assert!(first > ENOUGH / 8 && second > ENOUGH / 8 && first + second == all, "{python:?}: {first} and {second} of {all}");
    }
}

#[test]
fn a_free_threaded_build_has_a_gil_only_when_asked_to() {
    for python in &those(|python| python.is_free_threaded, "free-threaded CPython") {
        for asked in [false, true] {
            let mut command = std::process::Command::new(&python.program);
            command.args(["-X", if asked { "gil=1" } else { "gil=0" }, "-c", SPIN]);
            let process = Running::start(&mut command);
            let found = process.resolve();
            println!("{}: {found:?}", python.program.display());
            assert_described(python, &found);
            assert_eq!(found.gils.first().map(|gil| gil.enabled), Some(asked), "{python:?}");
            assert_eq!(found.switch_interval_us(), Some(12_300), "{python:?}");
            if asked {
                assert_waits_for_the_gil(&process, &found);
            } else {
                let waits = sample(process.tgid(), ENOUGH, Duration::from_millis(500));
                assert!(!waits.iter().any(|address| found.runtime.contains(*address)), "{python:?}");
            }
        }
    }
}

#[test]
fn older_versions_are_named() {
    for python in &those(|python| !python.is_supported(), "CPython before 3.7") {
        assert_eq!(python.run(SPIN).try_resolve().unwrap_err(), Unresolved::UnsupportedVersion, "{python:?}");
    }
}
