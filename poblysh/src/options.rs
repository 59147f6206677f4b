//! The options of all subcommands.

use clap::Args;
use secrecy::SecretString;
use url::Url;
use uuid::Uuid;

/// Options of all subcommands.
#[derive(Args)]
pub(crate) struct Options {
    /// The URL of the api-server.
    #[arg(
        long,
        global = true,
        env = "POBLYSH_URL",
        default_value = "http://127.0.0.1:8080",
        help_heading = "API"
    )]
    pub(crate) url: Url,
    /// An operator's token or a tenant's API key; the variable keeps it out of lists of processes.
    #[arg(
        long,
        global = true,
        env = "POBLYSH_TOKEN",
        hide_env_values = true,
        help_heading = "API"
    )]
    pub(crate) token: Option<SecretString>,
    /// The tenant in which an operator acts; lists without it are over all tenants.
    #[arg(long, global = true, value_name = "ID", help_heading = "API")]
    pub(crate) tenant: Option<Uuid>,
    /// Print JSON instead of tables and sentences.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}
