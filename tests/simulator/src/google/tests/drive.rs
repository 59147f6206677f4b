//! Tests of Drive's lists, its log of changes and its ledger.

use super::*;

const CHANGES: &str = "fields=*&supportsAllDrives=true&includeItemsFromAllDrives=true\
                       &includeCorpusRemovals=true";

impl Fixture {
    async fn token_of_changes(&self, tokens: &Value) -> String {
        let path = "/drive/v3/changes/startPageToken";
        text(&self.get_json(tokens, path).await, "startPageToken")
    }

    /// All changes from a token, and the next start token.
    async fn changes(&self, tokens: &Value, from: &str) -> (Vec<Value>, String) {
        let (mut rows, mut token) = (Vec::new(), from.to_owned());
        loop {
            let path = format!("/drive/v3/changes?pageToken={token}&{CHANGES}");
            let page = self.get_json(tokens, &path).await;
            rows.extend(page["changes"].as_array().cloned().unwrap_or_default());
            assert!(page["nextPageToken"].is_null() != page["newStartPageToken"].is_null());
            if let Some(last) = page["newStartPageToken"].as_str() {
                return (rows, last.to_owned());
            }
            token = text(&page, "nextPageToken");
        }
    }

    fn shown(&self, person: usize) -> Vec<(String, bool)> {
        let rows = self.ledger(person).into_iter().filter(|row| row.poll);
        rows.map(|row| (row.kind, row.polled)).collect()
    }

    async fn file(&self, params: Value) -> String {
        let created = self.act("file.created", params).await;
        text(&created["object"], "id")
    }
}

fn row(kind: &str, polled: bool) -> (String, bool) {
    (kind.to_owned(), polled)
}

#[tokio::test]
async fn edits_between_polls_are_one_change() {
    let fixture = fixture(StatusCode::OK).await;
    let tokens = fixture.connect(0, SCOPE).await;
    let start = fixture.token_of_changes(&tokens).await;
    let old = json!({ "created_time": "2015-01-01T00:00:00Z" });
    let file = fixture.file(old).await;
    for _ in 0..10 {
        fixture.act("file.edited", json!({ "file": file })).await;
    }
    let (changes, next) = fixture.changes(&tokens, &start).await;
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0]["file"]["id"], file);
    assert_eq!(
        fixture.shown(0),
        [row("file_created", true), row("file_updated", true)]
    );
    let updates = fixture.ledger(0).into_iter();
    let updates = updates.filter(|row| row.kind == "file_updated").count();
    assert_eq!(updates, 11, "a row per time of modification");
    let (again, _) = fixture.changes(&tokens, &start).await;
    assert_eq!(again, changes, "a token can be read again");
    let (none, _) = fixture.changes(&tokens, &next).await;
    assert!(none.is_empty());
}

#[tokio::test]
async fn changes_are_paged_without_loss() {
    let fixture = fixture(StatusCode::OK).await;
    let settings = json!({ "max_page_size": 3 });
    fixture.control("google_drive/settings", settings).await;
    let tokens = fixture.connect(0, SCOPE).await;
    let start = fixture.token_of_changes(&tokens).await;
    for _ in 0..10 {
        fixture.file(json!({})).await;
    }
    let (changes, _) = fixture.changes(&tokens, &start).await;
    assert_eq!(changes.len(), 10);
    let mut path = "/drive/v3/files?pageSize=1000&orderBy=modifiedTime desc".to_owned();
    let mut files = 0;
    loop {
        let page = fixture.get_json(&tokens, &path).await;
        files += page["files"].as_array().map_or(0, Vec::len);
        // New files do not move others past the token.
        fixture.file(json!({})).await;
        let Some(token) = page["nextPageToken"].as_str() else {
            break;
        };
        path = format!("/drive/v3/files?orderBy=modifiedTime desc&pageToken={token}");
    }
    assert_eq!(files, 10);
}

#[tokio::test]
async fn shared_file_is_a_fact_of_each_viewer() {
    let fixture = fixture(StatusCode::OK).await;
    let (owner, viewer) = (
        fixture.connect(0, SCOPE).await,
        fixture.connect(1, SCOPE).await,
    );
    let start = fixture.token_of_changes(&viewer).await;
    let file = fixture.file(json!({})).await;
    assert!(fixture.ledger(1).is_empty());
    let with = json!({ "file": file, "with": fixture.people[1].1 });
    fixture.act("file.shared", with.clone()).await;
    assert_eq!(
        fixture.shown(1),
        [row("file_created", false), row("file_shared", false)]
    );
    let path = "/drive/v3/files?q=sharedWithMe&fields=files(id,sharedWithMeTime,sharingUser(me))";
    let shared = fixture.get_json(&viewer, path).await;
    assert_eq!(shared["files"][0]["sharingUser"], json!({ "me": false }));
    assert_eq!(fixture.get_json(&owner, path).await["files"], json!([]));
    fixture.act("file.unshared", with).await;
    let (changes, _) = fixture.changes(&viewer, &start).await;
    assert_eq!(changes.len(), 1);
    assert_eq!(
        (&changes[0]["removed"], &changes[0]["file"]),
        (&json!(true), &Value::Null)
    );
    assert_eq!(fixture.shown(1), [row("file_removed", true)]);
}

