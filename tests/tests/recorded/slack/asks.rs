//! Slack's methods: what comes out when the connector asks, and what must.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use shared::connectors::{
    Access, CallbackOutcome, ConnectorError, DirectoryEntry, DirectoryKey, DirectoryKind,
    ExternalAccount, Grant, WebhookDelivery,
};

use super::slack;
use super::table::{message, ts};
use crate::answers::Exchange;
use crate::provider::SECRET;
use crate::scene::{Facts, Scene, compare};
use crate::server::Answer;

const CHANNEL: &str = "C0CHANNEL";

/// Has the connector ask, and compares what comes out; `None` where it never asks so.
pub(super) async fn ask(exchange: &Exchange, method: &str) -> Option<String> {
    Some(match method {
        "conversations.history" => history(exchange).await,
        "conversations.replies" => replies(exchange).await,
        "conversations.list" => channel_list(exchange).await,
        "users.conversations" => own_channels(exchange).await,
        "users.list" => people(exchange).await,
        "users.info" | "conversations.info" | "bots.info" => one_name(exchange, method).await,
        "auth.test" => identity(exchange).await,
        "oauth.v2.access" => token(exchange).await,
        "auth.teams.list" => workspaces(exchange).await,
        "apps.event.authorizations.list" => recipients(exchange).await,
        "apps.uninstall" => uninstall(exchange).await,
        _ => return None,
    })
}

/// How a channel's messages are refused with this answer.
pub(super) async fn refused(exchange: &Exchange) -> ConnectorError {
    let scene = scene(&[("conversations.history", exchange.answer())]).await;
    let page = scene.page(&format!("messages:{CHANNEL}"), None).await;
    page.expect_err("a refusal")
}

/// Slack, which answers these methods so, and every other with empty lists.
async fn scene(given: &[(&str, Answer)]) -> Scene {
    let given: BTreeMap<String, Answer> = given
        .iter()
        .map(|(method, answer)| (format!("/api/{method}"), answer.clone()))
        .collect();
    let nothing = Answer::of(&json!({ "ok": true, "channels": [], "members": [], "teams": [] }));
    Scene::start(given, nothing, access(), |base, now| {
        slack(base, SECRET, now)
    })
    .await
}

fn access() -> Access {
    Access {
        account: ExternalAccount {
            settings: json!({ "url": "https://acme.slack.com/", "bot_user_id": "U0BOT" }),
            ..ExternalAccount::of_route("T0TEAM")
        },
        token: "xoxb-token".into(),
        person: None,
    }
}

/// The facts of a list of messages, by the catalogue's table.
fn facts<'v>(messages: impl IntoIterator<Item = &'v Value>, channel: &str) -> Facts {
    let written = [
        "",
        "file_share",
        "bot_message",
        "thread_broadcast",
        "me_message",
    ];
    let mut facts = BTreeSet::new();
    for one in messages {
        if !written.contains(&one["subtype"].as_str().unwrap_or_default()) {
            continue;
        }
        let (kind, key) = message(channel, one).expect("an identity");
        if let Some(at) = ts(&one["edited"]["ts"]) {
            facts.insert((
                "message_edited".to_owned(),
                format!("slack:T0TEAM:{key}:edited:{at}"),
            ));
        }
        facts.insert((kind.to_owned(), format!("slack:T0TEAM:{key}")));
    }
    facts
}

/// Whether an entry says what Slack says of somebody.
fn describes(entry: &DirectoryEntry, user: &Value) -> bool {
    let profile = &user["profile"];
    let stated = [
        &profile["display_name"],
        &user["real_name"],
        &profile["real_name"],
        &user["name"],
    ];
    let known: Vec<&str> = stated
        .into_iter()
        .filter_map(|name| name.as_str().filter(|name| !name.is_empty()))
        .collect();
    let named = match &entry.name {
        Some(name) => known.contains(&name.as_str()),
        None => known.is_empty(),
    };
    let bot = user["is_bot"] == true;
    named && user["id"] == entry.key.id && entry.detail["is_bot"] == bot
}

