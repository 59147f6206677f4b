//! The list of calendars, the account, and channels.

use serde_json::{Value, json};
use url::Url;

use super::at;
use super::server::{Calendars, access, error};
use crate::connectors::{Connector, Renewal, SubscribeRequest, SyncPage};
use crate::model::SubscriptionSpec;

fn calendar(id: &str, role: &str) -> Value {
    json!({ "kind": "calendar#calendarListEntry", "id": id, "summary": id, "accessRole": role })
}

async fn list(calendars: &Calendars, body: Value) -> SyncPage {
    calendars.answer(200, body).await;
    calendars.read("calendars", None).await.expect("a page")
}

fn stream_keys(page: &SyncPage) -> Vec<&str> {
    page.streams
        .iter()
        .map(|stream| stream.key.as_str())
        .collect()
}

/// A request for a channel of the primary calendar.
fn subscribe_request() -> SubscribeRequest {
    SubscribeRequest {
        spec: SubscriptionSpec {
            resource: "events:ada@example.com".to_owned(),
            target: json!({}),
        },
        planned_id: Some("channel-1".to_owned()),
        webhook_url: Url::parse("https://hooks.example/webhooks/google_calendar").expect("a URL"),
    }
}

#[tokio::test]
async fn writable_calendars_have_stream_and_channel() {
    let calendars = Calendars::start().await;
    let mut primary = calendar("ada@example.com", "reader");
    primary["primary"] = json!(true);
    let mut removed = calendar("removed@group.calendar.google.com", "owner");
    removed["deleted"] = json!(true);
    let mut renamed = calendar("team@group.calendar.google.com", "writer");
    renamed["summaryOverride"] = json!("The team");
    let page = list(
        &calendars,
        json!({ "items": [
            primary, renamed, removed,
            calendar("own@group.calendar.google.com", "owner"),
            calendar("bob@example.com", "reader"),
            calendar("cyd@example.com", "freeBusyReader"),
            calendar("dee@example.com", "writerWithoutPrivateAccess"),
            calendar("en.usa#holiday@group.v.calendar.google.com", "owner"),
        ] }),
    )
    .await;
    let expected = [
        "events:ada@example.com",
        "events:own@group.calendar.google.com",
        "events:team@group.calendar.google.com",
    ];
    assert_eq!(stream_keys(&page), expected);
    let subscribed: Vec<&str> = page
        .subscriptions
        .iter()
        .map(|subscription| subscription.resource.as_str())
        .collect();
    assert_eq!(subscribed, expected);
    assert_eq!(page.streams[2].target, json!({ "name": "The team" }));
    assert!(!page.has_more && !page.is_list_partial);
}

#[tokio::test]
async fn calendars_without_webhook_secret_are_polled() {
    let calendars = Calendars::with_settings(&[]).await;
    let page = list(
        &calendars,
        json!({ "items": [calendar("a@example.com", "owner")] }),
    )
    .await;
    assert_eq!(stream_keys(&page), ["events:a@example.com"]);
    assert!(page.subscriptions.is_empty());
}

#[tokio::test]
async fn unreadable_calendar_makes_whole_pass_partial() {
    let calendars = Calendars::start().await;
    let rows = json!([calendar("a@example.com", "owner"), { "summary": "without an id" }, 7]);
    let page = list(&calendars, json!({ "items": rows, "nextPageToken": "p2" })).await;
    assert!(page.has_more && page.is_list_partial);
    assert_eq!(page.unreadable_rows.len(), 2);
    calendars
        .answer(
            200,
            json!({ "items": [calendar("b@example.com", "owner")] }),
        )
        .await;
    let last = calendars
        .read("calendars", Some(page.cursor))
        .await
        .expect("a page");
    assert!(!last.has_more && last.is_list_partial);
    assert_eq!(calendars.last_query().await["pageToken"], "p2");
    assert_eq!(last.cursor, json!({ "page": null, "is_partial": false }));
}

#[tokio::test]
async fn expired_page_token_restarts_list() {
    let calendars = Calendars::start().await;
    let second_page = json!({ "page": "p2", "is_partial": false });
    for (cursor, status, code) in [
        (Some(second_page.clone()), 400, "cursor_expired"),
        (Some(second_page), 410, "cursor_expired"),
        (None, 400, "permanent"),
    ] {
        calendars.answer(status, error(status, "invalid")).await;
        let result = calendars.read("calendars", cursor).await;
        assert_eq!(result.expect_err("rejected").code(), code, "{status}");
    }
}

#[tokio::test]
async fn response_without_list_retires_no_stream() {
    let calendars = Calendars::start().await;
    calendars
        .answer(200, json!({ "kind": "calendar#calendarList" }))
        .await;
    let result = calendars.read("calendars", None).await;
    assert_eq!(result.expect_err("no list").code(), "permanent");
}

#[tokio::test]
async fn account_has_address_of_primary_calendar() {
    let calendars = Calendars::start().await;
    calendars
        .answer(200, calendar("new@example.com", "owner"))
        .await;
    let described = calendars.connector.describe_account(&access()).await;
    let account = described.expect("described").expect("an account");
    assert_eq!(
        (account.name.as_str(), account.id.as_str()),
        ("new@example.com", "117")
    );
    let requests = calendars.requests().await;
    assert_eq!(requests[0].0, "/calendar/v3/users/me/calendarList/primary");
}

#[tokio::test]
async fn channel_watches_events_without_token() {
    let calendars = Calendars::start().await;
    let expiration = at("2026-12-20T00:00:00Z").timestamp_millis().to_string();
    let created =
        json!({ "id": "channel-1", "resourceId": "resource-1", "expiration": expiration });
    for renewed in [false, true] {
        calendars.answer(200, created.clone()).await;
        let request = subscribe_request();
        let held = calendars.connector.subscribe(&access(), &request).await;
        let mut held = held.expect("a channel");
        if renewed {
            calendars.answer(200, created.clone()).await;
            let renewal = calendars.connector.renew(&access(), &held, &request).await;
            let Ok(Renewal::Replaced(replacement)) = renewal else {
                panic!("a channel is never extended");
            };
            held = replacement;
        }
        assert_eq!(held.route.as_deref(), Some("channel-1"));
        assert_eq!(held.state["resource_id"], "resource-1");
        assert_eq!(held.expires_at, Some(at("2026-12-20T00:00:00Z")));
    }
    for (path, query) in calendars.requests().await {
        assert_eq!(path, "/calendar/v3/calendars/ada@example.com/events/watch");
        assert!(query.is_empty());
    }
}

#[tokio::test]
async fn calendar_that_cannot_be_watched_is_denied() {
    let calendars = Calendars::start().await;
    for (status, reason, code) in [
        (400, "pushNotSupportedForRequestedResource", "permission"),
        (404, "notFound", "permission"),
        (400, "push.webhookUrlNotHttps", "permanent"),
    ] {
        calendars.answer(status, error(status, reason)).await;
        let result = calendars
            .connector
            .subscribe(&access(), &subscribe_request())
            .await;
        assert_eq!(result.expect_err("refused").code(), code, "{reason}");
    }
}