#[tokio::test]
async fn person_outside_shares_a_file() {
    let fixture = fixture(StatusCode::OK).await;
    let viewer = fixture.connect(0, SCOPE).await;
    let start = fixture.token_of_changes(&viewer).await;
    let outside = json!({ "actor": "eve@outside.example", "text": "Offer" });
    let shared = fixture.act("file.shared", outside).await;
    let file = text(&shared["object"], "id");
    let (changes, _) = fixture.changes(&viewer, &start).await;
    assert_eq!(changes.len(), 1);
    let shown = &changes[0]["file"];
    assert_eq!(shown["id"], file.as_str());
    assert_eq!(shown["ownedByMe"], false);
    for user in [&shown["owners"][0], &shown["sharingUser"]] {
        assert_eq!(user["emailAddress"], "eve@outside.example");
        assert!(!text(user, "permissionId").is_empty());
    }
    let expected = [row("file_created", true), row("file_shared", true)];
    assert_eq!(fixture.shown(0), expected);
    // The same person shares it with a colleague.
    fixture.connect(1, SCOPE).await;
    let again = json!({
        "actor": "Eve@outside.example", "file": file, "with": fixture.people[1].1,
    });
    let shared = fixture.act("file.shared", again).await;
    assert_eq!(text(&shared["object"], "id"), file, "{shared}");
    assert_eq!(fixture.shown(1).len(), 2);
}

#[tokio::test]
async fn impossible_action_creates_no_file() {
    let fixture = fixture(StatusCode::OK).await;
    let tokens = fixture.connect(0, SCOPE).await;
    for (action, rest) in [
        ("file.painted", json!({})),
        ("file.edited", json!({ "modified_time": "yesterday" })),
        ("file.moved", json!({ "to": "nowhere" })),
        ("file.shared", json!({ "with": fixture.people[0].1 })),
        ("file.shortcut", json!({ "to": "nowhere" })),
        ("file.untrashed", json!({})),
    ] {
        let mut body = rest;
        body["account"] = json!(fixture.people[0].0);
        body["action"] = json!(action);
        let url = format!("{}/_sim/google_drive/act", fixture.simulator.base_url());
        let response = fixture.client.post(url).json(&body).send().await;
        let status = response.expect("a response").status();
        assert!(status.is_client_error(), "{action}: {status}");
    }
    let files = fixture.get_json(&tokens, "/drive/v3/files").await;
    assert_eq!(files["files"], json!([]));
    assert!(fixture.ledger(0).is_empty());
}

#[tokio::test]
async fn trashed_folder_is_one_fact() {
    let fixture = fixture(StatusCode::OK).await;
    let tokens = fixture.connect(0, SCOPE).await;
    let start = fixture.token_of_changes(&tokens).await;
    let folder = fixture.file(json!({ "folder": true })).await;
    for _ in 0..3 {
        fixture.file(json!({ "to": folder })).await;
    }
    fixture.act("file.trashed", json!({ "file": folder })).await;
    let (changes, _) = fixture.changes(&tokens, &start).await;
    let trashed = |change: &&Value| change["file"]["trashed"] == true;
    assert_eq!(changes.iter().filter(trashed).count(), 4);
    let facts = || {
        let rows = fixture.ledger(0).into_iter();
        let rows = rows.filter(|row| row.kind == "file_trashed");
        rows.map(|row| row.poll).collect::<Vec<_>>()
    };
    assert_eq!(facts(), [true]);
    fixture
        .act("file.untrashed", json!({ "file": folder }))
        .await;
    assert_eq!(facts(), [false]);
    fixture.act("file.trashed", json!({ "file": folder })).await;
    assert_eq!(facts(), [true], "the same key in My Drive");
    fixture.token_of_changes(&tokens).await;
    assert_eq!(facts(), [true], "not read yet");
    fixture.changes(&tokens, &start).await;
    let (_, next) = fixture.changes(&tokens, &start).await;
    fixture.changes(&tokens, &next).await;
    fixture.token_of_changes(&tokens).await;
    assert_eq!(facts(), [false], "a full sync does not show it");
}

