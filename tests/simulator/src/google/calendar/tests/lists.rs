//! Pages, sync tokens and parameters of lists.

use serde_json::{Value, json};

use super::{Fixture, fixture, ids, service};

const EVENTS: &str = "calendars/primary/events";

fn reason(body: &Value) -> (&str, &str) {
    let error = &body["error"]["errors"][0];
    let text = |name: &str| error[name].as_str().unwrap_or_default();
    (text("reason"), text("location"))
}

async fn expire(fixture: &Fixture, after_pages: u32) {
    let body = json!({ "expire": fixture.address, "after_pages": after_pages });
    let (status, _) = fixture.post("_sim/google_calendar/cursors", body).await;
    assert_eq!(status, 204);
}

#[tokio::test]
async fn sync_token_is_on_the_last_page_only() {
    let fixture = fixture().await;
    for _ in 0..4 {
        fixture.create(json!({})).await;
    }
    fixture.settings(|settings| {
        settings.max_page_size = 2;
        settings.empty_last_page = true;
    });
    let (mut page, mut sizes) = (None::<String>, Vec::new());
    let token = loop {
        let query = page.as_deref().map(|page| ("pageToken", page));
        let query: Vec<_> = query.into_iter().chain([("maxResults", "100")]).collect();
        let (_, body) = fixture.get(EVENTS, &query).await;
        sizes.push(body["items"].as_array().expect("rows").len());
        let tokens = (
            body["nextPageToken"].as_str(),
            body["nextSyncToken"].as_str(),
        );
        match tokens {
            (Some(next), None) => page = Some(next.to_owned()),
            (None, Some(token)) => break token.to_owned(),
            other => panic!("one token of two: {other:?}"),
        }
    };
    assert_eq!(sizes, [2, 2, 0]);
    let (_, body) = fixture.get(EVENTS, &[("syncToken", &token)]).await;
    assert_eq!(body["items"], json!([]));
    assert!(body["nextSyncToken"].is_string(), "also without changes");
}

#[tokio::test]
async fn changes_during_a_list_come_with_its_token() {
    let fixture = fixture().await;
    let first = fixture.create(json!({})).await;
    fixture.create(json!({})).await;
    fixture.settings(|settings| settings.max_page_size = 1);
    let (_, body) = fixture.get(EVENTS, &[]).await;
    fixture
        .act("event.cancelled", json!({ "event": first }))
        .await;
    let new = fixture.create(json!({})).await;
    let page = body["nextPageToken"]
        .as_str()
        .expect("a page token")
        .to_owned();
    let (rows, token) = fixture.list(&[("pageToken", &page)]).await;
    assert_eq!(ids(&rows).last(), Some(&new.as_str()));
    let changes = fixture.changes(&token).await;
    assert_eq!(ids(&changes), [first.as_str(), new.as_str()]);
}

#[tokio::test]
async fn sync_token_excludes_eight_parameters() {
    let fixture = fixture().await;
    let token = fixture.token().await;
    let time = "2026-01-01T00:00:00Z";
    for (name, value) in [
        ("iCalUID", "a"),
        ("orderBy", "updated"),
        ("privateExtendedProperty", "a=b"),
        ("q", "a"),
        ("sharedExtendedProperty", "a=b"),
        ("timeMin", time),
        ("timeMax", time),
        ("updatedMin", time),
        ("showDeleted", "false"),
    ] {
        let (status, body) = fixture
            .get(EVENTS, &[("syncToken", &token), (name, value)])
            .await;
        assert_eq!((status, reason(&body)), (400, ("badRequest", name)));
    }
    let (status, body) = fixture.get(EVENTS, &[("syncToken", "x")]).await;
    assert_eq!((status, reason(&body)), (400, ("invalid", "syncToken")));
    let (status, body) = fixture.get(EVENTS, &[("pageToken", &token)]).await;
    assert_eq!((status, reason(&body)), (400, ("invalid", "")));
}

#[tokio::test]
async fn changed_parameters_expire_token_by_setting() {
    let fixture = fixture().await;
    let (_, token) = fixture
        .list(&[("showDeleted", "true"), ("fields", "*")])
        .await;
    let changed = [("syncToken", token.as_str())];
    let same = [("syncToken", token.as_str()), ("showDeleted", "true")];
    assert_eq!(fixture.get(EVENTS, &changed).await.0, 200);
    fixture.settings(|settings| settings.changed_parameters_expire = true);
    assert_eq!(fixture.get(EVENTS, &same).await.0, 200);
    let (status, body) = fixture.get(EVENTS, &changed).await;
    assert_eq!(
        (status, reason(&body)),
        (410, ("fullSyncRequired", "syncToken"))
    );
}

