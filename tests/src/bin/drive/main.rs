//! Runs the product against the simulator and prints all recorded requests as JSON lines.
//!
//! It connects, backfills, polls, reconciles and disconnects every provider with the shipped
//! processes, and checks the feed against the ledger. `scripts/verify-simulator` compares the
//! requests with the providers' published descriptions.
#![expect(clippy::print_stdout, reason = "this program's output is its purpose")]

mod account;
mod github;
mod google;
mod jira;
mod slack;
mod zoho;

use tests::harness::System;

/// Number of repositories: with more than 20, the connector searches for updates.
const REPOSITORIES: usize = 22;
/// Number of objects that exceeds a page of any list.
const MORE_THAN_A_PAGE: usize = 101;

#[tokio::main]
async fn main() {
    let system = System::with_fast_provider()
        .simulator(|sim| (sim.providers.github.repositories, sim.history) = (REPOSITORIES, 8))
        .env(
            "POBLYSH_SLACK_USER_SCOPES",
            "channels:history,groups:history",
        )
        .out_of_process()
        .start()
        .await;
    system.simulator.change_slack(|slack| slack.rotation = true);
    system.simulator.shorten_retry_delays();
    let url = format!("{}/_sim/requests", system.simulator.base_url());
    let started = system.client.post(&url).send().await;
    assert!(started.expect("a simulator response").status().is_success());

    github::github(&system).await;
    slack::slack(&system).await;
    slack::slack_organization(&system).await;
    jira::jira(&system).await;
    google::google_drive(&system).await;
    google::google_calendar(&system).await;
    google::gmail(&system).await;
    zoho::zoho_mail(&system).await;
    zoho::zoho_cliq(&system).await;

    let response = system.client.get(&url).send().await;
    let lines = response.expect("a simulator response").text().await;
    print!("{}", lines.expect("the requests"));
}
