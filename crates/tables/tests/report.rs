//! Ours beside the paper's. Look at a changed snapshot before accepting it.

mod sample;

use compare::table::{TerminalStyle, csv, latex, markdown, terminal};
use sample::{given, pack, record, reported, scored};
use tables::{
    Finding, Grade, OrderVerdict, Origin, Pack, PaperTells, Reason, Report, Scale, Verdict, provided,
};

const SCORES: [(&str, &str, usize); 7] = [
    ("full", "svamp", 702),
    ("full", "mawps", 690),
    ("lora", "svamp", 601),
    ("lora", "mawps", 600),
    ("lori", "svamp", 590),
    ("lori", "mawps", 640),
    ("again", "svamp", 601),
];

fn verdict<'a>(report: &'a Report<'_>, row: &str, column: &str) -> &'a Verdict {
    &report.cells.iter().find(|cell| cell.row == row && cell.column == column).unwrap().verdict
}

#[test]
fn the_papers_size() {
    let pack = pack();
    let given = given(&pack, Scale::Paper, &SCORES, 1);
    let report = reported(&pack, Scale::Paper, &given);
    let found = |row, column| verdict(&report, row, column).clone();
    assert_eq!(found("full", "svamp"), Verdict::Found(Finding::Agrees, Grade::Figure));
    assert_eq!(found("lori", "svamp"), Verdict::Found(Finding::Differs, Grade::Verified));
    assert_eq!(found("lora", "avg"), Verdict::Found(Finding::Agrees, Grade::Verified));
    assert_eq!(found("full", "mawps"), Verdict::NoNumber);
    assert_eq!(found("lora", "judge"), Verdict::NotRun);
    let within = Reason::Unverified(Some(Finding::WithinNoise));
    let agrees = Reason::Unverified(Some(Finding::Agrees));
    assert!([within, agrees].map(Verdict::NotComparable).contains(&found("lori", "mawps")));
    insta::assert_snapshot!("terminal", terminal(&report.table(), TerminalStyle::PLAIN));
    insta::assert_snapshot!("markdown", markdown(&report.table()));
    insta::assert_snapshot!("latex", latex(&report.table()));
    insta::assert_snapshot!("csv", csv(&report.table()).unwrap());
    insta::assert_snapshot!("orders", terminal(&report.order_table(), TerminalStyle::PLAIN));
}

#[test]
fn nothing_measured() {
    let pack = pack();
    let report = reported(&pack, Scale::Paper, &[]);
    assert!(report.cells.iter().all(|cell| cell.verdict == Verdict::NotRun));
    assert!(report.orders.iter().all(|order| order.verdict == OrderVerdict::NotRun));
    insta::assert_snapshot!("unsaid", terminal(&pack.unsaid_table(), TerminalStyle::PLAIN));
}

/// On the suite no number is comparable and every order is looked at.
#[test]
fn the_built_in_suite() {
    let pack = pack();
    let scores: Vec<_> = SCORES.into_iter().filter(|(row, ..)| *row != "again").collect();
    let given = given(&pack, Scale::Mini, &scores, 3);
    let report = reported(&pack, Scale::Mini, &given);
    let ours = report.cells.iter().filter(|cell| cell.ours.is_some());
    assert!(ours.clone().count() == 6 + 3);
    assert!(ours.into_iter().all(|cell| cell.verdict == Verdict::NotComparable(Reason::Mini)));
    let order = |first: &str, second: &str, column: &str| {
        let is = |o: &&tables::Order| o.first == first && o.second == second && o.column == column;
        report.orders.iter().find(is).unwrap_or_else(|| panic!("{first} before {second}")).clone()
    };
    let full = order("full", "lora", "svamp");
    assert_eq!((full.verdict, full.grade), (OrderVerdict::Holds, Grade::Figure));
    assert_eq!(full.paper, PaperTells::Apart);
    let lori = order("lori", "lora", "svamp");
    assert_eq!((lori.verdict, lori.grade), (OrderVerdict::CannotTell, Grade::Verified));
    let remembered = order("lori", "lora", "mawps");
    assert_eq!(remembered.verdict.label(remembered.grade), "as remembered");
    let claim = order("lori", "full", "mawps");
    assert_eq!(claim.verdict.label(claim.grade), "not as remembered");
    assert_eq!((claim.difference, claim.paper), (None, PaperTells::Unknown));
    // A reproduction is no claim of the paper.
    assert!(report.orders.iter().all(|order| order.first != "again" && order.second != "again"));
    insta::assert_snapshot!("mini_orders", terminal(&report.order_table(), TerminalStyle::PLAIN));
    insta::assert_snapshot!("mini", terminal(&report.table(), TerminalStyle::PLAIN));
}

