//! Plain Postgres on the same machine, measured by pgbench.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use tokio::process::Command;

/// Path of pgbench and duration of its runs.
pub(crate) struct Pgbench {
    pub(crate) program: PathBuf,
    pub(crate) seconds: u32,
}

impl Pgbench {
    /// Measures transactions per second of a script, with prepared statements.
    pub(crate) async fn run(
        &self,
        url: &str,
        clients: u32,
        script: &str,
        variables: &[(&str, &str)],
    ) -> anyhow::Result<f64> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), script)?;
        let mut command = Command::new(&self.program);
        command
            .args(["--no-vacuum", "--protocol=prepared", "--jobs=2"])
            .arg(format!("--client={clients}"))
            .arg(format!("--time={}", self.seconds))
            .arg("--file")
            .arg(file.path());
        for (name, value) in variables {
            command.arg(format!("--define={name}={value}"));
        }
        let output = command
            .arg(url)
            .output()
            .await
            .with_context(|| format!("failed to run {}", self.program.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "pgbench failed: {errors}");
        text.lines()
            .find_map(|line| line.strip_prefix("tps = "))
            .and_then(|rest| rest.split(' ').next())
            .and_then(|figure| figure.parse().ok())
            .with_context(|| format!("pgbench printed no rate: {text} {errors}"))
    }
}