#[tokio::test]
async fn deletion_is_found_after_expiry() {
    let fixture = fixture().await;
    let id = fixture.create(json!({})).await;
    let token = fixture.token().await;
    fixture.act("event.cancelled", json!({ "event": id })).await;
    expire(&fixture, 0).await;
    let (status, body) = fixture.get(EVENTS, &[("syncToken", &token)]).await;
    let expected = json!({
        "error": {
            "errors": [{
                "domain": "calendar", "reason": "fullSyncRequired",
                "message": "Sync token is no longer valid, a full sync is required.",
                "locationType": "parameter", "location": "syncToken",
            }],
            "code": 410,
            "message": "Sync token is no longer valid, a full sync is required.",
        }
    });
    assert_eq!((status, body), (410, expected));
    let key = format!("event:{id}:cancelled");
    assert!(!fixture.row(&key).polled);
    let (rows, token) = fixture.list(&[("showDeleted", "true")]).await;
    assert_eq!(ids(&rows), [id.as_str()]);
    assert!(fixture.row(&key).polled);
    assert!(fixture.changes(&token).await.is_empty());
    let (status, body) = fixture.get(&format!("{EVENTS}/{id}"), &[]).await;
    assert_eq!((status, reason(&body).0), (410, "deleted"));
}

#[tokio::test]
async fn token_expires_between_two_pages() {
    let fixture = fixture().await;
    let token = fixture.token().await;
    for _ in 0..3 {
        fixture.create(json!({})).await;
    }
    fixture.settings(|settings| settings.max_page_size = 1);
    expire(&fixture, 1).await;
    let (status, body) = fixture.get(EVENTS, &[("syncToken", &token)]).await;
    assert_eq!(status, 200);
    let page = body["nextPageToken"].as_str().expect("a page token");
    let query = [("syncToken", token.as_str()), ("pageToken", page)];
    assert_eq!(fixture.get(EVENTS, &query).await.0, 410);
    assert_eq!(fixture.list(&[]).await.0.len(), 3, "a full list continues");
}

#[tokio::test]
async fn old_deletions_vanish_with_their_tokens() {
    let fixture = fixture().await;
    let id = fixture.create(json!({})).await;
    let token = fixture.token().await;
    fixture.act("event.cancelled", json!({ "event": id })).await;
    fixture.settings(|settings| {
        settings.tombstone_days = Some(30);
        settings.max_updated_min_days = Some(28);
    });
    let key = format!("event:{id}:cancelled");
    assert!(fixture.row(&key).poll);
    let clock = &service(&fixture.simulator).google.core.clock;
    let updated_min = crate::clock::iso(clock.seconds() - 86_400);
    let query = [("updatedMin", updated_min.as_str())];
    assert_eq!(fixture.list(&query).await.0.len(), 1, "without showDeleted");
    clock.advance(31 * 86_400);
    assert!(!fixture.row(&key).poll);
    assert!(fixture.list(&[("showDeleted", "true")]).await.0.is_empty());
    assert_eq!(fixture.get(EVENTS, &[("syncToken", &token)]).await.0, 410);
    let (status, body) = fixture.get(EVENTS, &query).await;
    assert_eq!(
        (status, reason(&body)),
        (410, ("updatedMinTooLongAgo", "updatedMin"))
    );
    assert_eq!(fixture.get(&format!("{EVENTS}/{id}"), &[]).await.0, 404);
}

#[tokio::test]
async fn rows_that_fields_leave_out_are_not_polled() {
    let fixture = fixture().await;
    let id = fixture.create(json!({})).await;
    let key = format!("event:{id}:created");
    let (_, body) = fixture
        .get(EVENTS, &[("fields", "nextPageToken,nextSyncToken")])
        .await;
    let fields = body.as_object().expect("an object").keys();
    assert_eq!(fields.collect::<Vec<_>>(), ["nextSyncToken"]);
    assert!(!fixture.row(&key).polled);
    fixture
        .get(EVENTS, &[("fields", "items(id,updated)")])
        .await;
    assert!(fixture.row(&key).polled);
}

#[tokio::test]
async fn three_hundred_calendars_have_pages() {
    let fixture = fixture().await;
    let body = json!({ "name": "large", "calendars": 300, "people": 1 });
    let (status, account) = fixture.post("_sim/google_calendar/accounts", body).await;
    assert_eq!(status, 201);
    let login = account["login"].as_str().expect("a login");
    assert_eq!(account["calendars"].as_array().map(Vec::len), Some(302));
    let token = super::grant(service(&fixture.simulator), login);
    let path = "users/me/calendarList";
    let query = [("maxResults", "1000"), ("minAccessRole", "writer")];
    let (_, first) = fixture.get_with(&token, path, &query).await;
    assert_eq!(first["items"].as_array().map(Vec::len), Some(250));
    assert!(first["nextSyncToken"].is_null());
    let page = first["nextPageToken"].as_str().expect("a page token");
    let (_, last) = fixture
        .get_with(&token, path, &[query[0], query[1], ("pageToken", page)])
        .await;
    assert_eq!(last["items"].as_array().map(Vec::len), Some(51));
    let sync = last["nextSyncToken"].as_str().expect("a sync token");
    let query = [("syncToken", sync), ("minAccessRole", "writer")];
    assert_eq!(fixture.get_with(&token, path, &query).await.0, 400);
    let (_, body) = fixture.get_with(&token, path, &[("syncToken", sync)]).await;
    assert_eq!(body["items"], json!([]));
}
