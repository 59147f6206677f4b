//! Client of `scripts/verify-live`: checks configured providers with a person's own accounts.
#![expect(clippy::print_stdout, reason = "this program's output is its purpose")]

use std::time::Duration;

use anyhow::{bail, ensure};
use clap::Parser;
use secrecy::SecretString;
use tests::api::{Api, Provider};
use tests::live::{Limits, Report, Terminal, verify};
use url::Url;

/// Checks the product with an account at each configured provider.
///
/// It connects and backfills the account, waits for one webhook, polls, and compares the facts.
#[derive(Parser)]
struct Arguments {
    /// Base URL of the api-server.
    #[arg(long)]
    api: Url,
    /// The operator's token.
    #[arg(long, env = "POBLYSH_OPERATOR_TOKEN", hide_env_values = true)]
    operator_token: SecretString,
    /// Only these providers, by slug; all configured ones by default.
    #[arg(long = "provider")]
    providers: Vec<String>,
    /// Minutes until the backfill must have ended.
    #[arg(long, default_value_t = 120)]
    backfill_minutes: u64,
    /// Minutes until a webhook must have brought its Signal.
    #[arg(long, default_value_t = 10)]
    webhook_minutes: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let limits = Limits {
        consent: Duration::from_mins(2),
        backfill: Duration::from_mins(arguments.backfill_minutes),
        webhook: Duration::from_mins(arguments.webhook_minutes),
    };
    let api = Api::new(arguments.api, arguments.operator_token)?;
    let all = api.providers().await?;
    let chosen = choose(&all, &arguments.providers)?;
    let mut failed = Vec::new();
    for provider in chosen {
        let person = Terminal {
            provider: &provider.display_name,
        };
        match verify(&api, provider, &person, limits).await {
            Ok(report) => print(provider, &report),
            Err(error) => {
                println!("{}: FAILED: {error:#}", provider.slug);
                failed.push(provider.slug.as_str());
            }
        }
    }
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}

/// The configured providers among the requested ones.
fn choose<'p>(all: &'p [Provider], requested: &[String]) -> anyhow::Result<Vec<&'p Provider>> {
    for slug in requested {
        ensure!(
            all.iter().any(|provider| provider.slug == *slug),
            "no provider is named {slug}"
        );
    }
    let is_requested =
        |provider: &&Provider| requested.is_empty() || requested.contains(&provider.slug);
    let (chosen, missing): (Vec<_>, Vec<_>) = all
        .iter()
        .filter(is_requested)
        .partition(|provider| provider.configured);
    for provider in missing {
        println!(
            "{}: not configured; .env.example and docs/ have its settings",
            provider.slug
        );
    }
    if chosen.is_empty() {
        bail!("no provider is configured, so there is nothing to check");
    }
    Ok(chosen)
}

fn print(provider: &Provider, report: &Report) {
    println!(
        "{}: {} Signals in a backfill of {:.0?}; reported by webhook: {}; found by the poll alone: {}",
        provider.slug,
        report.backfilled,
        report.backfill,
        list(&report.reported_by_webhook),
        list(&report.found_by_poll)
    );
}

fn list(keys: &[String]) -> String {
    if keys.is_empty() {
        "none".to_owned()
    } else {
        keys.join(", ")
    }
}
