//! Metrics against their reference implementations, on texts made to tell implementations apart
//! (`data/make_metrics.py`).
#![allow(clippy::float_cmp, reason = "what is 0 or 1 is so exactly")]

use serde::Deserialize;
use std::collections::BTreeMap;
use tasks::{
    Engine, Equality, ExtractRule, Item, Metric, MetricRef, Occurrence, Scorer, Scores, Scoring, metrics,
};

/// Both sides compute in 64 bits; sums may be taken in another order.
const TOLERANCE: f64 = 1e-9;

#[derive(Deserialize)]
struct Golden {
    overlap: Vec<Overlap>,
    bleu: Vec<Corpus>,
    span: Vec<Span>,
    answers: Vec<String>,
    equivalent: Vec<String>,
    boxed: Vec<Boxed>,
    extract: Vec<Extract>,
    labels: Vec<Labels>,
    values: Vec<Values>,
    perplexity: Perplexity,
}

#[derive(Deserialize)]
struct Overlap {
    references: Vec<String>,
    output: String,
    rouge1: f64,
    rouge2: f64,
    #[serde(rename = "rougeL")]
    rouge_l: f64,
    bleu: [f64; 10],
}

#[derive(Deserialize)]
struct Corpus {
    name: String,
    items: Vec<usize>,
    bleu: f64,
}

#[derive(Deserialize)]
struct Span {
    answers: Vec<String>,
    output: String,
    exact_match: f64,
    f1: f64,
}

#[derive(Deserialize)]
struct Boxed {
    text: String,
    inner: Option<String>,
}

#[derive(Deserialize)]
struct Extract {
    name: String,
    rule: ExtractRule,
    equality: Equality,
    gold: String,
    outputs: Vec<String>,
    right: Vec<f64>,
}

#[derive(Deserialize)]
struct Labels {
    gold: Vec<usize>,
    predicted: Vec<i64>,
    classes: usize,
    accuracy: f64,
    matthews: f64,
    f1: Option<f64>,
}

#[derive(Deserialize)]
struct Values {
    gold: Vec<f64>,
    predicted: Vec<f64>,
    pearson: Option<f64>,
    spearman: Option<f64>,
}

#[derive(Deserialize)]
struct Perplexity {
    outputs: Vec<String>,
    nats_per_token: f64,
    perplexity: f64,
    bits_per_character: f64,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("data/metrics.json")).expect("it is what the script wrote")
}

/// Scores pairs of a gold field, named `gold`, and an output.
fn score(engine: &Engine, pairs: &[(String, String)]) -> (Vec<Metric>, Vec<Scores>) {
    let all = metrics(engine).iter();
    let scoring = Scoring {
        metrics: all.map(|metric| MetricRef { name: metric.name.to_owned(), version: 1 }).collect(),
        engine: engine.clone(),
    };
    let item = |(index, (gold, _)): (usize, &(String, String))| Item {
        id: index.to_string(),
        cluster: None,
        key: String::new(),
        prompt: String::new(),
        second: None,
        response: String::new(),
        fields: BTreeMap::from([("gold".to_owned(), gold.clone())]),
    };
    let items: Vec<_> = pairs.iter().enumerate().map(item).collect();
    let outputs: Vec<_> = pairs.iter().map(|(_, output)| vec![output.clone()]).collect();
    let scorer = Scorer::new(&scoring);
    (scorer.metrics().to_vec(), scorer.score(&items, &outputs).unwrap())
}

fn value(metrics: &[Metric], name: &str, scores: &[Scores]) -> Option<f64> {
    metrics.iter().find(|metric| metric.name == name).unwrap().value(scores)
}

#[track_caller]
fn close(found: f64, wanted: f64, what: &str) {
    assert!((found - wanted).abs() <= TOLERANCE, "{what}: {found}, the reference says {wanted}");
}

fn gold() -> String {
    "gold".to_owned()
}

#[test]
fn overlap_agrees_with_rouge_score_and_sacrebleu() {
    let golden = golden();
    let list = |texts: &[String]| serde_json::to_string(texts).unwrap();
    let pairs: Vec<_> =
        golden.overlap.iter().map(|case| (list(&case.references), case.output.clone())).collect();
    let (metrics, scores) = score(&Engine::Overlap { references: gold() }, &pairs);
    for (case, scores) in golden.overlap.iter().zip(&scores) {
        for (name, wanted) in [("rouge1", case.rouge1), ("rouge2", case.rouge2), ("rougeL", case.rouge_l)] {
            close(scores[name], wanted, &format!("{name} of {:?}", case.output));
        }
        let columns = metrics.iter().find(|metric| metric.name == "bleu").unwrap().columns();
        assert_eq!(
            columns.iter().map(|column| scores[column]).collect::<Vec<_>>(),
            case.bleu,
            "{:?}",
            case.output
        );
    }
    for corpus in golden.bleu {
        let scores: Vec<_> = corpus.items.iter().map(|index| scores[*index].clone()).collect();
        close(value(&metrics, "bleu", &scores).unwrap(), corpus.bleu, &corpus.name);
    }
}

#[test]
fn spans_agree_with_the_script_of_squad() {
    let golden = golden();
    let list = |texts: &[String]| serde_json::to_string(texts).unwrap();
    let pairs: Vec<_> = golden.span.iter().map(|case| (list(&case.answers), case.output.clone())).collect();
    let (_, scores) = score(&Engine::Span { answers: gold() }, &pairs);
    for (case, scores) in golden.span.iter().zip(scores) {
        let what = format!("{:?} for {:?}", case.output, case.answers);
        assert_eq!(scores["exact_match"], case.exact_match, "{what}");
        close(scores["f1"], case.f1, &what);
    }
}