async fn history(exchange: &Exchange) -> String {
    let scene = scene(&[("conversations.history", exchange.answer())]).await;
    let page = scene
        .page(&format!("messages:{CHANNEL}"), None)
        .await
        .expect("a page");
    let messages = exchange.body["messages"].as_array().expect("messages");
    let gave = compare(&exchange.place, &page, &facts(messages, CHANNEL));
    let threads = messages
        .iter()
        .any(|one| one["reply_count"].as_u64() > Some(0));
    let more = exchange.body["has_more"] == true || threads;
    assert_eq!(page.more, more, "{}", exchange.place);
    gave
}

async fn replies(exchange: &Exchange) -> String {
    let messages = exchange.body["messages"].as_array().expect("messages");
    let mut parent = messages[0].clone();
    parent["reply_count"] = json!(messages.len() - 1);
    let parent = json!({ "ok": true, "has_more": false, "messages": [parent] });
    let scene = scene(&[
        ("conversations.history", Answer::of(&parent)),
        ("conversations.replies", exchange.answer()),
    ])
    .await;
    let stream = format!("messages:{CHANNEL}");
    let first = scene.page(&stream, None).await.expect("a page");
    assert!(first.more, "{}: the parent has replies", exchange.place);
    let page = scene
        .page(&stream, Some(first.cursor))
        .await
        .expect("a page");
    compare(&exchange.place, &page, &facts(&messages[1..], CHANNEL))
}

async fn channel_list(exchange: &Exchange) -> String {
    let scene = scene(&[("conversations.list", exchange.answer())]).await;
    let page = scene.page("channels", None).await.expect("a page");
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
    let gave = compare(&exchange.place, &page, &created);
    let next = exchange.body["response_metadata"]["next_cursor"].as_str();
    assert_eq!(
        page.more,
        next.is_some_and(|next| !next.is_empty()),
        "{}",
        exchange.place
    );
    gave
}

async fn own_channels(exchange: &Exchange) -> String {
    let scene = scene(&[("users.conversations", exchange.answer())]).await;
    let page = scene.page("conversations", None).await.expect("a page");
    let channels = exchange.body["channels"].as_array().expect("channels");
    for channel in channels {
        let id = channel["id"].as_str().expect("an id");
        let stream = format!("messages:{id}");
        assert!(
            page.streams.iter().any(|found| found.key == stream),
            "{}: {id}",
            exchange.place
        );
        let named = |entry: &&DirectoryEntry| entry.key.id == id;
        let entry = page.learned.iter().find(named).expect("a name");
        let name = channel["name"].as_str().filter(|name| !name.is_empty());
        assert_eq!(entry.name.as_deref(), name, "{}", exchange.place);
    }
    format!("{} streams", channels.len())
}

async fn people(exchange: &Exchange) -> String {
    let scene = scene(&[("users.list", exchange.answer())]).await;
    let first = scene.page("conversations", None).await.expect("a page");
    let page = scene
        .page("conversations", Some(first.cursor))
        .await
        .expect("a page");
    let members = exchange.body["members"].as_array().expect("members");
    assert_eq!(page.learned.len(), members.len(), "{}", exchange.place);
    for (entry, user) in page.learned.iter().zip(members) {
        assert!(describes(entry, user), "{}: {entry:?}", exchange.place);
    }
    format!("{} names", members.len())
}

/// What `users.info`, `conversations.info` and `bots.info` say of one.
async fn one_name(exchange: &Exchange, method: &str) -> String {
    let (kind, object) = match method {
        "users.info" => (DirectoryKind::User, "user"),
        "bots.info" => (DirectoryKind::Bot, "bot"),
        _ => (DirectoryKind::Channel, "channel"),
    };
    let scene = scene(&[(method, exchange.answer())]).await;
    let about = &exchange.body[object];
    let id = about["id"].as_str().expect("an id");
    let keys = [DirectoryKey::new(kind, id)];
    let entries = scene
        .connector
        .look_up(&access(), &keys)
        .await
        .expect("names");
    let [entry] = entries.as_slice() else {
        panic!("{}: {entries:?}", exchange.place);
    };
    if kind == DirectoryKind::User {
        assert!(describes(entry, about), "{}: {entry:?}", exchange.place);
    } else {
        let name = about["name"].as_str().filter(|name| !name.is_empty());
        let found = entry.name.as_deref();
        assert_eq!(
            (entry.key.id.as_str(), found),
            (id, name),
            "{}",
            exchange.place
        );
    }
    "1 name".to_owned()
}

