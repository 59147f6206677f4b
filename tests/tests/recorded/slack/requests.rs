//! Requests of the connector to Slack's methods, with the expected results.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use shared::connectors::{Access, CallbackOutcome, ConnectorError, Grant, WebhookDelivery};
use shared::model::{DirectoryEntry, DirectoryKey, DirectoryKind, ExternalAccount};

use super::slack;
use super::table::{message, ts};
use crate::exchanges::Exchange;
use crate::fixture::{Facts, Fixture, compare};
use crate::provider::SECRET;
use crate::server::RecordedResponse;

const CHANNEL: &str = "C0CHANNEL";

/// Calls a method through the connector and checks the result; `None` if it never calls it.
pub(super) async fn check_method(exchange: &Exchange, method: &str) -> Option<String> {
    Some(match method {
        "conversations.history" => history(exchange).await,
        "conversations.replies" => replies(exchange).await,
        "conversations.list" => channel_list(exchange).await,
        "users.conversations" => own_channels(exchange).await,
        "users.list" => people(exchange).await,
        "users.info" | "conversations.info" | "bots.info" => {
            directory_entry(exchange, method).await
        }
        "auth.test" => identity(exchange).await,
        "oauth.v2.access" => token(exchange).await,
        "auth.teams.list" => workspaces(exchange).await,
        "apps.event.authorizations.list" => recipients(exchange).await,
        "apps.uninstall" => uninstall(exchange).await,
        _ => return None,
    })
}

/// Error of a channel's sync with this response.
pub(super) async fn sync_error(exchange: &Exchange) -> ConnectorError {
    let fixture = fixture(&[("conversations.history", exchange.response())]).await;
    let page = fixture.page(&format!("messages:{CHANNEL}"), None).await;
    page.expect_err("an error response")
}

/// A fixture with these responses, and empty lists for other methods.
async fn fixture(responses: &[(&str, RecordedResponse)]) -> Fixture {
    let responses: BTreeMap<String, RecordedResponse> = responses
        .iter()
        .map(|(method, response)| (format!("/api/{method}"), response.clone()))
        .collect();
    let empty =
        RecordedResponse::of(&json!({ "ok": true, "channels": [], "members": [], "teams": [] }));
    Fixture::start(responses, empty, access(), |base, now| {
        slack(base, SECRET, now)
    })
    .await
}

fn access() -> Access {
    Access {
        account: ExternalAccount {
            settings: json!({ "url": "https://acme.slack.com/", "bot_user_id": "U0BOT" }),
            ..ExternalAccount::from_route("T0TEAM")
        },
        token: "xoxb-token".into(),
        user_token: None,
    }
}

/// Facts of a list of messages, by the catalogue's table.
fn facts<'v>(messages: impl IntoIterator<Item = &'v Value>, channel: &str) -> Facts {
    let message_subtypes = [
        "",
        "file_share",
        "bot_message",
        "thread_broadcast",
        "me_message",
    ];
    let mut facts = BTreeSet::new();
    for entry in messages {
        if !message_subtypes.contains(&entry["subtype"].as_str().unwrap_or_default()) {
            continue;
        }
        let (kind, key) = message(channel, entry).expect("an identity");
        if let Some(at) = ts(&entry["edited"]["ts"]) {
            facts.insert((
                "message_edited".to_owned(),
                format!("slack:T0TEAM:{key}:edited:{at}"),
            ));
        }
        facts.insert((kind.to_owned(), format!("slack:T0TEAM:{key}")));
    }
    facts
}

/// Whether a directory entry has the name and type of a user.
fn describes(entry: &DirectoryEntry, user: &Value) -> bool {
    let profile = &user["profile"];
    let names = [
        &profile["display_name"],
        &user["real_name"],
        &profile["real_name"],
        &user["name"],
    ];
    let known_names: Vec<&str> = names
        .into_iter()
        .filter_map(|name| name.as_str().filter(|name| !name.is_empty()))
        .collect();
    let name_matches = match &entry.name {
        Some(name) => known_names.contains(&name.as_str()),
        None => known_names.is_empty(),
    };
    let is_bot = user["is_bot"] == true;
    name_matches && user["id"] == entry.key.id && entry.detail["is_bot"] == is_bot
}

