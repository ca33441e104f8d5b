//! Questions and answers as bytes, a datagram each. Neither side believes the other: sizes are bounded, and what cannot be decoded is no
//! answer.

use std::ffi::OsString;
use std::path::PathBuf;

use schedscope_ebpf::gil::AddressRange;
use serde::{Deserialize, Serialize};

use super::Answer;
use crate::capture::python::{Found, Gil, GilKind, Interpreter, Unresolved, Version};
use crate::capture::script::SCRIPT_CHARS;
use crate::capture::snapshot::Tgid;

/// A process.
pub(super) const QUESTION_BYTES: usize = 4;
/// A path of 4,096 bytes takes 20 kB as numbers; 256 interpreters with locks of their own take as much.
pub(super) const ANSWER_BYTES_MAX: usize = 1 << 16;

pub(super) fn question(tgid: Tgid) -> [u8; QUESTION_BYTES] {
    tgid.0.to_ne_bytes()
}

pub(super) fn read_question(bytes: &[u8]) -> Option<Tgid> {
    Some(Tgid(u32::from_ne_bytes(bytes.try_into().ok()?)))
}

/// The answer about a process. One that would be too long says that.
pub(super) fn answer(tgid: Tgid, answer: Answer) -> Vec<u8> {
    let Answer { python, script } = answer;
    let encode = |result| serde_json::to_vec(&Wire { tgid: tgid.0, result, script: script.clone() }).unwrap_or_default();
    let bytes = encode(python.map(|found| found.map(Into::into)));
    if bytes.len() <= ANSWER_BYTES_MAX { bytes } else { encode(Err(Unresolved::OverBudget)) }
}

/// `None` for what no helper of ours says.
pub(super) fn read_answer(bytes: &[u8]) -> Option<(Tgid, Answer)> {
    let Wire { tgid, result, script } = serde_json::from_slice(bytes).ok()?;
    let is_short = script.as_ref().is_none_or(|script| script.chars().count() <= SCRIPT_CHARS);
    is_short.then(|| (Tgid(tgid), Answer { python: result.map(|found| found.map(Into::into)), script }))
}

#[derive(Serialize, Deserialize)]
struct Wire {
    tgid: u32,
    result: Result<Option<WireInterpreter>, Unresolved>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    script: Option<String>,
}

/// An [`Interpreter`] in types that serde knows.
#[derive(Serialize, Deserialize)]
struct WireInterpreter {
    version: Option<(u8, u8, Option<u8>)>,
    kind: GilKind,
    runtime: (u64, u64),
    gils: Vec<WireGil>,
    object: OsString,
    by_symbol: bool,
    further_runtimes: Vec<(u64, u64)>,
}

#[derive(Serialize, Deserialize)]
struct WireGil {
    range: (u64, u64),
    interpreter: i64,
    switch_interval_us: u64,
    enabled: bool,
}

fn pair(range: AddressRange) -> (u64, u64) {
    (range.start, range.end)
}

fn range((start, end): (u64, u64)) -> AddressRange {
    AddressRange { start, end }
}

impl From<Interpreter> for WireInterpreter {
    fn from(from: Interpreter) -> Self {
        let gil = |gil: Gil| WireGil {
            range: pair(gil.range),
            interpreter: gil.interpreter,
            switch_interval_us: gil.switch_interval_us,
            enabled: gil.enabled,
        };
        Self {
            version: from.version.map(|version| (version.major, version.minor, version.micro)),
            kind: from.kind,
            runtime: pair(from.runtime),
            gils: from.gils.into_iter().map(gil).collect(),
            object: from.object.into_os_string(),
            by_symbol: from.found == Found::Symbol,
            further_runtimes: from.further_runtimes.into_iter().map(pair).collect(),
        }
    }
}

