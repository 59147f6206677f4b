//! `demo follow`: waits for the processes, connects the teams, prints their Signals.

use std::time::Duration;

use anyhow::ensure;
use url::Url;

use crate::FollowArguments;
use crate::api::{Api, Signal};
use crate::simulator;
use crate::teams::{self, Team, Teams};

/// Between two looks at feeds that had nothing new.
const PAUSE: Duration = Duration::from_millis(200);

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
    let accounts = teams::connect(&api, &arguments.simulator, here).await?;
    println!();
    for (team, account) in here.iter().zip(&accounts) {
        println!("  {} is connected to the simulated account {account}", team.name);
    }
    print_urls(arguments, &here[0]);

    let mut left = arguments.exit_after;
    while left != Some(0) {
        let mut news = false;
        for position in 0..arguments.tenants {
            news |= print_news(&api, &mut all.teams[position], &mut left).await?;
        }
        if news {
            all.save(&arguments.state)?;
        } else {
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(())
}

/// Prints a page of a team's feed; says whether there was anything.
async fn print_news(api: &Api, team: &mut Team, left: &mut Option<u64>) -> anyhow::Result<bool> {
    let Some(page) = api.signals(&team.key, team.cursor.as_deref()).await? else {
        team.cursor = None;
        return Ok(true);
    };
    let mut printed = false;
    for signal in &page.signals {
        if *left == Some(0) {
            // The cursor stays in front of what was not printed.
            return Ok(true);
        }
        println!("{}", line(&team.name, signal));
        printed = true;
        *left = left.map(|left| left - 1);
    }
    team.cursor = Some(page.next_cursor);
    Ok(printed || page.has_more)
}

fn line(team: &str, signal: &Signal) -> String {
    let actor = signal.actor.name.as_deref().unwrap_or(&signal.actor.kind);
    let place = signal.context.name.as_deref().unwrap_or_default();
    let subject = signal.subject.key.as_deref().unwrap_or(place);
    let title = signal.subject.title.as_deref().unwrap_or_default().lines().next().unwrap_or("");
    let title: String = title.chars().take(60).collect();
    format!(
        "{}  {team:<14} {}  {:<24} {actor:<18} {subject:<32} {title}",
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
    println!("  OpenAPI            {}", at(&arguments.api, "/openapi.json"));
    println!("  Metrics, api       {}", at(&arguments.api, "/metrics"));
    println!("           ingress   {}", at(&arguments.ingress, "/metrics"));
    println!("           worker    {}", at(&arguments.worker, "/metrics"));
    println!("  What really happened, says the simulator");
    println!("                     {}", at(&arguments.simulator, "/_sim/ledger?source=github"));
    println!("  Key of {}, for the Authorize button", team.name);
    println!("                     {}", team.key);
    println!();
}
