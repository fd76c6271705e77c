//! Whether a score of ours is what the paper reports.

use compare::stats::wilson;

use crate::cell::Grade;
use crate::score::Score;

/// An interval of ours that is wider than this many hundredths is too wide to agree with a number: nearly any would lie in
/// it. The 1,319 items of GSM8K give .054, the 164 of HumanEval .146. For scores that are no fractions it is this share of
/// the paper's number.
pub const AGREEMENT_WIDTH: f64 = 0.06;

/// A number of a paper, as one of our scores would say it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PaperScore {
    /// The number.
    pub value: f64,
    /// How well it is known.
    pub grade: Grade,
    /// Right/wrong items behind it, where known.
    pub items: Option<f64>,
    /// Its standard error, where it is printed.
    pub stderr: Option<f64>,
}

/// What the numbers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The paper's number lies in our interval, and that is narrow.
    Agrees,
    /// The difference is no more than the choice of items explains.
    WithinNoise,
    /// It is more.
    Differs,
}

/// What is said of one cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The two can be compared.
    Found(Finding, Grade),
    /// They cannot.
    NotComparable(Reason),
    /// There is nothing of ours yet.
    NotRun,
    /// We have a score and the paper's number is not known to us.
    NoNumber,
}

/// Why two numbers cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The paper's number is unverified; what would be found otherwise.
    Unverified(Option<Finding>),
    /// Ours is of the built-in suite.
    Mini,
    /// Ours was made otherwise.
    Departs(Vec<String>),
    /// There is no interval of ours.
    NoInterval,
}

/// Holds a score against a paper's number; `None` when the score has no interval.
///
/// 1. The paper's number lies in our interval, which is no wider than [`AGREEMENT_WIDTH`]: it agrees.
/// 2. The interval of the difference `ours − paper` holds 0: off within noise. The squares of the distances to the ends add
///    (Newcombe, Stat. Med. 1998, method 10; Zou and Donner, Stat. Med. 2008, for any two intervals):
///    `[d − √((o−l)² + (U−p)²), d + √((u−o)² + (p−L)²)]` with ours `o ∈ [l, u]` and the paper's `p ∈ [L, U]`.
///    With two proportions of one seed this is [`compare::stats::proportions::newcombe`].
/// 3. Otherwise it differs.
///
/// `[L, U]` is Wilson's interval of the paper's items, or of as many as its standard error says; where neither is known it
/// is as wide as ours, since the paper was scored on the same test set.
pub fn judge(paper: &PaperScore, ours: &Score, confidence: f64) -> Option<Finding> {
    let (low, high) = ours.interval?;
    let allowed = match ours.scale {
        compare::Scale::Fraction => AGREEMENT_WIDTH,
        compare::Scale::Plain => AGREEMENT_WIDTH * paper.value.abs(),
    };
    if (low..=high).contains(&paper.value) && high - low <= allowed {
        return Some(Finding::Agrees);
    }
    let (below, above) = (ours.value - low, high - ours.value);
    let (paper_below, paper_above) = paper.reach(ours.scale, confidence).unwrap_or((below, above));
    let difference = ours.value - paper.value;
    let from = difference - below.hypot(paper_above);
    let to = difference + above.hypot(paper_below);
    Some(if from <= 0.0 && 0.0 <= to { Finding::WithinNoise } else { Finding::Differs })
}

impl PaperScore {
    /// Distances to the ends of its interval, where its size is known.
    pub(crate) fn reach(&self, scale: compare::Scale, confidence: f64) -> Option<(f64, f64)> {
        let p = self.value;
        if scale != compare::Scale::Fraction || !(0.0..=1.0).contains(&p) {
            return None;
        }
        let by_error =
            |error: f64| (error > 0.0 && p > 0.0 && p < 1.0).then(|| p * (1.0 - p) / error.powi(2));
        let n = self.stderr.and_then(by_error).or(self.items)?;
        let interval = wilson(p * n, n, confidence);
        Some((p - interval.low, interval.high - p))
    }
}

impl Finding {
    fn label(self, grade: Grade) -> &'static str {
        match (self, grade) {
            (Self::Agrees, Grade::Verified) => "agrees",
            (Self::WithinNoise, Grade::Verified) => "off within noise",
            (Self::Differs, Grade::Verified) => "differs",
            (Self::Agrees, Grade::Figure) => "agrees with the figure",
            (Self::WithinNoise, Grade::Figure) => "off the figure within noise",
            (Self::Differs, Grade::Figure) => "differs from the figure",
            (Self::Agrees | Self::WithinNoise, Grade::Unverified) => "unverified; ours is near it",
            (Self::Differs, Grade::Unverified) => "unverified; ours is not near it",
        }
    }
}

impl Verdict {
    /// The verdict on two numbers that were made alike.
    pub fn of(paper: &PaperScore, ours: &Score, confidence: f64) -> Self {
        match (judge(paper, ours, confidence), paper.grade) {
            (finding, Grade::Unverified) => Self::NotComparable(Reason::Unverified(finding)),
            (Some(finding), grade) => Self::Found(finding, grade),
            (None, _) => Self::NotComparable(Reason::NoInterval),
        }
    }

    /// The words for it.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Found(finding, grade) => finding.label(*grade),
            Self::NotComparable(Reason::Unverified(Some(finding))) => finding.label(Grade::Unverified),
            Self::NotComparable(Reason::Unverified(None)) => "unverified",
            Self::NotComparable(_) => "not comparable",
            Self::NotRun => "not run",
            Self::NoNumber => "no number",
        }
    }
}