impl From<WireInterpreter> for Interpreter {
    fn from(from: WireInterpreter) -> Self {
        let gil = |gil: WireGil| Gil {
            range: range(gil.range),
            interpreter: gil.interpreter,
            switch_interval_us: gil.switch_interval_us,
            enabled: gil.enabled,
        };
        Self {
            version: from.version.map(|(major, minor, micro)| Version { major, minor, micro }),
            kind: from.kind,
            runtime: range(from.runtime),
            gils: from.gils.into_iter().map(gil).collect(),
            object: PathBuf::from(from.object),
            found: if from.by_symbol { Found::Symbol } else { Found::Section },
            further_runtimes: from.further_runtimes.into_iter().map(range).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use proptest::prelude::*;

    use super::*;

    fn ranges() -> impl Strategy<Value = AddressRange> {
        any::<(u64, u64)>().prop_map(|(start, bytes)| AddressRange::new(start, bytes))
    }

    fn gils() -> impl Strategy<Value = Gil> {
        (ranges(), any::<(i64, u64, bool)>()).prop_map(|(range, (interpreter, switch_interval_us, enabled))| Gil {
            range,
            interpreter,
            switch_interval_us,
            enabled,
        })
    }

    fn interpreters() -> impl Strategy<Value = Interpreter> {
        let version = prop::option::of(any::<(u8, u8, Option<u8>)>());
        let kind = prop::sample::select(GilKind::ALL.to_vec());
        let (gils, further) = (prop::collection::vec(gils(), 0..=256), prop::collection::vec(ranges(), 0..8));
        let object = prop::collection::vec(1_u8.., 0..4096);
        (version, kind, ranges(), gils, object, any::<bool>(), further).prop_map(
            |(version, kind, runtime, gils, object, by_symbol, further_runtimes)| Interpreter {
                version: version.map(|(major, minor, micro)| Version { major, minor, micro }),
                kind,
                runtime,
                gils,
                object: PathBuf::from(OsString::from_vec(object)),
                found: if by_symbol { Found::Symbol } else { Found::Section },
                further_runtimes,
            },
        )
    }

    fn answers() -> impl Strategy<Value = Answer> {
        let python = prop_oneof![
            Just(Ok(None)),
            prop::sample::select(Unresolved::ALL.to_vec()).prop_map(Err),
            interpreters().prop_map(|found| Ok(Some(found))),
        ];
        // Characters that take most when they are written.
        let script = prop::option::of(prop::collection::vec(prop_oneof![Just('\u{1}'), any::<char>()], 0..=SCRIPT_CHARS));
        (python, script).prop_map(|(python, script)| Answer { python, script: script.map(String::from_iter) })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// The largest that can be found fits, so nothing is cut.
        #[test]
        fn an_answer_arrives_as_it_was_sent(tgid: u32, sent in answers()) {
            let bytes = answer(Tgid(tgid), sent.clone());
            prop_assert!(bytes.len() <= ANSWER_BYTES_MAX, "{}", bytes.len());
            prop_assert_eq!(read_answer(&bytes), Some((Tgid(tgid), sent)));
            prop_assert_eq!(read_question(&question(Tgid(tgid))), Some(Tgid(tgid)));
        }

        #[test]
        fn nonsense_is_no_answer_and_no_panic(mut bytes in answers().prop_map(|sent| answer(Tgid(7), sent)), at: prop::sample::Index, byte: u8, cut: bool) {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if cut {
                bytes.truncate(at);
                prop_assert_eq!(read_answer(&bytes), None);
            } else {
                // It may be one of another process.
                let _ = read_answer(&bytes);
            }
        }
    }

    #[test]
    fn an_answer_that_is_too_long_says_so() {
        let gil = Gil { range: AddressRange::new(u64::MAX / 2, 208), interpreter: 7, switch_interval_us: 5000, enabled: true };
        let found = Interpreter {
            version: None,
            kind: GilKind::PerInterpreter,
            runtime: gil.range,
            gils: vec![gil; 1 << 12],
            object: PathBuf::new(),
            found: Found::Symbol,
            further_runtimes: Vec::new(),
        };
        let sent = Answer { python: Ok(Some(found)), script: Some("app.py".to_owned()) };
        let heard = Answer { python: Err(Unresolved::OverBudget), ..sent.clone() };
        assert_eq!(read_answer(&answer(Tgid(1), sent)), Some((Tgid(1), heard)));
    }

    #[test]
    fn a_script_that_is_too_long_is_no_answer() {
        for (chars, is_answer) in [(SCRIPT_CHARS, true), (SCRIPT_CHARS + 1, false)] {
            let sent = Answer { python: Ok(None), script: Some("é".repeat(chars)) };
            assert_eq!(read_answer(&answer(Tgid(1), sent)).is_some(), is_answer);
        }
    }
}
