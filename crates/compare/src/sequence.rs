//! Tasks learned one after another: the accuracy matrix and what is read from it.

use serde::{Deserialize, Serialize};

use crate::metric::{Aggregate, MetricValue, Scale};
use crate::stats::{Interval, wilson};

/// Scores of a run that learned several tasks one after another, on all of them, after each.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sequence {
    /// The tasks in the order they were learned.
    pub tasks: Vec<String>,
    /// Score on each task before anything was learned; `None` where it was not measured.
    pub before: Vec<Option<MetricValue>>,
    /// `after[i][j]`: score on task `j` after task `i` was learned. Rows that a run did not reach are missing.
    pub after: Vec<Vec<Option<MetricValue>>>,
}

impl Sequence {
    /// Mean of the last row, `1/T · Σ_j R_Tj`; `None` while a score is missing.
    pub fn average(&self) -> Option<f64> {
        let last = self.finished()?;
        mean((0..self.tasks.len()).map(|j| value(last[j].as_ref())))
    }

    /// Backward transfer `1/(T−1) · Σ_{j<T} (R_Tj − R_jj)`: below 0 is forgetting (Lopez-Paz & Ranzato, NeurIPS 2017,
    /// §2). `None` for a single task and while a score is missing.
    pub fn backward_transfer(&self) -> Option<f64> {
        let last = self.finished()?;
        mean(
            (0..self.tasks.len() - 1)
                .map(|j| Some(value(last[j].as_ref())? - value(self.after[j][j].as_ref())?)),
        )
    }

    /// Forward transfer `1/(T−1) · Σ_{j>1} (R_{j−1,j} − b_j)`, `b` the scores before (same source). `None` for a single
    /// task and while a score is missing.
    pub fn forward_transfer(&self) -> Option<f64> {
        self.finished()?;
        mean(
            (1..self.tasks.len())
                .map(|j| Some(value(self.after[j - 1][j].as_ref())? - value(self.before.get(j)?.as_ref())?)),
        )
    }

    /// The last row, if every task was learned.
    fn finished(&self) -> Option<&[Option<MetricValue>]> {
        (!self.tasks.is_empty() && self.after.len() == self.tasks.len())
            .then(|| self.after[self.tasks.len() - 1].as_slice())
    }

    /// What is wrong with the shape, in words.
    pub(crate) fn check(&self) -> Result<(), String> {
        let tasks = self.tasks.len();
        if !self.before.is_empty() && self.before.len() != tasks {
            return Err(format!("a sequence of {tasks} tasks has {} scores before it", self.before.len()));
        }
        if self.after.len() > tasks || self.after.iter().any(|row| row.len() != tasks) {
            return Err(format!("the accuracy matrix of {tasks} tasks is not {tasks} wide, or too high"));
        }
        Ok(())
    }
}

impl MetricValue {
    /// Wilson's interval, where the value is a proportion of so many items; `None` otherwise.
    pub fn interval(&self, confidence: f64) -> Option<Interval> {
        let proportion = self.aggregate == Aggregate::Mean && self.scale == Scale::Fraction;
        let items = self.items.filter(|&items| items > 0 && proportion)? as f64;
        Some(wilson((self.value * items).clamp(0.0, items), items, confidence))
    }
}

fn value(metric: Option<&MetricValue>) -> Option<f64> {
    Some(metric?.value)
}

fn mean(values: impl ExactSizeIterator<Item = Option<f64>>) -> Option<f64> {
    let count = values.len() as f64;
    (count > 0.0).then_some(values.sum::<Option<f64>>()? / count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Better;

    fn score(value: f64) -> MetricValue {
        MetricValue {
            name: "accuracy".into(),
            version: "1".into(),
            value,
            items: Some(100),
            better: Better::Higher,
            scale: Scale::Fraction,
            aggregate: Aggregate::Mean,
        }
    }

    fn row(values: [f64; 3]) -> Vec<Option<MetricValue>> {
        values.map(|value| Some(score(value))).to_vec()
    }

    #[test]
    fn transfer_follows_the_definitions() {
        // By hand: (0.5 + 0.6 + 0.9) / 3; ((0.5 − 0.8) + (0.6 − 0.7)) / 2; ((0.3 − 0.2) + (0.4 − 0.1)) / 2.
        let sequence = Sequence {
            tasks: ["a", "b", "c"].map(String::from).to_vec(),
            before: row([0.0, 0.2, 0.1]),
            after: vec![row([0.8, 0.3, 0.0]), row([0.7, 0.7, 0.4]), row([0.5, 0.6, 0.9])],
        };
        let close = |a: Option<f64>, b: f64| assert!((a.unwrap() - b).abs() < 1e-12, "{a:?} is not {b}");
        close(sequence.average(), 2.0 / 3.0);
        close(sequence.backward_transfer(), -0.2);
        close(sequence.forward_transfer(), 0.2);
        let unfinished = Sequence { after: sequence.after[..2].to_vec(), ..sequence.clone() };
        assert_eq!((unfinished.average(), unfinished.backward_transfer()), (None, None));
        assert!(unfinished.check().is_ok());
        let misshapen = Sequence { after: vec![row([0.0; 3])[..2].to_vec()], ..sequence };
        assert!(misshapen.check().is_err());
    }

    #[test]
    fn one_task_transfers_nothing() {
        let one = Sequence {
            tasks: vec!["a".into()],
            before: vec![Some(score(0.1))],
            after: vec![vec![Some(score(0.5))]],
        };
        assert_eq!((one.average(), one.backward_transfer(), one.forward_transfer()), (Some(0.5), None, None));
        assert_eq!(Sequence::default().average(), None);
    }
}