#[test]
fn answers_are_equivalent_where_hendrycks_says_so() {
    let Golden { answers, equivalent, boxed, .. } = golden();
    for (one, row) in answers.iter().zip(equivalent) {
        let pairs: Vec<_> =
            answers.iter().map(|other| (one.clone(), format!("So it is $\\boxed{{{other}}}$."))).collect();
        let (_, scores) = score(&Engine::Math { answer: gold() }, &pairs);
        for ((other, scores), wanted) in answers.iter().zip(scores).zip(row.chars()) {
            assert_eq!(scores["accuracy"] == 1.0, wanted == '1', "{other:?} for {one:?}");
        }
    }
    for Boxed { text, inner } in boxed {
        let (_, scores) =
            score(&Engine::Math { answer: gold() }, &[(inner.clone().unwrap_or_default(), text.clone())]);
        assert_eq!(scores[0]["accuracy"] == 1.0, inner.is_some(), "{text}");
    }
}

#[test]
fn rules_extract_what_llm_adapters_does() {
    for case in golden().extract {
        let whole =
            ExtractRule { pattern: ".+".to_owned(), occurrence: Occurrence::First, remove: String::new() };
        let engine = Engine::Extract {
            answer: gold(),
            answer_rules: vec![whole],
            rules: vec![case.rule],
            equality: case.equality,
        };
        let pairs: Vec<_> = case.outputs.iter().map(|output| (case.gold.clone(), output.clone())).collect();
        let (_, scores) = score(&engine, &pairs);
        for ((output, scores), right) in case.outputs.iter().zip(scores).zip(case.right) {
            assert_eq!(scores["accuracy"], right, "{}: {output:?}", case.name);
        }
    }
}

#[test]
fn labels_agree_with_scikit_learn() {
    for case in golden().labels {
        let classes = (0..case.classes).map(|class| format!("class {class}")).collect();
        let pairs: Vec<_> = case
            .gold
            .iter()
            .zip(&case.predicted)
            .map(|(gold, predicted)| (format!("class {gold}"), format!("class {predicted}")))
            .collect();
        let (metrics, scores) = score(&Engine::Label { answer: gold(), classes }, &pairs);
        let what = format!("{:?} for {:?}", case.predicted, case.gold);
        close(value(&metrics, "accuracy", &scores).unwrap(), case.accuracy, &what);
        close(value(&metrics, "matthews", &scores).unwrap(), case.matthews, &what);
        if let Some(f1) = case.f1 {
            close(value(&metrics, "f1", &scores).unwrap(), f1, &what);
        }
    }
}

#[test]
fn values_agree_with_scipy() {
    for case in golden().values {
        let pairs: Vec<_> =
            case.gold.iter().zip(&case.predicted).map(|(a, b)| (a.to_string(), b.to_string())).collect();
        let (metrics, scores) = score(&Engine::Value { answer: gold() }, &pairs);
        for (name, wanted) in [("pearson", case.pearson), ("spearman", case.spearman)] {
            let found = value(&metrics, name, &scores).unwrap();
            let what = format!("{name} of {:?} for {:?}", case.predicted, case.gold);
            // SciPy gives none where one side never varies.
            close(found, wanted.unwrap_or(0.0), &what);
        }
    }
}

#[test]
fn perplexity_agrees_with_the_cross_entropy_of_scikit_learn() {
    let golden = golden().perplexity;
    let pairs: Vec<_> = golden.outputs.into_iter().map(|output| (String::new(), output)).collect();
    let (metrics, scores) = score(&Engine::Perplexity {}, &pairs);
    for (name, wanted) in [
        ("perplexity", golden.perplexity),
        ("nats_per_token", golden.nats_per_token),
        ("bits_per_character", golden.bits_per_character),
    ] {
        close(value(&metrics, name, &scores).unwrap(), wanted, name);
    }
    assert_eq!(value(&metrics, "perplexity", &scores[3..]), None, "a text without tokens alone has none");
}

#[test]
fn no_item_has_no_value() {
    for engine in [
        Engine::Overlap { references: gold() },
        Engine::Label { answer: gold(), classes: vec!["0".to_owned(), "1".to_owned()] },
        Engine::Value { answer: gold() },
        Engine::Perplexity {},
    ] {
        for metric in metrics(&engine) {
            assert_eq!(metric.value(&[]), None, "{}", metric.name);
        }
    }
}

#[test]
fn only_what_the_metrics_read_is_kept() {
    let scoring = Scoring {
        metrics: vec![MetricRef { name: "matthews".to_owned(), version: 1 }],
        engine: Engine::Label { answer: gold(), classes: vec!["0".to_owned(), "1".to_owned()] },
    };
    let item = Item {
        id: "0".to_owned(),
        cluster: None,
        key: String::new(),
        prompt: String::new(),
        second: None,
        response: String::new(),
        fields: BTreeMap::from([(gold(), "1".to_owned())]),
    };
    let scores = Scorer::new(&scoring).score(&[item], &[vec!["0".to_owned()]]).unwrap();
    assert_eq!(scores, [Scores::from([("gold", 1.0), ("predicted", 0.0)])]);
}
