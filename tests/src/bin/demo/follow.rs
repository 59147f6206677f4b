//! `demo follow`: waits for the processes, connects the teams and prints their Signals.

use std::collections::BTreeSet;
use std::time::Duration;

use ::tests::api::Api;
use anyhow::ensure;
use url::Url;

use crate::FollowArguments;
use crate::api::{self, Signal};
use crate::simulator;
use crate::teams::{self, Team, Teams};

/// Interval of polling feeds without new Signals.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Signals per page: few, so that teams and providers alternate on the screen.
const PAGE_SIZE: u64 = 3;

/// Prints Signals until the requested number is reached, or until the process is ended.
pub(crate) async fn run(arguments: &FollowArguments) -> anyhow::Result<()> {
    ensure!(arguments.tenants > 0, "at least one team is needed");
    for process in [&arguments.api, &arguments.ingress, &arguments.worker] {
        simulator::wait_until_ready(process, "/readyz").await?;
    }
    let api = Api::new(arguments.api.clone(), arguments.operator_token.clone())?;
    let mut all = Teams::load(&arguments.state)?;
    all.disconnect_all(&api).await?;
    all.create_missing(&api, arguments.tenants).await?;
    all.save(&arguments.state)?;

    let teams = &all.teams[..arguments.tenants];
    let connected = teams::connect(&api, &arguments.simulator, teams).await?;
    println!();
    for (team, accounts) in teams.iter().zip(&connected) {
        println!("  {:<14} is connected to {accounts}", team.name);
    }
    let console = api.create_login_link().await?;
    print_urls(arguments, &console, &teams[0]);
    let sources = wait_for_backfills(&api, teams).await?;
    let source_width = sources.iter().map(String::len).max().unwrap_or(0);

    let mut left = arguments.exit_after;
    while left != Some(0) {
        let mut has_new = false;
        for position in 0..arguments.tenants {
            for source in &sources {
                let team = &mut all.teams[position];
                let page = read_page(&api, team, source, left).await?;
                has_new |= page.may_have_more;
                for signal in &page.signals {
                    println!("{}", format_signal(&team.name, signal, source_width));
                    left = left.map(|left| left - 1);
                }
            }
        }
        if has_new {
            all.save(&arguments.state)?;
        } else {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
    Ok(())
}

/// Waits for all backfills and returns the providers.
///
/// All of them have Signals to show then.
async fn wait_for_backfills(api: &Api, teams: &[Team]) -> anyhow::Result<BTreeSet<String>> {
    let mut shown = 0;
    loop {
        let mut connections = Vec::new();
        for team in teams {
            connections.extend(api::connections(api, &team.key).await?.unwrap_or_default());
        }
        connections.retain(|one| one.status == "active");
        let read = connections.iter().filter(|one| one.backfilled_at.is_some());
        let (read, all) = (read.count(), connections.len());
        if read != shown {
            println!("  {read} of {all} backfills are complete");
            shown = read;
        }
        if read == all {
            println!();
            return Ok(connections.into_iter().map(|one| one.provider).collect());
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// A page of a team's feed.
#[derive(Default)]
struct Page {
    signals: Vec<Signal>,
    may_have_more: bool,
}

/// Reads the next page of a team's feed, of at most `left` Signals.
async fn read_page(
    api: &Api,
    team: &mut Team,
    source: &str,
    left: Option<u64>,
) -> anyhow::Result<Page> {
    let limit = left.map_or(PAGE_SIZE, |left| left.min(PAGE_SIZE));
    if limit == 0 {
        return Ok(Page::default());
    }
    let cursor = team.cursors.get(source).map(String::as_str);
    let Some(page) = api::signals(api, &team.key, source, cursor, limit).await? else {
        team.cursors.remove(source);
        return Ok(Page {
            signals: Vec::new(),
            may_have_more: true,
        });
    };
    team.cursors.insert(source.to_owned(), page.next_cursor);
    Ok(Page {
        may_have_more: page.has_more || !page.signals.is_empty(),
        signals: page.signals,
    })
}

/// A Signal as a line; the provider's column has the width of the longest slug.
fn format_signal(team: &str, signal: &Signal, source_width: usize) -> String {
    let actor = signal.actor.name.as_deref().unwrap_or(&signal.actor.kind);
    let context = signal.context.name.as_deref().unwrap_or_default();
    let subject = signal.subject.key.as_deref().unwrap_or(context);
    let title = signal
        .subject
        .title
        .as_deref()
        .unwrap_or_default()
        .lines()
        .next()
        .unwrap_or("");
    let title: String = title.chars().take(60).collect();
    format!(
        "{}  {team:<14} {:<source_width$}  {:<24} {actor:<18} {subject:<32} {title}",
        signal.timestamp.format("%m-%d %H:%M:%S"),
        signal.source,
        signal.kind,
    )
    .trim_end()
    .to_owned()
}

fn print_urls(arguments: &FollowArguments, console: &Url, team: &Team) {
    let at = |base: &Url, path: &str| format!("{}{path}", base.as_str().trim_end_matches('/'));
    println!();
    println!("  Console, by a link that is valid for five minutes and once");
    println!("                     {console}");
    println!("  API documentation  {}", at(&arguments.api, "/docs"));
    println!(
        "  OpenAPI            {}",
        at(&arguments.api, "/openapi.json")
    );
    println!("  Metrics, api       {}", at(&arguments.api, "/metrics"));
    println!(
        "           ingress   {}",
        at(&arguments.ingress, "/metrics")
    );
    println!("           worker    {}", at(&arguments.worker, "/metrics"));
    println!("  The simulator's ledger of facts");
    println!(
        "                     {}",
        at(&arguments.simulator, "/_sim/ledger")
    );
    println!("  API key of {}, for the Authorize button", team.name);
    println!("                     {}", team.key);
    println!();
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn kinds_are_in_one_column() {
        let columns = ["slack", "google_calendar"].map(|source| {
            let signal: Signal = serde_json::from_value(json!({
                "timestamp": "2026-11-23T10:00:00Z", "source": source, "kind": "a_kind",
                "actor": { "type": "unknown" }, "subject": {}, "context": {},
            }))
            .expect("a Signal");
            format_signal("Team Aurora", &signal, "google_calendar".len()).find("a_kind")
        });
        assert!(columns[0].is_some());
        assert_eq!(columns[0], columns[1]);
    }
}