#[tokio::test]
async fn shared_drive_needs_its_parameters() {
    let fixture = fixture(StatusCode::OK).await;
    let tokens = fixture.connect(0, SCOPE).await;
    let start = fixture.token_of_changes(&tokens).await;
    let accounts = fixture.control_get("google_drive/accounts").await;
    let drive = text(&accounts["accounts"][0]["drives"][0], "id");
    let file = fixture.file(json!({ "to": drive })).await;
    let path = format!("/drive/v3/changes?pageToken={start}&fields=*");
    let own = fixture.get_json(&tokens, &path).await;
    assert_eq!(own["changes"], json!([]));
    let (changes, _) = fixture.changes(&tokens, &start).await;
    let shown = &changes[0]["file"];
    assert_eq!(shown["driveId"], drive);
    for withheld in ["owners", "ownedByMe", "shared", "permissionIds"] {
        assert!(shown[withheld].is_null(), "{withheld}");
    }
    let path = format!("/drive/v3/changes/startPageToken?driveId={drive}");
    let refused = fixture.get(&tokens, &path).await;
    assert_eq!(refused.status(), StatusCode::NOT_FOUND);
    let path = format!("{path}&supportsAllDrives=true");
    let token = text(&fixture.get_json(&tokens, &path).await, "startPageToken");
    fixture
        .act("file.moved", json!({ "file": file, "to": "root" }))
        .await;
    let path = format!("/drive/v3/changes?driveId={drive}&pageToken={token}&{CHANGES}");
    let left = fixture.get_json(&tokens, &path).await;
    assert_eq!(left["changes"][0]["removed"], true);
    assert_eq!(left["changes"][0]["file"]["id"], file);
}

#[tokio::test]
async fn expired_page_token_has_the_chosen_status() {
    let fixture = fixture(StatusCode::OK).await;
    let tokens = fixture.connect(0, SCOPE).await;
    for status in [400, 404, 410] {
        let start = fixture.token_of_changes(&tokens).await;
        let expire = json!({ "expire": fixture.people[0].1, "status": status });
        fixture.control("google_drive/cursors", expire).await;
        let path = format!("/drive/v3/changes?pageToken={start}");
        let response = fixture.get(&tokens, &path).await;
        assert_eq!(response.status().as_u16(), status);
    }
}

#[tokio::test]
async fn removal_without_client_is_not_on_api() {
    let fixture = fixture(StatusCode::OK).await;
    let removals = || {
        let rows = fixture.ledger(0).into_iter();
        let rows = rows.filter(|row| row.kind == "file_removed");
        rows.map(|row| row.poll).collect::<Vec<_>>()
    };
    let delete = async || {
        let file = fixture.file(json!({})).await;
        fixture.act("file.deleted", json!({ "file": file })).await;
    };
    delete().await;
    let tokens = fixture.connect(0, SCOPE).await;
    fixture.token_of_changes(&tokens).await;
    assert_eq!(removals(), [false], "before the first token");
    delete().await;
    assert_eq!(removals(), [false, true]);
    let person = json!({ "revoke": fixture.people[0].0 });
    fixture.control("google/tokens", person).await;
    delete().await;
    let tokens = fixture.connect(0, SCOPE).await;
    fixture.token_of_changes(&tokens).await;
    assert_eq!(removals(), [false; 3], "the client had lost its token");
    delete().await;
    let expire = json!({ "expire": fixture.people[0].0 });
    fixture.control("google_drive/cursors", expire).await;
    delete().await;
    assert_eq!(removals(), [false; 5], "no token reaches them");
}

#[tokio::test]
async fn new_start_passes_over_earlier_removals() {
    let fixture = fixture(StatusCode::OK).await;
    let tokens = fixture.connect(0, SCOPE).await;
    let start = fixture.token_of_changes(&tokens).await;
    fixture.changes(&tokens, &start).await;
    let file = fixture.file(json!({})).await;
    fixture.act("file.deleted", json!({ "file": file })).await;
    let new = fixture.token_of_changes(&tokens).await;
    let removed = [row("file_removed", false)];
    assert_eq!(fixture.shown(0), removed, "the client may read on");
    fixture.changes(&tokens, &new).await;
    assert!(fixture.shown(0).is_empty(), "no client sees it");
}

#[tokio::test]
async fn shared_drive_is_visible_to_its_members_only() {
    let fixture = fixture(StatusCode::OK).await;
    let member = fixture.connect(1, SCOPE).await;
    let start = fixture.token_of_changes(&member).await;
    let created = fixture.act("drive.created", json!({ "text": "New" })).await;
    let drive = text(&created["object"], "id");
    fixture.file(json!({ "to": drive })).await;
    let (changes, _) = fixture.changes(&member, &start).await;
    assert!(changes.is_empty());
    let with = json!({ "to": drive, "with": fixture.people[1].1 });
    fixture.act("drive.joined", with.clone()).await;
    let (changes, _) = fixture.changes(&member, &start).await;
    assert_eq!(changes[0]["changeType"], "drive");
    assert_eq!(changes[0]["drive"]["name"], "New");
    assert_eq!(fixture.shown(1), [row("file_created", false)]);
    fixture.act("drive.left", with).await;
    let (changes, _) = fixture.changes(&member, &start).await;
    assert_eq!((changes.len(), &changes[0]["removed"]), (1, &json!(true)));
    assert!(fixture.shown(1).is_empty());
}