async fn history(exchange: &Exchange) -> String {
    let fixture = fixture(&[("conversations.history", exchange.response())]).await;
    let page = fixture
        .page(&format!("messages:{CHANNEL}"), None)
        .await
        .expect("a page");
    let messages = exchange.body["messages"].as_array().expect("messages");
    let result = compare(&exchange.source, &page, &facts(messages, CHANNEL));
    let has_threads = messages
        .iter()
        .any(|message| message["reply_count"].as_u64() > Some(0));
    let has_more = exchange.body["has_more"] == true || has_threads;
    assert_eq!(page.has_more, has_more, "{}", exchange.source);
    result
}

async fn replies(exchange: &Exchange) -> String {
    let messages = exchange.body["messages"].as_array().expect("messages");
    let mut parent = messages[0].clone();
    parent["reply_count"] = json!(messages.len() - 1);
    let parent = json!({ "ok": true, "has_more": false, "messages": [parent] });
    let fixture = fixture(&[
        ("conversations.history", RecordedResponse::of(&parent)),
        ("conversations.replies", exchange.response()),
    ])
    .await;
    let stream = format!("messages:{CHANNEL}");
    let first = fixture.page(&stream, None).await.expect("a page");
    assert!(
        first.has_more,
        "{}: the parent has replies",
        exchange.source
    );
    let page = fixture
        .page(&stream, Some(first.cursor))
        .await
        .expect("a page");
    compare(&exchange.source, &page, &facts(&messages[1..], CHANNEL))
}

async fn channel_list(exchange: &Exchange) -> String {
    let fixture = fixture(&[("conversations.list", exchange.response())]).await;
    let page = fixture.page("channels", None).await.expect("a page");
    let channels = exchange.body["channels"].as_array().expect("channels");
    let created: Facts = channels
        .iter()
        .filter(|channel| channel["created"].is_number() && channel["is_private"] != true)
        .map(|channel| {
            let id = channel["id"].as_str().expect("an id");
            (
                "channel_created".to_owned(),
                format!("slack:T0TEAM:channel:{id}:created"),
            )
        })
        .collect();
    let result = compare(&exchange.source, &page, &created);
    let next = exchange.body["response_metadata"]["next_cursor"].as_str();
    assert_eq!(
        page.has_more,
        next.is_some_and(|next| !next.is_empty()),
        "{}",
        exchange.source
    );
    result
}

async fn own_channels(exchange: &Exchange) -> String {
    let fixture = fixture(&[("users.conversations", exchange.response())]).await;
    let page = fixture.page("conversations", None).await.expect("a page");
    let channels = exchange.body["channels"].as_array().expect("channels");
    for channel in channels {
        let id = channel["id"].as_str().expect("an id");
        let stream = format!("messages:{id}");
        assert!(
            page.streams.iter().any(|found| found.key == stream),
            "{}: {id}",
            exchange.source
        );
        let is_channel = |entry: &&DirectoryEntry| entry.key.id == id;
        let entry = page
            .directory_updates
            .iter()
            .find(is_channel)
            .expect("a name");
        let name = channel["name"].as_str().filter(|name| !name.is_empty());
        assert_eq!(entry.name.as_deref(), name, "{}", exchange.source);
    }
    format!("{} streams", channels.len())
}

async fn people(exchange: &Exchange) -> String {
    let fixture = fixture(&[("users.list", exchange.response())]).await;
    let first = fixture.page("conversations", None).await.expect("a page");
    let page = fixture
        .page("conversations", Some(first.cursor))
        .await
        .expect("a page");
    let members = exchange.body["members"].as_array().expect("members");
    assert_eq!(
        page.directory_updates.len(),
        members.len(),
        "{}",
        exchange.source
    );
    for (entry, user) in page.directory_updates.iter().zip(members) {
        assert!(describes(entry, user), "{}: {entry:?}", exchange.source);
    }
    format!("{} names", members.len())
}

