//! The settings of each process, read as the process reads them at its start.

use std::io;

use shared::config::{ConfigError, Env, Problem, Process};
use shared::connectors::Finding;

use super::report::Report;

const AREA: &str = "settings";

/// Checks the settings of these processes.
pub(super) fn check(env: &Env, processes: &[Process], report: &mut Report) -> io::Result<()> {
    let mut problems: Vec<(Problem, Vec<&'static str>)> = Vec::new();
    for process in processes {
        match read(env, *process) {
            Ok(()) => report.add(AREA, Finding::ok(process.name(), "all settings are valid"))?,
            Err(error) => collect(error, process.name(), &mut problems),
        }
    }
    for (problem, names) in problems {
        let Problem { variable, reason } = problem;
        let finding = Finding::failure(
            names[0],
            format!("{variable} {reason} ({})", names.join(", ")),
            format!("Correct {variable}; .env.example documents it."),
        );
        report.add(AREA, finding)?;
    }
    Ok(())
}

fn read(env: &Env, process: Process) -> Result<(), ConfigError> {
    match process {
        Process::Api => api_server::Config::from_env(env).map(drop),
        Process::Ingress => webhook_ingress::Config::from_env(env).map(drop),
        Process::Worker => sync_worker::Config::from_env(env).map(drop),
    }
}

/// Adds a process's problems; one that several processes have is one finding.
fn collect(
    error: ConfigError,
    process: &'static str,
    problems: &mut Vec<(Problem, Vec<&'static str>)>,
) {
    for problem in error.problems {
        match problems.iter_mut().find(|(known, _)| *known == problem) {
            Some((_, names)) => names.push(process),
            None => problems.push((problem, vec![process])),
        }
    }
}