#[tokio::test]
async fn fields_are_mandatory_for_about() {
    let fixture = fixture(StatusCode::OK).await;
    let tokens = fixture.connect(0, SCOPE).await;
    let refused = fixture.get(&tokens, "/drive/v3/about").await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    let path = "/drive/v3/about?fields=user/emailAddress";
    let about = fixture.get_json(&tokens, path).await;
    assert_eq!(
        about,
        json!({ "user": { "emailAddress": fixture.people[0].1 } })
    );
    let malformed = fixture.get(&tokens, "/drive/v3/about?fields=user(").await;
    assert_eq!(malformed.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn batch_answers_each_request_in_its_part() {
    let fixture = fixture(StatusCode::OK).await;
    let tokens = fixture.connect(0, SCOPE).await;
    let body = "--b\r\nContent-Type: application/http\r\nContent-ID: <1>\r\n\r\n\
                GET /drive/v3/about?fields=kind HTTP/1.1\r\n\r\n\r\n\
                --b\r\nContent-Type: application/http\r\nContent-ID: <2>\r\n\r\n\
                GET /drive/v3/files/none HTTP/1.1\r\n\r\n\r\n--b--\r\n";
    let request = fixture.client.post(fixture.url("/batch/drive/v3"));
    let request = request
        .bearer_auth(text(&tokens, "access_token"))
        .header("content-type", "multipart/mixed; boundary=\"b\"")
        .body(body);
    let response = request.send().await.expect("a response");
    let answer = response.text().await.expect("a body");
    assert!(answer.contains("Content-ID: <response-1>"), "{answer}");
    assert!(answer.contains("{\"kind\":\"drive#about\"}"), "{answer}");
    assert!(answer.contains("HTTP/1.1 404 Not Found"), "{answer}");
}

#[tokio::test]
async fn quota_rejects_with_the_recorded_body() {
    let fixture = fixture(StatusCode::OK).await;
    let tokens = fixture.connect(0, SCOPE).await;
    let quotas = json!({ "quotas": {
        "google_drive": { "project_per_minute": null, "user_per_minute": 8 },
    } });
    fixture.control("google/settings", quotas).await;
    let path = "/drive/v3/about?fields=user";
    fixture.get_json(&tokens, path).await;
    let refused = fixture.get(&tokens, path).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert!(refused.headers().get("retry-after").is_none());
    let error = &json_of(refused).await["error"];
    assert_eq!(error["status"], "PERMISSION_DENIED");
    assert_eq!(error["errors"][0]["reason"], "rateLimitExceeded");
    assert_eq!(error["details"][0]["reason"], "RATE_LIMIT_EXCEEDED");
    let usage = fixture
        .simulator
        .usage("google_drive", &fixture.people[0].0);
    assert_eq!((usage.charged, usage.refused), (5, 1));
    fixture
        .control("clock", json!({ "advance_seconds": 60 }))
        .await;
    fixture.get_json(&tokens, path).await;
}

#[tokio::test]
async fn faults_apply_to_every_path() {
    let fixture = fixture(StatusCode::OK).await;
    for path in ["/oauth2/v3/certs", "/drive/v3/files", "/o/oauth2/v2/auth"] {
        let subject = format!("GET /google{path}");
        let rule = json!({
            "target": "request", "effect": "status", "status": 503, "pattern": subject, "count": 1,
        });
        fixture.control("faults", rule).await;
        let response = fixture.client.get(fixture.url(path)).send().await;
        assert_eq!(
            response.expect("a response").status().as_u16(),
            503,
            "{path}"
        );
    }
}

#[tokio::test]
async fn generated_history_is_on_the_lists() {
    let fixture = fixture(StatusCode::OK).await;
    let new = json!({ "name": "past", "people": 1, "history": 40 });
    let account = fixture.control("google_drive/accounts", new).await;
    let login = text(&account, "login");
    let rows = fixture.simulator.ledger(&Filter {
        account: Some(login.clone()),
        ..Filter::default()
    });
    assert!(rows.len() >= 40, "{}", rows.len());
    assert!(
        rows.iter().all(|row| !row.webhook && !row.poll),
        "no grant yet"
    );
    let body = json!({ "count": 20, "account": login });
    let generated = fixture.control("google_drive/generate", body).await;
    assert!(generated["facts"].as_u64().is_some_and(|facts| facts > 0));
}
