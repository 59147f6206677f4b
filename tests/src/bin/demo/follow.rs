//! `demo follow`: waits for the processes, connects the teams, prints their Signals.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::ensure;
use url::Url;

use crate::FollowArguments;
use crate::api::{Api, Signal};
use crate::simulator;
use crate::teams::{self, Team, Teams};

/// Between two looks at feeds that had nothing new.
const PAUSE: Duration = Duration::from_millis(200);

/// Signals of one answer: few, so that teams and providers take turns on the screen.
const PAGE: u64 = 3;

/// Runs until the wanted number of Signals has been printed, else for ever.
pub(crate) async fn run(arguments: &FollowArguments) -> anyhow::Result<()> {
    ensure!(arguments.tenants > 0, "at least one team is needed");
    for process in [&arguments.api, &arguments.ingress, &arguments.worker] {
        simulator::ready(process, "/readyz").await?;
    }
    let api = Api::new(arguments.api.clone(), arguments.operator_token.clone())?;
    let mut all = Teams::load(&arguments.state)?;
    all.disconnect_all(&api).await?;
    all.fill_up(&api, arguments.tenants).await?;
    all.save(&arguments.state)?;

    let here = &all.teams[..arguments.tenants];
    let connected = teams::connect(&api, &arguments.simulator, here).await?;
    println!();
    for (team, accounts) in here.iter().zip(&connected) {
        println!("  {:<14} is connected to {accounts}", team.name);
    }
    print_urls(arguments, &here[0]);
    let sources = read_the_past(&api, here).await?;

    let mut left = arguments.exit_after;
    while left != Some(0) {
        let mut news = false;
        for position in 0..arguments.tenants {
            for source in &sources {
                news |= print_news(&api, &mut all.teams[position], source, &mut left).await?;
            }
        }
        if news {
            all.save(&arguments.state)?;
        } else {
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(())
}

/// Waits until what happened before has been read everywhere, so that all providers have
/// something to show; answers the providers.
async fn read_the_past(api: &Api, teams: &[Team]) -> anyhow::Result<BTreeSet<String>> {
    let mut shown = 0;
    loop {
        let mut connections = Vec::new();
        for team in teams {
            connections.extend(api.connections(&team.key).await?.unwrap_or_default());
        }
        connections.retain(|one| one.status == "active");
        let read = connections.iter().filter(|one| one.backfilled_at.is_some());
        let (read, all) = (read.count(), connections.len());
        if read != shown {
            println!("  The past of {read} of {all} connections has been read");
            shown = read;
        }
        if read == all {
            println!();
            return Ok(connections.into_iter().map(|one| one.provider).collect());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Prints a page of a team's feed, no more than is wanted; says whether there was anything.
async fn print_news(
    api: &Api,
    team: &mut Team,
    source: &str,
    left: &mut Option<u64>,
) -> anyhow::Result<bool> {
    let limit = left.map_or(PAGE, |left| left.min(PAGE));
    if limit == 0 {
        return Ok(false);
    }
    let cursor = team.cursors.get(source).map(String::as_str);
    let Some(page) = api.signals(&team.key, source, cursor, limit).await? else {
        team.cursors.remove(source);
        return Ok(true);
    };
    for signal in &page.signals {
        println!("{}", line(&team.name, signal));
        *left = left.map(|left| left - 1);
    }
    team.cursors.insert(source.to_owned(), page.next_cursor);
    Ok(page.has_more || !page.signals.is_empty())
}

fn line(team: &str, signal: &Signal) -> String {
    let actor = signal.actor.name.as_deref().unwrap_or(&signal.actor.kind);
    let place = signal.context.name.as_deref().unwrap_or_default();
    let subject = signal.subject.key.as_deref().unwrap_or(place);
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
        "{}  {team:<14} {:<6}  {:<24} {actor:<18} {subject:<32} {title}",
        signal.timestamp.format("%m-%d %H:%M:%S"),
        signal.source,
        signal.kind,
    )
    .trim_end()
    .to_owned()
}

fn print_urls(arguments: &FollowArguments, team: &Team) {
    let at = |base: &Url, path: &str| format!("{}{path}", base.as_str().trim_end_matches('/'));
    println!();
    println!("  API, to try out    {}", at(&arguments.api, "/docs"));
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
    println!("  What really happened, says the simulator");
    println!(
        "                     {}",
        at(&arguments.simulator, "/_sim/ledger")
    );
    println!("  Key of {}, for the Authorize button", team.name);
    println!("                     {}", team.key);
    println!();
}
