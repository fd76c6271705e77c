//! The small language of the code task: one variable, seven kinds of statement, a step-limited interpreter.
//!
//! ```text
//! program   = statement { ";" statement }
//! statement = "x = x + k" | "x = x - k" | "x = x * k" | "x = k"
//!           | "x = max ( x , k )" | "x = min ( x , k )"
//!           | "if x > k : statement" | "loop n : statement"
//! ```
//!
//! Tokens are separated by white space. Numbers are decimal integers, a minus sign belongs to its number.

use std::fmt;

/// Statements may be nested at most this deep: hostile text must not overflow the stack.
const MAX_DEPTH: usize = 32;

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// `x = k`
    Set(i64),
    /// `x = x + k`
    Add(i64),
    /// `x = x - k`
    Subtract(i64),
    /// `x = x * k`
    Multiply(i64),
    /// `x = max ( x , k )`
    AtLeast(i64),
    /// `x = min ( x , k )`
    AtMost(i64),
    /// `if x > k : statement`
    IfAbove(i64, Box<Statement>),
    /// `loop n : statement`
    Loop(i64, Box<Statement>),
}

/// A sequence of statements; its input and its output are the value of `x`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program(pub Vec<Statement>);

/// Why a program was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` where {expected} was expected")]
pub struct SyntaxError {
    /// The offending token, empty at the end of the text.
    pub found: String,
    /// What the grammar asks for there.
    pub expected: &'static str,
}

/// Why a run gave no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// More statements were executed than allowed.
    #[error("the step limit was reached")]
    StepLimit,
    /// A value left the range of 64-bit integers.
    #[error("a number became too large")]
    Overflow,
}

impl Program {
    /// Reads a program.
    ///
    /// # Errors
    /// The first token the grammar does not allow.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let mut tokens = Tokens(text.split_whitespace());
        let mut statements = vec![tokens.statement(0)?];
        loop {
            match tokens.0.next() {
                None => return Ok(Self(statements)),
                Some(";") => statements.push(tokens.statement(0)?),
                Some(found) => {
                    return Err(SyntaxError { found: found.to_owned(), expected: "`;` or the end" });
                }
            }
        }
    }

    /// Runs the program on one input.
    ///
    /// # Errors
    /// [`RunError::StepLimit`] after `step_limit` executed statements, [`RunError::Overflow`] on 64-bit overflow.
    pub fn run(&self, input: i64, step_limit: u64) -> Result<i64, RunError> {
        let mut steps = step_limit;
        self.0.iter().try_fold(input, |x, statement| statement.run(x, &mut steps))
    }
}

impl Statement {
    fn run(&self, x: i64, steps: &mut u64) -> Result<i64, RunError> {
        *steps = steps.checked_sub(1).ok_or(RunError::StepLimit)?;
        match self {
            Self::Set(k) => Some(*k),
            Self::Add(k) => x.checked_add(*k),
            Self::Subtract(k) => x.checked_sub(*k),
            Self::Multiply(k) => x.checked_mul(*k),
            Self::AtLeast(k) => Some(x.max(*k)),
            Self::AtMost(k) => Some(x.min(*k)),
            Self::IfAbove(k, body) => return if x > *k { body.run(x, steps) } else { Ok(x) },
            Self::Loop(n, body) => return (0..*n).try_fold(x, |x, _| body.run(x, steps)),
        }
        .ok_or(RunError::Overflow)
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, statement) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" ; ")?;
            }
            statement.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set(k) => write!(f, "x = {k}"),
            Self::Add(k) => write!(f, "x = x + {k}"),
            Self::Subtract(k) => write!(f, "x = x - {k}"),
            Self::Multiply(k) => write!(f, "x = x * {k}"),
            Self::AtLeast(k) => write!(f, "x = max ( x , {k} )"),
            Self::AtMost(k) => write!(f, "x = min ( x , {k} )"),
            Self::IfAbove(k, body) => write!(f, "if x > {k} : {body}"),
            Self::Loop(n, body) => write!(f, "loop {n} : {body}"),
        }
    }
}

struct Tokens<'a>(std::str::SplitWhitespace<'a>);

