//! The report of the checks.

use std::io;
use std::process::ExitCode;

use serde::Serialize;
use serde_json::json;
use shared::connectors::{Finding, FindingStatus};

use crate::output::Output;

/// The width of the column of checks.
const CHECK_WIDTH: usize = 28;

/// A checked part with its finding.
#[derive(Debug, Serialize)]
struct Check {
    /// The part, such as `github.client`.
    check: String,
    #[serde(flatten)]
    finding: Finding,
}

/// The findings so far. Lines for people are printed immediately, JSON at the end.
#[derive(Debug)]
pub(super) struct Report {
    output: Output,
    checks: Vec<Check>,
}

impl Report {
    pub(super) const fn new(output: Output) -> Self {
        Self {
            output,
            checks: Vec::new(),
        }
    }

    /// Adds a finding of an area, such as `database` or a provider's slug.
    pub(super) fn add(&mut self, area: &str, finding: Finding) -> io::Result<()> {
        let check = Check {
            check: format!("{area}.{}", finding.subject),
            finding,
        };
        if !self.output.is_json() {
            self.output.line(&line(&check))?;
        }
        self.checks.push(check);
        Ok(())
    }

    /// Prints the summary, and returns the exit status.
    pub(super) fn end(self) -> anyhow::Result<ExitCode> {
        let count = |status| {
            let checks = self.checks.iter();
            checks
                .filter(|check| check.finding.status == status)
                .count()
        };
        let failures = count(FindingStatus::Failure);
        let warnings = count(FindingStatus::Warning);
        if self.output.is_json() {
            self.output.json(&json!({
                "ok": failures == 0, "failures": failures, "warnings": warnings,
                "checks": self.checks,
            }))?;
        } else {
            let checks = self.checks.len();
            self.output.line(&format!(
                "{checks} checks: {failures} failures, {warnings} warnings"
            ))?;
        }
        Ok(ExitCode::from(u8::from(failures > 0)))
    }
}

/// A check as one line, with its cure.
fn line(Check { check, finding }: &Check) -> String {
    let status = match finding.status {
        FindingStatus::Ok => "ok",
        FindingStatus::Warning => "warning",
        FindingStatus::Failure => "FAILURE",
    };
    let message = &finding.message;
    let cure = finding.cure.as_deref();
    let cure = cure.map(|cure| format!(" → {cure}")).unwrap_or_default();
    format!("{status:<7}  {check:<CHECK_WIDTH$}  {message}{cure}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finding_is_one_line_with_its_cure() {
        let finding = Finding::failure("client", "It is rejected.", "Copy it again.");
        let check = "slack.client".to_owned();
        let text = line(&Check { check, finding });
        assert_eq!(
            text,
            "FAILURE  slack.client                  It is rejected. → Copy it again."
        );
    }
}
