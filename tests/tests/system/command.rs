//! The command `poblysh` over the HTTP API and over the migrations.

use std::time::Duration;

use serde_json::{Value, json};
use tests::harness::{Poblysh, System, TestDb, eventually, open_connect_link};
use tokio::io::{AsyncBufReadExt, BufReader};
use uuid::Uuid;

/// A time limit for a child process to end.
const EXIT_TIMEOUT: Duration = Duration::from_mins(2);

fn id(value: &Value) -> String {
    value.as_str().expect("an id").to_owned()
}

/// The objects of a list by name.
fn rows(list: &Value, name: &str) -> Vec<Value> {
    list[name].as_array().expect("a list").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn tenant_and_key_are_managed() {
    let system = System::with_fast_provider().workers(0).start().await;
    let operator = Poblysh::of(&system);
    let tenant = operator.json(&["tenants", "create", "Acme"]).await;
    let tenant = id(&tenant["id"]);
    for name in ["Second", "Third"] {
        operator.text(&["tenants", "create", name]).await;
    }
    let table = operator.text(&["tenants", "list"]).await;
    assert_eq!(table.lines().count(), 4, "{table}");
    assert!(
        table.starts_with("ID") && !table.contains('\u{1b}'),
        "{table:?}"
    );
    let first = operator.run(&["tenants", "list", "--limit", "1"]).await;
    assert_eq!(first.stdout.lines().count(), 2);
    assert!(first.stderr.contains("--all"), "{first:?}");
    let all = operator.json(&["tenants", "list", "--all"]).await;
    assert_eq!(rows(&all, "tenants").len(), 3);

    let create = [
        "keys",
        "create",
        "reader",
        "--tenant",
        &tenant,
        "--scope",
        "signals:read",
    ];
    let created = operator.json(&create).await;
    let key = id(&created["key"]);
    let listed = operator.json(&["keys", "list", "--tenant", &tenant]).await;
    assert_eq!(
        rows(&listed, "api_keys")[0]["scopes"],
        json!(["signals:read"])
    );

    let reader = operator.set("POBLYSH_TOKEN", &key);
    reader.text(&["signals", "list"]).await;
    let denied = reader.run(&["tenants", "list"]).await;
    assert_eq!(denied.status, Some(1));
    assert!(denied.stderr.contains("403"), "{denied:?}");
    operator
        .text(&["keys", "revoke", &id(&created["id"]), "--tenant", &tenant])
        .await;
    let revoked = reader.run(&["signals", "list"]).await;
    assert!(revoked.stderr.contains("401"), "{revoked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_name_the_next_step() {
    let system = System::with_fast_provider().workers(0).start().await;
    let operator = Poblysh::of(&system);
    let unknown = Uuid::now_v7().to_string();
    let tenant = system.tenant("Acme").await.id.to_string();
    for (command, arguments, named) in [
        (
            operator.set("POBLYSH_TOKEN", ""),
            &["overview"][..],
            "POBLYSH_TOKEN",
        ),
        (
            operator.set("POBLYSH_TOKEN", "wrong"),
            &["overview"],
            "valid operator's token",
        ),
        (
            operator.clone(),
            &["connections", "get", &unknown],
            "not found",
        ),
        (operator.clone(), &["jobs", "get", &unknown], "--tenant ID"),
        (operator.clone(), &["connect", "github"], "--tenant ID"),
        (operator.clone(), &["keys", "list"], "--tenant"),
        (
            operator.clone(),
            &["jobs", "list", "--tenant", &tenant, "--state", "unheard"],
            "state",
        ),
        (
            operator.clone(),
            &["connections", "disconnect", &unknown],
            "--yes",
        ),
        (
            operator.set("POBLYSH_URL", "http://127.0.0.1:1"),
            &["overview"],
            "POBLYSH_URL",
        ),
        (
            operator.set("POBLYSH_URL", "http://192.0.2.1"),
            &["overview"],
            "https",
        ),
        (
            operator.set("POBLYSH_URL", &system.ingress),
            &["overview"],
            "404",
        ),
    ] {
        let output = command.run(arguments).await;
        assert_eq!(output.status, Some(1), "{arguments:?}: {output:?}");
        assert!(
            output.stderr.contains(named),
            "{named} {arguments:?}: {output:?}"
        );
        assert!(output.stdout.is_empty(), "{output:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_is_connected_diagnosed_and_changed() {
    let system = System::with_fast_provider().start().await;
    let operator = Poblysh::of(&system);
    let (account, admin) = system.accounts_at("github").await.remove(0);
    let tenant = operator.json(&["tenants", "create", "Acme"]).await;
    let tenant = id(&tenant["id"]);

    let mut child = operator.spawn(&["connect", "github", "--tenant", &tenant]);
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let link = lines.next_line().await.expect("text").expect("a link");
    let response = open_connect_link(&system, &link, &account, &admin).await;
    assert!(response.status().is_success(), "{response:?}");
    let end = tokio::time::timeout(EXIT_TIMEOUT, child.wait_with_output()).await;
    let end = end.expect("the backfill ends").expect("an exit status");
    let notes = String::from_utf8(end.stderr).expect("UTF-8");
    assert!(end.status.success(), "{notes}");
    assert!(notes.contains("waiting for the consent"), "{notes}");
    let last = lines.next_line().await.expect("text").expect("a sentence");
    assert!(last.contains("is connected"), "{last}");

    let listed = operator
        .json(&["connections", "list", "--provider", "github"])
        .await;
    let connection = id(&rows(&listed, "connections")[0]["id"]);
    assert!(last.contains(&connection), "{last}");
    assert_eq!(rows(&listed, "connections")[0]["tenant_id"], json!(tenant));
    let diagnosis = operator
        .text(&["connections", "diagnose", &connection])
        .await;
    for named in [
        "health ",
        "action ",
        "streams ",
        "scopes ",
        "last jobs:",
        "sync_connection",
    ] {
        assert!(diagnosis.contains(named), "{named}: {diagnosis}");
    }
    let diagnosis = operator
        .json(&["connections", "diagnose", &connection])
        .await;
    let explanation = diagnosis["connection"]["health"]["explanation"].as_str();
    assert!(
        explanation.is_some_and(|text| !text.is_empty()),
        "{diagnosis}"
    );
    assert!(!rows(&diagnosis, "streams").is_empty() && !rows(&diagnosis, "jobs").is_empty());

    let paused = operator.json(&["connections", "pause", &connection]).await;
    assert_eq!(paused["status"], json!("paused"));
    let resumed = operator.json(&["connections", "resume", &connection]).await;
    assert_eq!(resumed["status"], json!("active"));
    let synced = operator.json(&["connections", "sync", &connection]).await;
    let job = id(&synced["job"]["id"]);
    let shown = operator
        .text(&["jobs", "get", &job, "--tenant", &tenant])
        .await;
    assert!(shown.contains("sync_connection"), "{shown}");
    let overview = operator.text(&["overview"]).await;
    assert!(overview.contains("of 1 connections"), "{overview}");
    operator
        .text(&["connections", "disconnect", &connection, "--yes"])
        .await;
    let ended = operator.json(&["connections", "get", &connection]).await;
    assert_eq!(ended["status"], json!("disconnected"));
}

#[tokio::test(flavor = "multi_thread")]
async fn tail_follows_the_feed_and_resumes() {
    let system = System::with_fast_provider()
        .simulator(|sim| sim.history = 5)
        .start()
        .await;
    let (account, tenant, connection) = system.connect_account("github").await;
    let mut stored = Vec::new();
    eventually("the feed has all Signals of the backfill", async || {
        stored = tenant.feed().await;
        stored.len() > 3 && stored.len() >= tenant.count_signals().await
    })
    .await;
    let reader = Poblysh::of(&system).set("POBLYSH_TOKEN", &tenant.key);

    let all = stored.len().to_string();
    let from_start = ["--json", "signals", "tail", "--from-start", "--count", &all];
    let printed = reader.text(&from_start).await;
    let printed: Vec<Value> = printed
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let ids = |signals: &[Value]| -> Vec<String> {
        signals.iter().map(|signal| id(&signal["id"])).collect()
    };
    assert_eq!(ids(&printed), ids(&stored), "the feed in its order");

    let page = tenant.get("/v1/signals?limit=200").await;
    let cursor = id(&page["next_cursor"]);
    let act = json!({ "account": account, "action": "issues.opened" });
    let follow = ["signals", "tail", "--cursor", &cursor, "--count", "1"];
    let child = reader.spawn(&follow);
    system.sim("github/act", act).await;
    let end = tokio::time::timeout(EXIT_TIMEOUT, child.wait_with_output()).await;
    let end = end.expect("a Signal arrives").expect("an exit status");
    let line = String::from_utf8(end.stdout).expect("UTF-8");
    assert!(
        line.contains("issue_created") && line.lines().count() == 1,
        "{line}"
    );
    let note = String::from_utf8(end.stderr).expect("UTF-8");
    assert!(note.contains("--cursor"), "{note}");

    let filter = connection.to_string();
    let list = ["signals", "list", "--connection", &filter, "--limit", "3"];
    let list = reader.json(&list).await;
    assert_eq!(rows(&list, "signals").len(), 3);
    let kinds = reader.text(&["signals", "kinds"]).await;
    assert!(kinds.contains("pr_merged"), "{kinds}");
    let deliveries = reader.json(&["deliveries", "list"]).await;
    let delivery = id(&rows(&deliveries, "deliveries")[0]["id"]);
    let replayed = reader.json(&["deliveries", "replay", &delivery]).await;
    assert!(replayed["job"]["id"].is_string(), "{replayed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_are_applied_and_listed() {
    let db = TestDb::empty().await;
    let command = Poblysh::with_env(&[("POBLYSH_DATABASE_URL", db.url())]);
    let status = command.json(&["migrate", "status"]).await;
    let states_of = |status: &Value| -> Vec<String> {
        rows(status, "migrations")
            .iter()
            .map(|one| id(&one["state"]))
            .collect()
    };
    assert!(
        states_of(&status).iter().all(|state| state == "pending"),
        "{status}"
    );
    let applied = command.json(&["migrate", "up"]).await;
    assert_eq!(rows(&applied, "applied").len(), states_of(&status).len());
    let status = command.json(&["migrate", "status"]).await;
    assert!(
        states_of(&status).iter().all(|state| state == "applied"),
        "{status}"
    );
    let again = command.text(&["migrate", "up"]).await;
    assert!(again.contains("up to date"), "{again}");
    let nowhere = command
        .set("POBLYSH_DATABASE_URL", "")
        .run(&["migrate", "up"])
        .await;
    assert_eq!(nowhere.status, Some(1));
    assert!(
        nowhere.stderr.contains("POBLYSH_DATABASE_URL"),
        "{nowhere:?}"
    );
}