/// Directory entry from `users.info`, `conversations.info` or `bots.info`.
async fn directory_entry(exchange: &Exchange, method: &str) -> String {
    let (kind, object) = match method {
        "users.info" => (DirectoryKind::User, "user"),
        "bots.info" => (DirectoryKind::Bot, "bot"),
        _ => (DirectoryKind::Channel, "channel"),
    };
    let fixture = fixture(&[(method, exchange.response())]).await;
    let object = &exchange.body[object];
    let id = object["id"].as_str().expect("an id");
    let keys = [DirectoryKey::new(kind, id)];
    let entries = fixture
        .connector
        .resolve_directory(&access(), &keys)
        .await
        .expect("names");
    let [entry] = entries.as_slice() else {
        panic!("{}: {entries:?}", exchange.source);
    };
    if kind == DirectoryKind::User {
        assert!(describes(entry, object), "{}: {entry:?}", exchange.source);
    } else {
        let name = object["name"].as_str().filter(|name| !name.is_empty());
        let found = entry.name.as_deref();
        assert_eq!(
            (entry.key.id.as_str(), found),
            (id, name),
            "{}",
            exchange.source
        );
    }
    "1 name".to_owned()
}

/// Completes a connect flow with both responses.
async fn connect(
    tokens: RecordedResponse,
    identity: RecordedResponse,
) -> Result<CallbackOutcome, ConnectorError> {
    let fixture = fixture(&[("oauth.v2.access", tokens), ("auth.test", identity)]).await;
    fixture.connect().await
}

async fn identity(exchange: &Exchange) -> String {
    let tokens = json!({
        "ok": true, "access_token": "xoxb-token", "scope": "users:read", "bot_user_id": "U0BOT",
        "team": { "id": exchange.body["team_id"] },
    });
    let outcome = connect(RecordedResponse::of(&tokens), exchange.response()).await;
    let Ok(CallbackOutcome::Connected(grant)) = outcome else {
        panic!("{}: {outcome:?}", exchange.source);
    };
    assert_eq!(
        grant.account.settings["url"], exchange.body["url"],
        "{}",
        exchange.source
    );
    "an account".to_owned()
}

async fn token(exchange: &Exchange) -> String {
    let identity = json!({ "ok": true, "url": "https://acme.slack.com/", "team": "Acme" });
    let outcome = connect(exchange.response(), RecordedResponse::of(&identity)).await;
    let id = exchange.body["team"]["id"].as_str().unwrap_or_default();
    match outcome {
        Ok(CallbackOutcome::Connected(grant)) if !id.is_empty() => {
            assert_eq!(grant.account.id, id, "{}", exchange.source);
            "an account".to_owned()
        }
        Err(ConnectorError::Permanent(_)) if id.is_empty() => "rejected (no workspace)".to_owned(),
        other => panic!("{}: {other:?}", exchange.source),
    }
}

async fn workspaces(exchange: &Exchange) -> String {
    let fixture = fixture(&[("auth.teams.list", exchange.response())]).await;
    let mut request = fixture.request("conversations", None);
    request.access.account.settings["organization"] = json!(true);
    let page = fixture.connector.sync(request).await.expect("a page");
    let teams = exchange.body["teams"].as_array().expect("teams");
    let last = teams.last().and_then(|team| team["id"].as_str());
    let stream = format!("channels:{}", last.expect("an id"));
    let found = page.streams.iter().any(|found| found.key == stream);
    assert!(found, "{}: {:?}", exchange.source, page.streams);
    format!("{} workspaces", teams.len())
}

/// Recipients of an event.
async fn recipients(exchange: &Exchange) -> String {
    let fixture = fixture(&[("apps.event.authorizations.list", exchange.response())]).await;
    let delivery = WebhookDelivery {
        headers: Vec::new(),
        body: json!({ "event_context": "4-context" }).to_string().into(),
        received_at: fixture.now,
        account: access().account,
        subscription: None,
    };
    let found = fixture
        .connector
        .list_recipients(&delivery)
        .await
        .expect("routes");
    let authorizations = exchange.body["authorizations"]
        .as_array()
        .expect("installations");
    let mut routes: Vec<&str> = authorizations
        .iter()
        .filter_map(|authorization| {
            let is_organization = authorization["is_enterprise_install"] == true;
            authorization[if is_organization {
                "enterprise_id"
            } else {
                "team_id"
            }]
            .as_str()
        })
        .collect();
    routes.sort_unstable();
    assert_eq!(found, routes, "{}", exchange.source);
    format!("{} routes", routes.len())
}

async fn uninstall(exchange: &Exchange) -> String {
    let fixture = fixture(&[("apps.uninstall", exchange.response())]).await;
    let grant = Grant {
        account: access().account,
        access_token: Some("xoxb-token".into()),
        refresh_token: None,
    };
    fixture
        .connector
        .revoke(&grant)
        .await
        .expect("a revocation");
    "a revocation".to_owned()
}
