//! Progress: a bar on a terminal, a line now and then elsewhere, nothing with `--quiet`.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Between lines where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Display {
    /// Bars on standard error.
    Bars,
    /// Plain lines on standard error.
    Lines,
    /// Nothing.
    Quiet,
}

impl Display {
    /// Bars on a terminal, lines elsewhere.
    pub fn choose(quiet: bool) -> Self {
        match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Self::Quiet,
            (false, true) => Self::Bars,
            (false, false) => Self::Lines,
        }
    }

    /// A message of its own.
    #[allow(clippy::print_stderr)]
    pub fn say(self, text: &str) {
        if self != Self::Quiet {
            eprintln!("{text}");
        }
    }

    /// A message that must be seen, however quiet it is to be.
    #[allow(clippy::print_stderr)]
    pub fn warn(self, text: &str) {
        eprintln!("warning: {text}");
    }

    /// Progress of `steps` of something called `label`.
    pub fn start(self, label: &str, steps: u64) -> Progress {
        let target = if self == Self::Bars {
            ProgressDrawTarget::stderr_with_hz(8)
        } else {
            ProgressDrawTarget::hidden()
        };
        let style =
            ProgressStyle::with_template("{prefix:<34!} {bar:24} {pos:>5}/{len:<5} {msg} · {eta} left")
                .expect("a valid template");
        let bar = ProgressBar::with_draw_target(Some(steps), target).with_style(style);
        bar.set_prefix(label.to_owned());
        let now = Instant::now();
        Progress { display: self, bar, last_line: now, tokens: 0, started: now, skipped: 0 }
    }
}

/// One thing in progress.
#[derive(Debug)]
pub struct Progress {
    display: Display,
    bar: ProgressBar,
    last_line: Instant,
    tokens: u64,
    started: Instant,
    /// Steps done before it started.
    skipped: u64,
}

impl Progress {
    /// Starts after `steps` that were done before.
    pub fn skip(&mut self, steps: u64) {
        self.skipped = steps;
        self.bar.set_position(steps);
        self.bar.reset_eta();
    }

    /// One step further; `tokens` were processed in it, `value` says how it goes (`loss 0.123`).
    pub fn step(&mut self, tokens: u64, value: &str) {
        self.bar.inc(1);
        self.tokens += tokens;
        let rate = self.tokens as f64 / self.started.elapsed().as_secs_f64().max(1e-9);
        let rate = if self.tokens > 0 { format!("{rate:.0} tokens/s") } else { String::new() };
        let parts: Vec<&str> = [value, &rate].into_iter().filter(|part| !part.is_empty()).collect();
        let message = parts.join(" · ");
        if self.display == Display::Lines && self.last_line.elapsed() >= LINE_INTERVAL {
            self.last_line = Instant::now();
            let (done, all) = (self.bar.position(), self.bar.length().unwrap_or_default());
            let own = done.saturating_sub(self.skipped).max(1);
            let left = self.started.elapsed().mul_f64((all.saturating_sub(done)) as f64 / own as f64);
            let left = HumanDuration(Duration::from_secs(left.as_secs()));
            self.display.say(&format!("{} {done}/{all} {message} · {left} left", self.bar.prefix()));
        }
        self.bar.set_message(message);
    }

    /// Done: the bar makes way for one line that stays.
    pub fn finish(self, summary: &str) {
        let label = self.bar.prefix();
        self.bar.finish_and_clear();
        let took = HumanDuration(self.started.elapsed());
        self.display.say(&format!("{label:<34} {summary} · {took}"));
    }
}
