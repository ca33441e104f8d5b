use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::*;
use crate::report::ColourDepth;
use crate::top::controls::{Controls, SortKey};
use crate::top::history::History;
use crate::top::view::tests::history;
use crate::top::wire::WorkloadId;

/// What is on a terminal of this size, without colours.
fn screen(view: &View<'_>, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, view)).unwrap();
    let buffer = terminal.backend().buffer();
    let rows = buffer.content().chunks(usize::from(width.max(1)));
    let text = |row: &[ratatui::buffer::Cell]| {
        let (mut text, mut covered) = (String::new(), 0);
        for cell in row {
            // The cell after a wide sign is under it.
            if covered == 0 {
                text.push_str(cell.symbol());
                covered = columns(cell.symbol());
            }
            covered = covered.saturating_sub(1);
        }
        format!("{}\n", text.trim_end())
    };
    rows.map(text).collect()
}

fn golden(name: &str, text: &str) {
    let path = format!("{}/src/top/golden/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    assert!(
        text == golden,
        "differs from {path}; look at the difference after UPDATE_GOLDEN=1 cargo test -p schedscope golden\n{text}"
    );
}

#[test]
fn screens_are_the_golden_texts() {
    let history = history();
    let standard = Controls::default();
    let help = Controls { mode: Mode::Help, ..Controls::default() };
    let python = Controls { selected: Some(WorkloadId(1)), sort: SortKey::Lost, ..Controls::default() };
    let view = |controls, colour| View::of(&history, controls, "daemon at 127.0.0.1:9752", State::Live, colour);
    golden("80x24", &screen(&view(&python, ColourDepth::TrueColour), 80, 24));
    golden("80x24-plain", &screen(&view(&python, ColourDepth::None), 80, 24));
    golden("200x50", &screen(&view(&standard, ColourDepth::TrueColour), 200, 50));
    golden("40x10", &screen(&view(&standard, ColourDepth::None), 40, 10));
    golden("help-80x24", &screen(&view(&help, ColourDepth::None), 80, 24));
    golden("once", &plain(&view(&standard, ColourDepth::None)));
}

#[test]
fn what_the_user_has_set_and_what_is_wrong_is_said() {
    let history = history();
    let shown = |controls: &Controls, state| screen(&View::of(&history, controls, "x", state, ColourDepth::None), 80, 24);
    let controls = Controls { is_paused: true, filter: "pyth".to_owned(), ..Controls::default() };
    let text = shown(&controls, State::Live);
    assert!(text.contains(" PAUSED ·") && text.contains("with \"pyth\" only") && !text.contains("nginx"), "{text}");
    let typing = Controls { mode: Mode::Filter, filter: "zz".to_owned(), ..Controls::default() };
    let text = shown(&typing, State::Live);
    assert!(text.contains("show only: zz_") && text.contains("No row has this text"), "{text}");
    assert!(shown(&Controls::default(), State::Gone("cannot ask".to_owned())).starts_with(" NO ANSWER: cannot ask"));
    assert!(shown(&Controls::default(), State::Stale(7)).starts_with(" NO NEW READING for 7 s"));
    let nothing = History::default();
    let view = View::of(&nothing, &typing, "x", State::Starting, ColourDepth::None);
    assert!(screen(&view, 80, 24).starts_with(" waiting for figures"));
}

#[test]
fn without_colours_there_are_none_and_with_them_there_are() {
    let history = history();
    let coloured = |depth| {
        let mut terminal = Terminal::new(TestBackend::new(120, 40)).unwrap();
        let controls = Controls::default();
        let view = View::of(&history, &controls, "x", State::Gone(String::new()), depth);
        terminal.draw(|frame| draw(frame, &view)).unwrap();
        let cells = terminal.backend().buffer().content().to_vec();
        cells.iter().filter(|cell| cell.fg != ratatui::style::Color::Reset || cell.bg != ratatui::style::Color::Reset).count()
    };
    assert_eq!(coloured(ColourDepth::None), 0);
    assert!(coloured(ColourDepth::Ansi256) > 100);
}

/// A JSON of this shape, with any numbers and texts in it.
fn any_answer() -> impl Strategy<Value = String> {
    let number = prop_oneof![0..3_u64, Just(1_000_000_000), any::<u64>()];
    let cpu = 0..9_u32;
    let by_cpu = || prop::collection::btree_map(0..9_u32, prop_oneof![0..2_000_000_000_u64, any::<u64>()], 0..6);
    let text = prop_oneof!["[a-z ]{0,20}", any::<String>(), "[工\u{1f600}é\u{202e}]{0,40}"];
    let name = prop_oneof![Just("serial".to_owned()), Just("threads (GIL-bound)".to_owned()), any::<String>()];
    let window = (number.clone(), text.clone(), text.clone(), number.clone(), number.clone(), number.clone());
    let workload = (0..5_u64, text, name, prop::option::of(0..20_u32), prop::option::of(window)).prop_map(|(id, name, model, colour, window)| {
        let mut workload = serde_json::json!({"id": id, "name": name, "model": model, "source": "unit", "colour": colour});
        if let Some((wall_ns, sentence, advice, used_ns, gil_ns, p99_ns)) = window {
            workload["last_window"] = serde_json::json!({"wall_ns": wall_ns, "sentence": sentence, "advice": advice, "used_ns": used_ns,
                "lost_ns": {"wait_gil": gil_ns, "others": used_ns, "unheard_of": 1}, "wakeup_p99_ns": p99_ns});
        }
        workload
    });
    let figures =
        (by_cpu(), number.clone(), number.clone(), number.clone()).prop_map(|(on_cpu_ns, waits_ns, voluntary, threads)| {
            serde_json::json!({"on_cpu_ns": on_cpu_ns, "wakeup_wait_ns": waits_ns, "voluntary": voluntary, "preempted": voluntary,
            "threads": threads})
        });
    let workloads = prop::collection::btree_map(0..5_u64, figures, 0..4);
    let sample = (number.clone(), number.clone(), by_cpu(), workloads).prop_map(|(number, wall_ns, idle_ns, workloads)| {
        serde_json::json!({"number": number, "wall_ns": wall_ns, "idle_ns": idle_ns, "workloads": workloads})
    });
    let idle = prop::collection::btree_map(cpu, any::<u64>(), 0..9);
    (prop::collection::vec(workload, 0..6), prop::collection::vec(sample, 0..6), idle, number).prop_map(|(workloads, samples, idle_ns, lost)| {
        serde_json::json!({"schema": "schedscope.history/1", "epoch": 1, "next": lost, "idle_ns": idle_ns, "workloads": workloads,
            "samples": samples, "missing": {"x": lost, "y": lost}}).to_string()
    })
}

proptest! {
    #[test]
    fn any_figures_are_drawn_on_any_terminal(
        answer in any_answer(), width in 0..230_u16, height in 0..70_u16, sort in 0..SortKey::ALL.len(), mode in 0..3_usize, depth in 0..3_usize,
    ) {
        let mut history = History::default();
        history.take(serde_json::from_str(&answer).unwrap());
        let mode = [Mode::Table, Mode::Filter, Mode::Help][mode];
        let colour = [ColourDepth::None, ColourDepth::Ansi256, ColourDepth::TrueColour][depth];
        let controls = Controls { sort: SortKey::ALL[sort], mode, selected: Some(WorkloadId(3)), ..Controls::default() };
        let view = View::of(&history, &controls, "daemon at localhost:9752", State::Live, colour);
        let text = screen(&view, width, height);
        prop_assert!(text.lines().all(|line| !line.chars().any(char::is_control)), "{text:?}");
        let _ = plain(&view);
    }
}
