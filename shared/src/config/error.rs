//! Problems of settings.

use std::fmt;

/// A problem of one variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The variable's full name.
    pub variable: String,
    /// The problem, without the value.
    pub reason: String,
}

impl Problem {
    pub(super) fn new(variable: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            variable: variable.into(),
            reason: reason.into(),
        }
    }
}

/// All problems of the settings, one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The problems, in the order of reading.
    pub problems: Vec<Problem>,
}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> Self {
        Self {
            problems: vec![problem],
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("invalid configuration:")?;
        for Problem { variable, reason } in &self.problems {
            write!(f, "\n  {variable} {reason}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
