use proptest::prelude::*;

use super::*;

/// A case of a pair of this name, healthy without causes to be cured.
pub(in super::super) fn case(causes: &[&str], report: &str, measured: Measured) -> Case {
    Case::new(&pair(causes), &self::report(report), measured)
}

pub(in super::super) const QUIET: Measured =
    Measured { sick: Duration::from_secs(1), cure: Some(Duration::from_millis(500)), quiet: None };

fn pair(causes: &[&str]) -> Pair {
    let healthy = causes == ["cores"];
    let cure = if healthy { "healthy = true" } else { "cure = \"b\"\ncompare = true" };
    toml::from_str(&format!("name = \"a\"\nmodels = \"A.\"\nsick = \"a\"\ncauses = {causes:?}\n{cure}")).unwrap()
}

/// A report with this as its model.
fn report(model: &str) -> Report {
    let host = "\"host\": {\"kernel\": \"6.1\", \"foreign_on_cpu_seconds\": 0.1}, \"cpus\": {\"online\": 2}";
    serde_json::from_str(&format!("{{\"wall_seconds\": 1, {host}, \"model\": {{{model}}}}}")).unwrap()
}

fn says(limit: &str) -> Report {
    report(&format!("\"limit\": \"{limit}\", \"advice\": \"\""))
}

#[test]
fn every_accepted_cause_is_right_and_any_other_wrong() {
    let pair = pair(&["gil", "locks"]);
    for cause in Cause::all() {
        let expected = match cause {
            Cause::Gil | Cause::Locks => Judgment::Right,
            Cause::CpuWait | Cause::NothingSeen => Judgment::CannotTell,
            _ => Judgment::WrongCause,
        };
        assert_eq!(judge(&pair, &says(&cause.to_string()), None), expected, "{cause}");
    }
}

#[test]
fn advice_to_a_healthy_program_is_wrong() {
    let advice = report("\"limit\": \"cores\", \"advice\": \"Do something.\"");
    assert_eq!(judge(&pair(&["cores"]), &advice, None), Judgment::WrongAdvice);
    assert_eq!(judge(&pair(&["cores"]), &says("cores"), None), Judgment::Right);
    let sick = report("\"limit\": \"gil\", \"advice\": \"Do something.\"");
    assert_eq!(judge(&pair(&["gil"]), &sick, None), Judgment::Right);
}

#[test]
fn other_programs_may_be_named_where_they_slow_it_down() {
    let pair = pair(&["cores"]);
    assert_eq!(judge(&pair, &says("others"), None), Judgment::WrongCause);
    assert_eq!(judge(&pair, &says("others"), Some(1.1)), Judgment::WrongCause);
    assert_eq!(judge(&pair, &says("others"), Some(1.9)), Judgment::Right);
    assert_eq!(judge(&pair, &says("cores"), Some(1.9)), Judgment::Right);
}

#[test]
fn a_prediction_is_that_for_an_accepted_cause() {
    let what_if = |cause: &str| {
        let model = format!(
            "\"limit\": \"locks\", \"advice\": \"\", \"what_if\": [{{\"cause\": \"mask\", \"wall_seconds\": [0.1, 0.2]}}, \
             {{\"cause\": \"{cause}\", \"wall_seconds\": [0.45, 0.55]}}]"
        );
        case(&["gil"], &model, QUIET).prediction
    };
    let prediction = what_if("gil").unwrap();
    assert!(prediction.is_inside());
    assert!((prediction.width() - 0.2).abs() < 1e-9);
    assert_eq!(what_if("others"), None);
}

#[test]
fn a_report_without_predictions_or_with_an_unknown_cause() {
    assert!(says("gil").model.what_if.is_empty());
    assert!(serde_json::from_str::<Cause>("\"magic\"").is_err());
}

#[test]
fn what_is_right_is_in_the_diagonal_of_the_matrix() {
    let cases = [("gil", 2), ("locks", 1), ("cores", 1), ("nothing_seen", 3)].into_iter().flat_map(|(limit, times)| {
        (0..times).map(move |_| case(&["gil", "locks"], &format!("\"limit\": \"{limit}\", \"advice\": \"\""), QUIET))
    });
    let cases: Vec<Case> = cases.collect();
    let confusions = Confusions::of(&cases);
    assert_eq!(confusions.count(Cause::Gil, Cause::Gil), 2);
    assert_eq!(confusions.count(Cause::Locks, Cause::Locks), 1);
    assert_eq!(confusions.count(Cause::Gil, Cause::Cores), 1);
    assert_eq!(confusions.count(Cause::Gil, Cause::NothingSeen), 3);
    assert_eq!(confusions.count(Cause::Cores, Cause::Cores), 0);
}

proptest! {
    /// Every case is counted once among the judgments and once in the matrix, and no more predictions hold than were made.
    #[test]
    fn totals_add_up(said in proptest::collection::vec((0..19_usize, 0.1..2.0, 0.0..2.0, any::<bool>()), 0..30)) {
        let cases: Vec<Case> = said.iter().map(|&(cause, least, more, predicts)| {
            let (limit, most) = (Cause::NAMES[cause].1, least + more);
            let what_if = if predicts {
                format!("{{\"cause\": \"gil\", \"wall_seconds\": [{least}, {most}]}}")
            } else {
                String::new()
            };
            case(&["gil"], &format!("\"limit\": \"{limit}\", \"advice\": \"\", \"what_if\": [{what_if}]"), QUIET)
        }).collect();
        let totals = Totals::of(&cases);
        prop_assert_eq!(totals.cases, said.len());
        prop_assert_eq!(totals.right + totals.cannot_tell + totals.wrong, totals.cases);
        prop_assert_eq!(totals.comparable, totals.cases);
        prop_assert_eq!(totals.predicted, said.iter().filter(|(.., predicts)| *predicts).count());
        prop_assert!(totals.inside <= totals.predicted && totals.narrow <= totals.predicted);
        let inside = said.iter().filter(|(_, least, more, predicts)| *predicts && *least <= 0.5 && least + more >= 0.5).count();
        prop_assert_eq!(totals.inside, inside);
        let confusions = Confusions::of(&cases);
        let counted: usize = confusions.right.iter()
            .flat_map(|right| confusions.named.iter().map(|named| confusions.count(*right, *named))).sum();
        prop_assert_eq!(counted, totals.cases);
        let diagonal: usize = Cause::all().map(|cause| confusions.count(cause, cause)).sum();
        prop_assert_eq!(diagonal, totals.right);
    }
}
