//! `poblysh doctor`: checks of an installation, one line each.
//!
//! It reads the settings that the processes read, and tries each thing that they depend on: the
//! database in each role, every sealed value, the public URLs, and the providers' apps. It changes
//! nothing. A check that belongs to a provider is the connector's own.

mod database;
mod keys;
mod limiter;
mod providers;
mod report;
mod settings;
mod urls;

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use shared::config::{Env, Process};
use shared::connectors::Finding;

use self::report::Report;
use crate::output::Output;

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {
    /// Check only this part; repeatable.
    #[arg(long, value_name = "PART")]
    only: Vec<Part>,
    /// Leave out this part; repeatable.
    #[arg(long, value_name = "PART", conflicts_with = "only")]
    skip: Vec<Part>,
    /// A process that runs with these settings; repeatable. All three without it.
    #[arg(long = "process", value_name = "PROCESS")]
    processes: Vec<ProcessName>,
}

/// A part of the checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The settings of each process.
    Settings,
    /// Version, roles, schema and clock of the database.
    Database,
    /// The keys that open every sealed value.
    Keys,
    /// The public URLs.
    Urls,
    /// The app at each configured provider.
    Providers,
}

/// One of the three processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ProcessName {
    ApiServer,
    WebhookIngress,
    SyncWorker,
}

impl ProcessName {
    const ALL: [Self; 3] = [Self::ApiServer, Self::WebhookIngress, Self::SyncWorker];

    const fn process(self) -> Process {
        match self {
            Self::ApiServer => Process::Api,
            Self::WebhookIngress => Process::Ingress,
            Self::SyncWorker => Process::Worker,
        }
    }
}

impl DoctorArguments {
    fn includes(&self, part: Part) -> bool {
        (self.only.is_empty() || self.only.contains(&part)) && !self.skip.contains(&part)
    }

    fn processes(&self) -> Vec<Process> {
        let named: &[ProcessName] = if self.processes.is_empty() {
            &ProcessName::ALL
        } else {
            &self.processes
        };
        named.iter().map(|name| name.process()).collect()
    }
}

/// Runs the checks; the exit status is 1 if one of them found a failure.
pub(crate) async fn run(arguments: &DoctorArguments, output: Output) -> anyhow::Result<ExitCode> {
    let mut report = Report::new(output);
    let env = match Env::from_process() {
        Ok(env) => env,
        Err(error) => {
            for problem in error.problems {
                let cure = "Correct the file; each line is NAME=value.";
                let message = format!("{} {}", problem.variable, problem.reason);
                report.add("settings", Finding::failure("file", message, cure))?;
            }
            return report.end();
        }
    };
    let processes = arguments.processes();
    if arguments.includes(Part::Settings) {
        settings::check(&env, &processes, &mut report)?;
    }
    // Other parts read the database as well.
    let database = database::Database::open(&env, &processes).await;
    if arguments.includes(Part::Database) {
        database.report(&mut report)?;
    }
    if arguments.includes(Part::Keys) {
        keys::check(&env, database.api(), &mut report).await?;
    }
    if arguments.includes(Part::Urls) {
        urls::check(&env, &mut report).await?;
    }
    if arguments.includes(Part::Providers) {
        providers::check(&env, &database, &mut report).await?;
    }
    report.end()
}