impl Tokens<'_> {
    fn statement(&mut self, depth: usize) -> Result<Statement, SyntaxError> {
        if depth == MAX_DEPTH {
            return Err(SyntaxError { found: String::new(), expected: "less nesting" });
        }
        match self.0.next() {
            Some("x") => {
                self.expect("=", "`=`")?;
                self.expression()
            }
            Some("if") => {
                self.expect("x", "`x`")?;
                self.expect(">", "`>`")?;
                let bound = self.number()?;
                self.expect(":", "`:`")?;
                Ok(Statement::IfAbove(bound, Box::new(self.statement(depth + 1)?)))
            }
            Some("loop") => {
                let times = self.number()?;
                self.expect(":", "`:`")?;
                Ok(Statement::Loop(times, Box::new(self.statement(depth + 1)?)))
            }
            found => Err(unexpected(found, "a statement")),
        }
    }

    fn expression(&mut self) -> Result<Statement, SyntaxError> {
        match self.0.next() {
            Some("x") => {
                let operator = self.0.next();
                let build = match operator {
                    Some("+") => Statement::Add,
                    Some("-") => Statement::Subtract,
                    Some("*") => Statement::Multiply,
                    found => return Err(unexpected(found, "`+`, `-` or `*`")),
                };
                Ok(build(self.number()?))
            }
            Some("max") => Ok(Statement::AtLeast(self.bound()?)),
            Some("min") => Ok(Statement::AtMost(self.bound()?)),
            Some(number) => match number.parse() {
                Ok(k) => Ok(Statement::Set(k)),
                Err(_) => Err(unexpected(Some(number), "`x`, `max`, `min` or a number")),
            },
            None => Err(unexpected(None, "`x`, `max`, `min` or a number")),
        }
    }

    fn bound(&mut self) -> Result<i64, SyntaxError> {
        self.expect("(", "`(`")?;
        self.expect("x", "`x`")?;
        self.expect(",", "`,`")?;
        let k = self.number()?;
        self.expect(")", "`)`")?;
        Ok(k)
    }

    fn number(&mut self) -> Result<i64, SyntaxError> {
        let found = self.0.next();
        found.and_then(|token| token.parse().ok()).ok_or_else(|| unexpected(found, "a number"))
    }

    fn expect(&mut self, token: &str, expected: &'static str) -> Result<(), SyntaxError> {
        let found = self.0.next();
        if found == Some(token) { Ok(()) } else { Err(unexpected(found, expected)) }
    }
}

fn unexpected(found: Option<&str>, expected: &'static str) -> SyntaxError {
    SyntaxError { found: found.unwrap_or_default().to_owned(), expected }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn runs_what_it_says() {
        let run = |text: &str, x| Program::parse(text).unwrap().run(x, 100);
        assert_eq!(run("x = max ( x , 22 ) ; x = x + 5 ; x = x - 4", 3), Ok(23));
        assert_eq!(run("x = x * 2 ; if x > 16 : x = x - 6", 9), Ok(12));
        assert_eq!(run("x = x * 2 ; if x > 16 : x = x - 6", 8), Ok(16));
        assert_eq!(run("loop 3 : if x > 10 : x = x - 4", 20), Ok(8));
        assert_eq!(run("x = 7 ; x = min ( x , 5 )", 99), Ok(5));
        assert_eq!(run("loop -2 : x = x + 1", 4), Ok(4));
    }

    #[test]
    fn hostile_programs_end() {
        let run = |text: &str| Program::parse(text).unwrap().run(1, 50);
        assert_eq!(run("loop 99999999 : x = x + 1"), Err(RunError::StepLimit));
        assert_eq!(run("loop 9999999 : loop 9999999 : x = x * 2"), Err(RunError::StepLimit));
        assert_eq!(run("x = x * 9223372036854775807 ; x = x * 2"), Err(RunError::Overflow));
        let deep = "if x > 1 : ".repeat(100_000) + "x = x + 1";
        assert_eq!(Program::parse(&deep).unwrap_err().expected, "less nesting");
    }

    #[test]
    fn syntax_errors_name_the_token() {
        for (text, found) in [
            ("", ""),
            ("x = x + five", "five"),
            ("x = x + 5 x = x - 1", "x"),
            ("x = max ( 5 , x )", "5"),
            ("print x", "print"),
            ("x = x / 2", "/"),
            ("if x > 3 x = x + 1", "x"),
        ] {
            assert_eq!(Program::parse(text).unwrap_err().found, found, "{text}");
        }
    }

    fn statement() -> impl Strategy<Value = Statement> {
        let k = -99..99i64;
        let leaf = prop_oneof![
            k.clone().prop_map(Statement::Set),
            k.clone().prop_map(Statement::Add),
            k.clone().prop_map(Statement::Subtract),
            k.clone().prop_map(Statement::Multiply),
            k.clone().prop_map(Statement::AtLeast),
            k.prop_map(Statement::AtMost),
        ];
        leaf.prop_recursive(4, 8, 1, |inner| {
            prop_oneof![
                (-50..50i64, inner.clone()).prop_map(|(k, s)| Statement::IfAbove(k, Box::new(s))),
                (0..5i64, inner).prop_map(|(n, s)| Statement::Loop(n, Box::new(s))),
            ]
        })
    }

    proptest! {
        #[test]
        fn printing_and_reading_are_inverse(statements in prop::collection::vec(statement(), 1..5)) {
            let program = Program(statements);
            prop_assert_eq!(Program::parse(&program.to_string()).unwrap(), program);
        }

        #[test]
        fn any_text_ends_in_a_program_or_an_error(text in "[x=+*();:0-9 a-z-]{0,60}") {
            if let Ok(program) = Program::parse(&text) {
                let _ = program.run(3, 100);
            }
        }
    }
}
