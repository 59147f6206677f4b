//! A worker that is killed within a log of changes.

use serde_json::{Value, json};
use tests::harness::{Process, System, eventually};

use super::Acme;

const PAGE: usize = 3;
const CHANGES: usize = 20;
/// Requests for a page of the log.
const PAGES: &str = "GET /google/drive/v3/changes?*pageToken";

impl Acme<'_> {
    /// The token of the next page of the person's log.
    async fn token(&self) -> String {
        let token = "SELECT cursor ->> 'token' FROM cursors \
                     WHERE connection_id = $1 AND stream = 'files'";
        let token = sqlx::query_scalar(token).bind(self.connection);
        let token = token.fetch_one(self.system.db.pool()).await;
        token.expect("a token")
    }
}

/// The tokens of the requests for pages of the person's log that were recorded, in order.
async fn requested_tokens(system: &System) -> Vec<String> {
    let url = format!("{}/_sim/requests", system.simulator.base_url());
    let response = system.client.get(url).send().await.expect("a response");
    let lines = response.text().await.expect("requests");
    lines
        .lines()
        .filter_map(|line| {
            let request: Value = serde_json::from_str(line).expect("JSON");
            let query = request["query"].as_str().expect("a query");
            let query: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).collect();
            let value = |name: &str| query.iter().find(|(key, _)| key == name);
            let is_page = request["path"] == "/google/drive/v3/changes";
            let (_, token) = value("pageToken").filter(|_| is_page)?;
            value("driveId").is_none().then(|| token.to_string())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_worker_resumes_behind_the_last_stored_page() {
    let system = System::with_fast_provider().out_of_process().start().await;
    system.simulator.shorten_retry_delays();
    let acme = Acme::connect(&system).await;
    acme.drop_pushes().await;
    system
        .simulator
        .change_google_drive(|drive| drive.max_page_size = PAGE);
    let mut files = Vec::new();
    for _ in 0..CHANGES {
        files.push(acme.act("file.created", json!({})).await);
    }
    let first = acme.token().await;
    let slow = json!({ "target": "request", "pattern": PAGES, "effect": "slow", "seconds": 1.0 });
    system.sim("faults", slow).await;
    let before = acme.tenant.count_signals().await;
    acme.tenant.poll().await;
    eventually("two pages are stored", async || {
        acme.tenant.count_signals().await >= before + 2 * PAGE
    })
    .await;
    system
        .processes()
        .await
        .kill_and_restart(Process::Worker)
        .await;
    // Another worker reads on only when the lease has ended.
    let stored = acme.tenant.count_signals().await - before;
    assert!(stored < CHANGES, "the run had ended");
    let next = acme.token().await;
    assert_ne!(next, first, "the token of the next page is stored");
    let url = format!("{}/_sim/requests", system.simulator.base_url());
    let recording = system.client.post(url).send().await.expect("a response");
    assert!(recording.status().is_success());
    system.clear_faults().await;
    system.drain().await;
    let requested = requested_tokens(&system).await;
    assert_eq!(requested.first(), Some(&next), "{requested:?}");
    assert!(!requested.contains(&first), "no page is read again");
    for file in &files {
        assert_eq!(acme.count_kind(file, "file_created").await, 1);
    }
    acme.settle().await;
}
