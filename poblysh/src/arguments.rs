//! The arguments of the command.

use clap::{Parser, Subcommand};
use clap_complete::Shell;

use crate::commands::connect::ConnectArguments;
use crate::commands::connections::ConnectionsCommand;
use crate::commands::deliveries::DeliveriesCommand;
use crate::commands::jobs::JobsCommand;
use crate::commands::keys::KeysCommand;
use crate::commands::manual::ManualArguments;
use crate::commands::migrate::MigrateArguments;
use crate::commands::signals::SignalsCommand;
use crate::commands::tenants::TenantsCommand;
use crate::doctor::DoctorArguments;
use crate::options::Options;

/// The section about exit codes and the API in the help.
const AFTER_HELP: &str = "\
Exit status: 0 on success, 1 on failure, 2 for invalid arguments. Subcommands other than doctor and
migrate call the API at --url with --token: an operator's token, or a tenant's API key. Variables are
read from .env as well; .env.example documents those of the processes.";

/// The operator's command of Poblysh Connectors: checks an installation, and manages it over the API.
#[derive(Parser)]
#[command(name = "poblysh", version, after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) options: Options,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// A subcommand.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Check settings, database, keys, public URLs and each provider's app.
    Doctor(DoctorArguments),
    /// Apply or list migrations, as the owner of the database.
    Migrate(MigrateArguments),
    /// Show counts of connections, deliveries and jobs over all tenants.
    Overview,
    /// List the providers, and whether each is configured.
    Providers,
    /// List and create tenants.
    #[command(subcommand)]
    Tenants(TenantsCommand),
    /// List, create and revoke the API keys of a tenant.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Create a connect link, and wait for the connection and its backfill.
    Connect(ConnectArguments),
    /// List, diagnose, sync, pause and end connections.
    #[command(subcommand)]
    Connections(ConnectionsCommand),
    /// List, retry and cancel jobs.
    #[command(subcommand)]
    Jobs(JobsCommand),
    /// List and replay webhook deliveries.
    #[command(subcommand)]
    Deliveries(DeliveriesCommand),
    /// List and follow Signals.
    #[command(subcommand)]
    Signals(SignalsCommand),
    /// Print a script that completes the command in a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Print the manual page, or write the pages of all subcommands.
    Man(ManualArguments),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Arguments::command().debug_assert();
    }
}
