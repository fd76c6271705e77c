//! Rankings: which test is taken, who is told apart, and what is refused.

mod sample;

use compare::stats::Settings;
use compare::stats::effect::Test;
use compare::{
    Aggregate, Better, Error, Evidence, Outcome, Ranking, Replication, Run, entries, rank, rank_all,
};
use sample::{run, suite};

fn ranking<'a>(runs: &'a [Run], metric: Option<&str>) -> Ranking<'a> {
    rank(&entries(runs).unwrap(), metric, &Settings::default()).unwrap()
}

fn letters(ranking: &Ranking<'_>) -> Vec<(String, String, bool)> {
    ranking.rows.iter().map(|r| (r.entry.record().method.clone(), r.letters.clone(), r.best)).collect()
}

fn tests_taken(ranking: &Ranking<'_>) -> Vec<Test> {
    let mut tests: Vec<_> = ranking.comparisons.iter().map(|c| c.effect.test).collect();
    tests.sort();
    tests.dedup();
    tests
}

#[test]
fn close_methods_share_a_letter() {
    let runs = suite(1);
    let entries = entries(&runs).unwrap();
    let all = rank_all(&entries, &Settings::default()).unwrap();
    assert_eq!(all.iter().map(|r| r.task.as_str()).collect::<Vec<_>>(), ["nlu", "math"]);
    let row = |method: &str, letters: &str, best| (method.to_owned(), letters.to_owned(), best);
    assert_eq!(
        letters(&all[0]),
        [
            row("lora", "a", true),
            row("lori-d", "a", true),
            row("lori-s", "b", false),
            row("base", "c", false)
        ]
    );
    assert_eq!(tests_taken(&all[0]), [Test::McNemarMidP]);
    assert_eq!(all[0].comparisons.len(), 6);
    assert_eq!(all[0].rows[0].entry.replication(), Replication::OneSeed);
    assert_eq!(all[0].rows[3].entry.replication(), Replication::Untrained);
    assert!(
        all[0].comparisons.iter().all(|c| c.adjusted_p >= c.effect.p_value && c.effect.difference >= 0.0)
    );
}

#[test]
fn seeds_are_compared_over_items_and_seeds() {
    let runs: Vec<Run> = suite(3).into_iter().filter(|r| r.record.task == "nlu").collect();
    let ranking = ranking(&runs, None);
    assert_eq!(tests_taken(&ranking), [Test::CrossedT]);
    assert!(ranking.comparisons.iter().all(|comparison| comparison.seeds == 3));
    assert_eq!(ranking.rows[0].entry.replication(), Replication::Seeds(3));
    assert_eq!(ranking.rows.last().unwrap().letters, "c");
}

#[test]
fn seeds_in_common_are_compared() {
    let mut runs: Vec<Run> = (0..3).map(|seed| run("lora", "nlu", seed, 0.6)).collect();
    runs.push(run("dora", "nlu", 2, 0.3));
    let ranking = ranking(&runs, None);
    assert_eq!(tests_taken(&ranking), [Test::McNemarMidP]);
    assert_eq!(ranking.comparisons[0].seeds, 1);
    let effect = ranking.comparisons[0].effect;
    let value = |i: usize| runs[i].record.metrics[0].value;
    assert!((effect.difference - (value(2) - value(3))).abs() < 1e-12);

    runs[3].record.seed = 7;
    let error = rank(&entries(&runs).unwrap(), None, &Settings::default()).unwrap_err();
    assert!(error.to_string().ends_with("they share no seed"));
}

#[test]
fn real_scores_and_pairs_of_items_are_permuted() {
    let runs = [run("lora", "nlu", 0, 0.6), run("dora", "nlu", 0, 0.3)];
    assert_eq!(tests_taken(&ranking(&runs, Some("length"))), [Test::Permutation]);

    let pair = |mut run: Run| {
        let Evidence::Items(items) = &mut run.evidence else { unreachable!() };
        for (position, item) in items.iter_mut().enumerate() {
            item.cluster = Some(format!("pair {}", position / 2));
        }
        run
    };
    let runs = runs.map(pair);
    let ranking = ranking(&runs, None);
    assert_eq!(tests_taken(&ranking), [Test::Permutation]);
    assert!(ranking.comparisons[0].differ);
}

#[test]
fn items_that_do_not_count_are_left_out() {
    // A metric that counts for one item of each pair only is as good as one on single items.
    let half = |mut run: Run| {
        let Evidence::Items(items) = run.evidence else { unreachable!() };
        let items: Vec<Outcome> = items
            .into_iter()
            .enumerate()
            .map(|(position, mut item)| {
                item.cluster = Some(format!("pair {}", position / 2));
                if position % 2 == 1 {
                    item.scores.clear();
                }
                item
            })
            .collect();
        run.record.metrics.clear();
        sample::with_outcomes(run.record, items)
    };
    let runs = [run("lora", "nlu", 0, 0.6), run("dora", "nlu", 0, 0.3)].map(half);
    let ranking = ranking(&runs, None);
    assert_eq!(tests_taken(&ranking), [Test::McNemarMidP]);
    assert_eq!(ranking.rows[0].pooled.metric.items, Some(200));
}

#[test]
fn without_items_proportions_are_compared() {
    let mut counts = run("dora", "nlu", 0, 0.3);
    counts.evidence = Evidence::Counts;
    let runs = [run("lora", "nlu", 0, 0.6), counts];
    assert_eq!(tests_taken(&ranking(&runs, None)), [Test::TwoProportions]);
    assert_eq!(letters(&ranking(&runs, None)).last().unwrap().1, "b");
}

#[test]
fn a_value_alone_is_not_tested() {
    let corpus = |method: &str, value: f64| {
        let mut run = run(method, "nlu", 0, 0.6);
        run.record.metrics.truncate(1);
        run.record.metrics[0].aggregate = Aggregate::Corpus;
        run.record.metrics[0].better = Better::Lower;
        run.record.metrics[0].value = value;
        run
    };
    let runs = [corpus("lora", 0.3), corpus("dora", 0.2)];
    let ranking = ranking(&runs, None);
    assert!(ranking.comparisons.is_empty());
    assert_eq!(
        letters(&ranking),
        [("dora".into(), String::new(), false), ("lora".into(), String::new(), false)]
    );
    assert!(ranking.rows.iter().all(|row| row.pooled.interval.is_none()));
}

#[test]
fn mixtures_are_refused() {
    let settings = Settings::default();
    let message = |runs: &[Run], metric| rank(&entries(runs).unwrap(), metric, &settings).unwrap_err();
    let mut other = run("dora", "nlu", 0, 0.5);
    other.record.metrics[0].version = "2".into();
    let mixed = message(&[run("lora", "nlu", 0, 0.6), other], None);
    assert!(mixed.to_string().ends_with("disagree on `accuracy` of `nlu`: versions `1` and `2`"));
    assert!(mixed.hint().unwrap().contains("rescore"));
    let tasks = message(&[run("lora", "nlu", 0, 0.6), run("lora", "math", 0, 0.6)], None);
    assert_eq!(tasks.to_string(), "a ranking needs runs of one task, got `nlu` and `math`");
    let unknown = message(&[run("lora", "nlu", 0, 0.6)], Some("acuracy"));
    assert_eq!(unknown.to_string(), "no run of task `nlu` has metric `acuracy`");
    assert_eq!(unknown.hint().unwrap(), "did you mean `accuracy`? known: accuracy, length");
    assert!(matches!(rank(&[], None, &settings), Err(Error::NoRuns)));
}
