//! Tables as they are printed. Look at a changed snapshot before accepting it.

mod sample;

use compare::stats::Settings;
use compare::table::{
    Cell, Column, Emphasis, Row, Section, Table, TerminalStyle, csv, latex, markdown, results, terminal,
    tests,
};
use compare::{Run, entries, rank_all};
use sample::{run, suite};

fn tables(runs: &[Run]) -> (Table, Table) {
    let rankings = rank_all(&entries(runs).unwrap(), &Settings::default()).unwrap();
    (results(&rankings), tests(&rankings[..1]))
}

#[test]
fn one_seed() {
    let (results, tests) = tables(&suite(1));
    insta::assert_snapshot!("terminal", terminal(&results, TerminalStyle::PLAIN));
    insta::assert_snapshot!("markdown", markdown(&results));
    insta::assert_snapshot!("latex", latex(&results));
    insta::assert_snapshot!("csv", csv(&results).unwrap());
    insta::assert_snapshot!("tests_terminal", terminal(&tests, TerminalStyle::PLAIN));
    insta::assert_snapshot!("tests_latex", latex(&tests));
}

#[test]
fn three_seeds() {
    insta::assert_snapshot!(terminal(&tables(&suite(3)).0, TerminalStyle::PLAIN));
}

#[test]
fn a_narrow_terminal_is_kept_to() {
    let narrow = |width| {
        let text =
            terminal(&tables(&suite(1)).0, TerminalStyle { width: Some(width), color: false, unicode: true });
        let table = text.lines().take_while(|line| !line.starts_with("Intervals"));
        assert!(table.map(|line| line.chars().count()).max().unwrap() <= usize::from(width), "{text}");
        text
    };
    insta::assert_snapshot!("narrow", narrow(78));
    assert!(narrow(78).ends_with("No room for: file, %, memory.\n"));
    assert!(!narrow(120).contains("No room"));
    // Narrower than all that is needed: it wraps.
    narrow(40);
}

#[test]
fn color_only_where_wanted_and_ascii_where_needed() {
    let table = tables(&suite(1)).0;
    let colored = terminal(&table, TerminalStyle { width: None, color: true, unicode: true });
    assert!(colored.contains("\u{1b}["));
    let plain = terminal(&table, TerminalStyle { width: None, color: false, unicode: false });
    assert!(plain.is_ascii(), "{plain}");
    // Best group: two of nlu, two of math.
    assert_eq!(plain.matches('*').count(), 4);
}

#[test]
fn one_seed_is_said_everywhere() {
    let table = tables(&[run("lora", "nlu", 0, 0.5), run("dora", "nlu", 0, 0.5)]).0;
    for text in [terminal(&table, TerminalStyle::PLAIN), markdown(&table)] {
        assert!(text.contains('†') && text.contains("one seed"));
    }
    assert!(latex(&table).contains("\\textsuperscript{\\textdagger}"));
    assert!(csv(&table).unwrap().lines().skip(1).all(|line| line.ends_with(",true")));
}

#[test]
fn unknown_values_are_dashes_and_not_zero() {
    let mut run = run("lora", "nlu", 0, 0.5);
    run.record.memory = compare::Memory::default();
    run.record.total = compare::Total::default();
    let table = tables(&[run]).0;
    assert!(markdown(&table).contains("| – | – | 741.0\u{a0}kB | 400\u{a0}×\u{a0}1 |"));
    assert!(latex(&table).contains("-- & -- & 741.0\\,kB & 400 $\\times$ 1"));
    assert!(csv(&table).unwrap().contains(",,,741000,400,1,"));
}

#[test]
fn odd_names_do_not_break_out() {
    let name = "a|b_c&d%$#{e}~^\\<f>\"g\",\nh*`[i]";
    let table = Table {
        title: name.into(),
        labels: vec!["task"],
        columns: vec![Column::left("method", &["method"])],
        sections: vec![Section {
            labels: vec![name.into()],
            rows: vec![Row { cells: vec![Cell::Text(name.into())], emphasis: Emphasis::None }],
        }],
        notes: vec![],
    };
    insta::assert_snapshot!("odd_markdown", markdown(&table));
    insta::assert_snapshot!("odd_latex", latex(&table));
    let text = csv(&table).unwrap();
    let mut reader = ::csv::Reader::from_reader(text.as_bytes());
    let record = reader.records().next().unwrap().unwrap();
    assert_eq!((&record[0], &record[1]), (name, name));
}