/// What was run otherwise than the table asks is not comparable, and it says why.
#[test]
fn departures_are_seen() {
    let pack = pack();
    let mut given = given(&pack, Scale::Paper, &[("lora", "svamp", 601)], 1);
    let mut run = record(&given[0].run, 0);
    run.model.name = "/models/m-7b/".to_owned();
    given[0].runs = vec![scored(run.clone(), 601)];
    let same = reported(&pack, Scale::Paper, &given);
    assert_eq!(*verdict(&same, "lora", "svamp"), Verdict::Found(Finding::Agrees, Grade::Verified));

    run.model.name = "builtin:mini".to_owned();
    run.config["task"]["training"]["batch_size"] = 4.into();
    run.config["task"]["training"]["max_length"] = 256.0.into();
    run.config["method"]["settings"]["rank"] = 16.into();
    given[0].runs = vec![scored(run.clone(), 601)];
    let other = reported(&pack, Scale::Paper, &given);
    let expected = [
        "model `builtin:mini`, not `hf:someone/M-7B`",
        "`training.batch_size` is 4, not 16",
        "`rank` is 16, not 8",
    ];
    let expected = expected.map(str::to_owned).to_vec();
    assert_eq!(*verdict(&other, "lora", "svamp"), Verdict::NotComparable(Reason::Departs(expected)));
    let text = terminal(&other.table(), TerminalStyle::PLAIN);
    assert!(text.contains("not comparable (1, 2, 3)") && text.contains("(3) `rank` is 16, not 8."), "{text}");

    run.config = serde_json::Value::Null;
    given[0].runs = vec![scored(run, 601)];
    let unknown = reported(&pack, Scale::Paper, &given);
    let Verdict::NotComparable(Reason::Departs(reasons)) = verdict(&unknown, "lora", "svamp") else {
        panic!()
    };
    assert!(reasons.iter().any(|reason| reason == "its settings are not recorded"), "{reasons:?}");
}

#[test]
fn every_provided_pack_is_printed() {
    for name in tables::provided_names() {
        let pack = provided(&name).unwrap();
        for scale in [Scale::Paper, Scale::Mini] {
            let report = reported(&pack, scale, &[]);
            let numbers: usize = pack.rows.values().map(|row| row.cells.len()).sum();
            let takes_part = report.cells.iter().filter(|cell| cell.paper.is_some()).count();
            assert!(takes_part == numbers || scale == Scale::Mini && takes_part < numbers, "{name}");
            terminal(&report.table(), TerminalStyle::PLAIN);
            terminal(&report.order_table(), TerminalStyle::PLAIN);
            let no_order = scale == Scale::Mini && (pack.mini.stand_in.is_some() || name == "lori-3")
                || scale == Scale::Paper && !has_order(&pack);
            assert_eq!(report.orders.is_empty(), no_order, "{name} {scale:?}");
        }
    }
}

/// Whether a column that a task measures has two numbers, or a claim.
fn has_order(pack: &Pack) -> bool {
    pack.columns.iter().filter(|(_, column)| column.task.is_some()).any(|(name, _)| {
        let numbers = pack.rows.values().filter(|row| row.origin != Origin::Reproduction);
        numbers.filter(|row| row.cells.contains_key(name)).count() > 1
            || pack.claims.iter().any(|claim| claim.columns.contains(name))
    })
}
