//! Recorded responses and shapes of Slack's Web API, of methods that the connector calls.

use serde_json::json;

use super::requests::{check_method, sync_error};
use crate::exchanges::{self, Exchange};
use crate::folder::{Folder, Recorded};
use crate::report::Tally;

/// Methods of a response: the recorded one, or all that return such a body.
fn methods(exchange: &Exchange) -> Vec<String> {
    let body = &exchange.body;
    if let Some(path) = &exchange.path {
        let method = path.rsplit('/').next().unwrap_or_default();
        return vec![method.to_owned()];
    }
    let has = |name: &str, part: &str| body[name][part].is_string();
    let found: &[&str] = if body["messages"].is_array() {
        &["conversations.history"]
    } else if body["channels"].is_array() {
        &["users.conversations", "conversations.list"]
    } else if body["members"][0].is_object() {
        &["users.list"]
    } else if has("channel", "id") {
        &["conversations.info"]
    } else if has("user", "id") {
        &["users.info"]
    } else if body["url"].is_string() && body["team_id"].is_string() {
        &["auth.test"]
    } else {
        &[]
    };
    found.iter().map(|&method| method.to_owned()).collect()
}

/// Error code of the connector for an error of Slack, by Slack's documentation.
fn expected_code(error: &str) -> &'static str {
    match error {
        "token_expired" | "invalid_auth" | "token_revoked" | "account_inactive" | "not_authed" => {
            "unauthorized"
        }
        "missing_scope"
        | "no_permission"
        | "not_allowed_token_type"
        | "team_access_not_granted"
        | "channel_not_found"
        | "not_in_channel"
        | "is_archived"
        | "thread_not_found"
        | "message_not_found" => "permission",
        "ratelimited" | "team_added_to_org" | "org_login_required" => "rate_limited",
        // A response without an error is not from Slack.
        "internal_error" | "fatal_error" | "service_unavailable" | "request_timeout" | "" => {
            "transient"
        }
        "invalid_cursor" => "cursor_expired",
        _ => "permanent",
    }
}

/// Checks an error response, whose meaning does not depend on the method.
async fn check_error(exchange: &Exchange, tally: &mut Tally) {
    let slack_error = exchange.body["error"].as_str().unwrap_or_default();
    let error = sync_error(exchange).await;
    let expected = match exchange.status {
        429 => "rate_limited",
        500.. => "transient",
        _ => expected_code(slack_error),
    };
    if error.code() != expected {
        tally.fail(format!(
            "{}: {error:?} for {slack_error:?}",
            exchange.source
        ));
    }
    tally.count(&format!("error {slack_error:?}"), error.code());
}

async fn run(files: Vec<Recorded>, title: &str, prepare: impl Fn(&Recorded, Exchange) -> Exchange) {
    let mut tally = Tally::default();
    for file in files {
        for exchange in exchanges::read(&file) {
            let exchange = prepare(&file, exchange);
            if exchange.body["ok"] == false || exchange.status >= 400 {
                check_error(&exchange, &mut tally).await;
                continue;
            }
            if exchange.body["ok"] != true {
                tally.skip("not a response of the Web API");
                continue;
            }
            let methods = methods(&exchange);
            for method in &methods {
                match check_method(&exchange, method).await {
                    Some(result) => tally.count(method, &result),
                    None => tally.skip(&format!("{method} is never called")),
                }
            }
            if methods.is_empty() {
                tally.skip("unknown method");
            }
        }
    }
    tally.finish(title);
}

#[tokio::test]
async fn recorded_responses_yield_their_facts() {
    let Some(folder) = Folder::open() else { return };
    let files = folder.files("slack", "recorded");
    run(
        files,
        "recorded Slack responses, by method",
        |_, exchange| exchange,
    )
    .await;
}

#[tokio::test]
async fn response_shapes_are_accepted() {
    let Some(folder) = Folder::open() else { return };
    let mut files = folder.files("slack", "shape");
    files.retain(|file| file.name.contains("/api/"));
    let title = "shapes of Slack responses, by method";
    run(files, title, |file, mut exchange| {
        let name = file.name.rsplit('/').next().unwrap_or_default();
        exchange.path = name.strip_suffix(".json").map(str::to_owned);
        exchange.body["ok"] = json!(true);
        exchange
    })
    .await;
}
