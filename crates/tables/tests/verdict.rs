//! The rule of verdicts, against statsmodels (`golden/verdicts.py`) and at its edges.

use compare::stats::{proportions, wilson};
use compare::table::Emphasis;
use compare::{Replication, Scale};
use tables::{AGREEMENT_WIDTH, Finding, Grade, PaperScore, Reason, Score, Verdict, judge};

fn ours(right: f64, n: f64) -> Score {
    let interval = wilson(right, n, 0.95);
    Score {
        value: right / n,
        scale: Scale::Fraction,
        interval: Some((interval.low, interval.high)),
        items: Some(n as u64),
        replication: Replication::OneSeed,
        letters: String::new(),
        emphasis: Emphasis::None,
    }
}

fn paper(value: f64, items: Option<f64>) -> PaperScore {
    PaperScore { value, grade: Grade::Verified, items, stderr: None }
}

#[test]
fn two_proportions_are_judged_as_statsmodels_does() {
    let cases: Vec<serde_json::Value> = serde_json::from_str(include_str!("golden/verdicts.json")).unwrap();
    assert!(cases.len() > 300);
    for case in cases {
        let number = |key: &str| case[key].as_f64().unwrap();
        let (n, m) = (number("n"), number("m"));
        let found = judge(&paper(number("paper") / m, Some(m)), &ours(number("ours"), n), 0.95).unwrap();
        let expected = match case["finding"].as_str().unwrap() {
            "agrees" => Finding::Agrees,
            "within_noise" => Finding::WithinNoise,
            _ => Finding::Differs,
        };
        assert_eq!(found, expected, "{case}");
    }
}

/// With two proportions the rule of the difference is Newcombe's, to the last item.
#[test]
fn the_edge_is_newcombes() {
    let n = 1319.0;
    for right in 500..=800 {
        let (a, b) = (631.0, f64::from(right));
        let of = |value: f64| proportions::Proportion { value: value / n, n };
        let interval = proportions::newcombe(of(a), of(b), 0.95);
        let differs = interval.low > 0.0 || interval.high < 0.0;
        let found = judge(&paper(b / n, Some(n)), &ours(a, n), 0.95).unwrap();
        assert_eq!(found == Finding::Differs, differs, "{right}");
    }
}

/// The named width: GSM8K's items can agree, HumanEval's cannot.
#[test]
fn a_wide_interval_agrees_with_nothing() {
    let same = |right: f64, n: f64| judge(&paper(right / n, Some(n)), &ours(right, n), 0.95).unwrap();
    assert_eq!(same(660.0, 1319.0), Finding::Agrees);
    assert_eq!(same(82.0, 164.0), Finding::WithinNoise);
    let (low, high) = ours(660.0, 1319.0).interval.unwrap();
    assert!(high - low < AGREEMENT_WIDTH);
}

/// A standard error says of how many items a number is: 37.91 ± 1.34 is of GSM8K's 1,319, near enough.
#[test]
fn a_standard_error_stands_for_items() {
    let by_error = PaperScore { stderr: Some(0.0134), ..paper(0.3791, None) };
    for right in (380..=620).step_by(5) {
        let ours = ours(f64::from(right), 1319.0);
        let by_items = judge(&paper(0.3791, Some(1310.8)), &ours, 0.95);
        assert_eq!(judge(&by_error, &ours, 0.95), by_items);
    }
}

/// A paper's number of unknown size is taken to be as uncertain as ours.
#[test]
fn unknown_items_are_as_many_as_ours() {
    for right in 500..=800 {
        let score = ours(f64::from(right), 1319.0);
        let value = 631.0 / 1319.0;
        let difference = score.value - value;
        let (low, high) = score.interval.unwrap();
        let (below, above) = (score.value - low, high - score.value);
        let reach = below.hypot(above);
        let found = judge(&paper(value, None), &score, 0.95).unwrap();
        assert_eq!(found == Finding::Differs, difference.abs() > reach, "{right}");
    }
}

#[test]
fn a_score_that_is_no_fraction_has_a_relative_width() {
    let perplexity = |low: f64, high: f64| Score {
        value: f64::midpoint(low, high),
        scale: Scale::Plain,
        interval: Some((low, high)),
        items: None,
        replication: Replication::Seeds(3),
        letters: String::new(),
        emphasis: Emphasis::None,
    };
    assert_eq!(judge(&paper(20.0, None), &perplexity(19.5, 20.6), 0.95), Some(Finding::Agrees));
    assert_eq!(judge(&paper(20.0, None), &perplexity(19.0, 21.0), 0.95), Some(Finding::WithinNoise));
    assert_eq!(judge(&paper(30.0, None), &perplexity(19.0, 21.0), 0.95), Some(Finding::Differs));
}

#[test]
fn unverified_never_agrees() {
    for right in 0..=100 {
        let score = ours(f64::from(right) * 100.0, 10_000.0);
        let memory = PaperScore { grade: Grade::Unverified, ..paper(0.5, Some(10_000.0)) };
        let verdict = Verdict::of(&memory, &score, 0.95);
        assert!(matches!(verdict, Verdict::NotComparable(Reason::Unverified(Some(_)))));
        assert!(verdict.label().starts_with("unverified"), "{}", verdict.label());
    }
}

#[test]
fn what_was_read_off_a_figure_is_called_so() {
    let figure = PaperScore { grade: Grade::Figure, ..paper(0.5, Some(1319.0)) };
    let verdict = Verdict::of(&figure, &ours(660.0, 1319.0), 0.95);
    assert_eq!(verdict, Verdict::Found(Finding::Agrees, Grade::Figure));
    assert_eq!(verdict.label(), "agrees with the figure");
}

#[test]
fn without_an_interval_nothing_is_said() {
    let score = Score { interval: None, ..ours(660.0, 1319.0) };
    let verdict = Verdict::of(&paper(0.5, Some(1319.0)), &score, 0.95);
    assert_eq!((verdict.label(), verdict), ("not comparable", Verdict::NotComparable(Reason::NoInterval)));
}
