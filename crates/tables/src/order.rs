//! Which row is better than which: what the paper's table says, and whether ours says it too.

use compare::stats::Settings;
use serde::Deserialize;

use crate::cell::{Grade, Origin};
use crate::pack::{Better, Pack};
use crate::plan::Scale;
use crate::score::{Pair, Scores};
use crate::verdict::PaperScore;

/// An order that the paper states without numbers.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// The row that is better.
    pub first: String,
    /// The row that is worse.
    pub second: String,
    /// In these columns.
    pub columns: Vec<String>,
    /// How well it is known.
    pub grade: Grade,
    /// Where it was found.
    pub found: String,
}

/// One order of two rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// Key of the column.
    pub column: String,
    /// Key of the row that the paper has ahead.
    pub first: String,
    /// Key of the other.
    pub second: String,
    /// How well both numbers, or the claim, are known.
    pub grade: Grade,
    /// The paper's difference in the column's unit, where there are numbers.
    pub difference: Option<f64>,
    /// Whether the paper's own sample tells the two apart.
    pub paper: PaperTells,
    /// What our runs say of it.
    pub verdict: OrderVerdict,
    /// Ours: first − second.
    pub ours: Option<OurDifference>,
}

/// The difference of two rows as we measured it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OurDifference {
    /// Score of the first less that of the second.
    pub value: f64,
    /// What it is.
    pub scale: compare::Scale,
    /// Seeds behind it.
    pub seeds: usize,
    /// p after Holm's correction over all pairs of the column.
    pub adjusted_p: f64,
}

/// Whether the paper's own sample size tells two rows apart, by Newcombe's interval of their difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaperTells {
    /// It does.
    Apart,
    /// It does not: the order may be the items' choice.
    NotApart,
    /// Its size is not known, or it states the order without numbers.
    Unknown,
}

/// What our runs say of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderVerdict {
    /// Told apart, in the same order.
    Holds,
    /// Told apart, in the opposite order.
    Reversed,
    /// Not told apart.
    CannotTell,
    /// One of the two is not run.
    NotRun,
}

impl OrderVerdict {
    /// The words for it: an order of unverified numbers neither holds nor fails.
    pub fn label(self, grade: Grade) -> &'static str {
        match (self, grade) {
            (Self::Holds, Grade::Unverified) => "as remembered",
            (Self::Reversed, Grade::Unverified) => "not as remembered",
            (Self::Holds, _) => "holds",
            (Self::Reversed, _) => "does not hold",
            (Self::CannotTell, _) => "cannot be told",
            (Self::NotRun, _) => "not run",
        }
    }
}

impl PaperTells {
    /// The words for it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Apart => "yes",
            Self::NotApart => "no",
            Self::Unknown => "",
        }
    }
}

/// All orders that the paper's table implies or states, at the rows and columns of a scale.
pub(crate) fn orders(pack: &Pack, scale: Scale, scores: &Scores, settings: &Settings) -> Vec<Order> {
    if scale == Scale::Mini && pack.mini.stand_in.is_some() {
        return Vec::new();
    }
    let takes_part = |row: &str| scale == Scale::Paper || pack.mini.rows.contains_key(row);
    let rows: Vec<&String> = pack.rows.keys().filter(|row| takes_part(row)).collect();
    let mut orders = Vec::new();
    for column in pack.columns.keys().filter(|column| is_tested(pack, scale, column)) {
        for (position, first) in rows.iter().enumerate() {
            let others = rows[position + 1..].iter();
            orders.extend(others.filter_map(|second| implied(pack, column, (first, second), settings)));
        }
        for claim in pack.claims.iter().filter(|claim| claim.columns.contains(column)) {
            if takes_part(&claim.first) && takes_part(&claim.second) {
                orders.push(stated(claim, column));
            }
        }
    }
    for order in &mut orders {
        judge(order, &scores.pairs);
    }
    orders
}

/// Averages have no items, so their rows are compared only where a task stands for them.
fn is_tested(pack: &Pack, scale: Scale, column: &str) -> bool {
    match scale {
        Scale::Paper => pack.columns[column].task.is_some(),
        Scale::Mini => pack.mini.columns.contains_key(column),
    }
}

/// The order of two rows' numbers, better first; none where a number is missing, or the two are equal, of two models or no
/// claim of the paper.
fn implied(pack: &Pack, column: &str, (a, b): (&String, &String), settings: &Settings) -> Option<Order> {
    let (row_a, row_b) = (&pack.rows[a], &pack.rows[b]);
    if row_a.model != row_b.model || [row_a, row_b].iter().any(|row| row.origin == Origin::Reproduction) {
        return None;
    }
    let (cell_a, cell_b) = (row_a.cells.get(column)?, row_b.cells.get(column)?);
    let ahead = match pack.columns[column].better {
        Better::Higher => cell_a.value - cell_b.value,
        Better::Lower => cell_b.value - cell_a.value,
    };
    let (first, second, sides) = match ahead {
        0.0 => return None,
        ahead if ahead > 0.0 => (a, b, [(row_a, cell_a), (row_b, cell_b)]),
        _ => (b, a, [(row_b, cell_b), (row_a, cell_a)]),
    };
    let scores = sides.map(|(row, cell)| pack.paper_score(column, row, cell));
    Some(Order {
        column: column.to_owned(),
        first: first.clone(),
        second: second.clone(),
        grade: scores[0].grade.max(scores[1].grade),
        difference: Some(sides[0].1.value - sides[1].1.value),
        paper: tells(&scores, settings.confidence),
        verdict: OrderVerdict::NotRun,
        ours: None,
    })
}

fn stated(claim: &Claim, column: &str) -> Order {
    Order {
        column: column.to_owned(),
        first: claim.first.clone(),
        second: claim.second.clone(),
        grade: claim.grade,
        difference: None,
        paper: PaperTells::Unknown,
        verdict: OrderVerdict::NotRun,
        ours: None,
    }
}

/// The squares of the distances to the ends add, as in [`crate::judge`].
fn tells([a, b]: &[PaperScore; 2], confidence: f64) -> PaperTells {
    let reach = |score: &PaperScore| score.reach(compare::Scale::Fraction, confidence);
    let (Some((a_below, a_above)), Some((b_below, b_above))) = (reach(a), reach(b)) else {
        return PaperTells::Unknown;
    };
    let difference = a.value - b.value;
    let (from, to) = (difference - a_below.hypot(b_above), difference + a_above.hypot(b_below));
    if from <= 0.0 && 0.0 <= to { PaperTells::NotApart } else { PaperTells::Apart }
}

fn judge(order: &mut Order, pairs: &[Pair]) {
    let is = |pair: &&Pair, better: &str, worse: &str| {
        pair.column == order.column && pair.better == better && pair.worse == worse
    };
    let same = pairs.iter().find(|pair| is(pair, &order.first, &order.second)).map(|pair| (pair, 1.0));
    let other = pairs.iter().find(|pair| is(pair, &order.second, &order.first)).map(|pair| (pair, -1.0));
    let Some((pair, sign)) = same.or(other) else { return };
    order.ours = Some(OurDifference {
        value: sign * pair.difference,
        scale: pair.scale,
        seeds: pair.seeds,
        adjusted_p: pair.adjusted_p,
    });
    order.verdict = match (pair.differ, sign > 0.0) {
        (false, _) => OrderVerdict::CannotTell,
        (true, true) => OrderVerdict::Holds,
        (true, false) => OrderVerdict::Reversed,
    };
}