/// Connects a workspace, of which both answers are given.
async fn connect(tokens: Answer, identity: Answer) -> Result<CallbackOutcome, ConnectorError> {
    let scene = scene(&[("oauth.v2.access", tokens), ("auth.test", identity)]).await;
    scene.connect().await
}

async fn identity(exchange: &Exchange) -> String {
    let tokens = json!({
        "ok": true, "access_token": "xoxb-token", "scope": "users:read", "bot_user_id": "U0BOT",
        "team": { "id": exchange.body["team_id"] },
    });
    let outcome = connect(Answer::of(&tokens), exchange.answer()).await;
    let Ok(CallbackOutcome::Connected(grant)) = outcome else {
        panic!("{}: {outcome:?}", exchange.place);
    };
    assert_eq!(
        grant.account.settings["url"], exchange.body["url"],
        "{}",
        exchange.place
    );
    "an account".to_owned()
}

async fn token(exchange: &Exchange) -> String {
    let identity = json!({ "ok": true, "url": "https://acme.slack.com/", "team": "Acme" });
    let outcome = connect(exchange.answer(), Answer::of(&identity)).await;
    let id = exchange.body["team"]["id"].as_str().unwrap_or_default();
    match outcome {
        Ok(CallbackOutcome::Connected(grant)) if !id.is_empty() => {
            assert_eq!(grant.account.id, id, "{}", exchange.place);
            "an account".to_owned()
        }
        Err(ConnectorError::Permanent(_)) if id.is_empty() => "refused (no workspace)".to_owned(),
        other => panic!("{}: {other:?}", exchange.place),
    }
}

async fn workspaces(exchange: &Exchange) -> String {
    let scene = scene(&[("auth.teams.list", exchange.answer())]).await;
    let mut request = scene.request("conversations", None);
    request.access.account.settings["organization"] = json!(true);
    let page = scene.connector.sync(request).await.expect("a page");
    let teams = exchange.body["teams"].as_array().expect("teams");
    let last = teams.last().and_then(|team| team["id"].as_str());
    let stream = format!("channels:{}", last.expect("an id"));
    let found = page.streams.iter().any(|found| found.key == stream);
    assert!(found, "{}: {:?}", exchange.place, page.streams);
    format!("{} workspaces", teams.len())
}

/// Everybody whom an event is for.
async fn recipients(exchange: &Exchange) -> String {
    let scene = scene(&[("apps.event.authorizations.list", exchange.answer())]).await;
    let delivery = WebhookDelivery {
        headers: Vec::new(),
        body: json!({ "event_context": "4-context" }).to_string().into(),
        received_at: scene.now,
        account: access().account,
    };
    let found = scene.connector.recipients(&delivery).await.expect("routes");
    let seen = exchange.body["authorizations"]
        .as_array()
        .expect("installations");
    let mut routes: Vec<&str> = seen
        .iter()
        .filter_map(|one| {
            let organization = one["is_enterprise_install"] == true;
            one[if organization {
                "enterprise_id"
            } else {
                "team_id"
            }]
            .as_str()
        })
        .collect();
    routes.sort_unstable();
    assert_eq!(found, routes, "{}", exchange.place);
    format!("{} routes", routes.len())
}

async fn uninstall(exchange: &Exchange) -> String {
    let scene = scene(&[("apps.uninstall", exchange.answer())]).await;
    let grant = Grant {
        account: access().account,
        access_token: Some("xoxb-token".into()),
        refresh_token: None,
    };
    scene.connector.revoke(&grant).await.expect("an end");
    "an end".to_owned()
}
