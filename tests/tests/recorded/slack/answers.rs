//! Slack's Web API: recorded answers, and shapes of answers, of the methods that are called.

use serde_json::json;

use super::asks::{ask, refused};
use crate::answers::{self, Exchange};
use crate::folder::{Folder, Recorded};
use crate::report::Tally;

/// The methods that an answer may be of: the one that was recorded with it, or those that
/// give what it holds.
fn methods(exchange: &Exchange) -> Vec<String> {
    let body = &exchange.body;
    if let Some(path) = &exchange.path {
        let method = path.rsplit('/').next().unwrap_or_default();
        return vec![method.to_owned()];
    }
    let is = |name: &str, part: &str| body[name][part].is_string();
    let found: &[&str] = if body["messages"].is_array() {
        &["conversations.history"]
    } else if body["channels"].is_array() {
        &["users.conversations", "conversations.list"]
    } else if body["members"][0].is_object() {
        &["users.list"]
    } else if is("channel", "id") {
        &["conversations.info"]
    } else if is("user", "id") {
        &["users.info"]
    } else if body["url"].is_string() && body["team_id"].is_string() {
        &["auth.test"]
    } else {
        &[]
    };
    found.iter().map(|&method| method.to_owned()).collect()
}

/// What a word of Slack's means, by its documentation.
fn meaning(word: &str) -> &'static str {
    match word {
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
        // An answer without a word is none of Slack's.
        "internal_error" | "fatal_error" | "service_unavailable" | "request_timeout" | "" => {
            "transient"
        }
        "invalid_cursor" => "cursor_expired",
        _ => "permanent",
    }
}

/// A refusal means the same whatever was asked.
async fn refuse(exchange: &Exchange, tally: &mut Tally) {
    let word = exchange.body["error"].as_str().unwrap_or_default();
    let error = refused(exchange).await;
    let must = match exchange.status {
        429 => "rate_limited",
        500.. => "transient",
        _ => meaning(word),
    };
    if error.code() != must {
        tally.wrong(format!("{}: {error:?} for {word:?}", exchange.place));
    }
    tally.count(&format!("refusal {word:?}"), error.code());
}

async fn run(files: Vec<Recorded>, what: &str, shape: impl Fn(&Recorded, Exchange) -> Exchange) {
    let mut tally = Tally::default();
    for file in files {
        for exchange in answers::of(&file) {
            let exchange = shape(&file, exchange);
            if exchange.body["ok"] == false || exchange.status >= 400 {
                refuse(&exchange, &mut tally).await;
                continue;
            }
            if exchange.body["ok"] != true {
                tally.skip("no answer of the Web API");
                continue;
            }
            let methods = methods(&exchange);
            for method in &methods {
                match ask(&exchange, method).await {
                    Some(gave) => tally.count(method, &gave),
                    None => tally.skip(&format!("{method} is never called")),
                }
            }
            if methods.is_empty() {
                tally.skip("what it holds is never asked for");
            }
        }
    }
    tally.finish(what);
}

#[tokio::test]
async fn every_recorded_answer_gives_what_it_says() {
    let Some(folder) = Folder::open() else { return };
    let files = folder.files("slack", "recorded");
    run(files, "recorded Slack answers, by method", |_, exchange| {
        exchange
    })
    .await;
}

#[tokio::test]
async fn every_shape_of_an_answer_is_read() {
    let Some(folder) = Folder::open() else { return };
    let mut files = folder.files("slack", "shape");
    files.retain(|file| file.name.contains("/api/"));
    let what = "shapes of Slack answers, by method";
    run(files, what, |file, mut exchange| {
        let name = file.name.rsplit('/').next().unwrap_or_default();
        exchange.path = name.strip_suffix(".json").map(str::to_owned);
        exchange.body["ok"] = json!(true);
        exchange
    })
    .await;
}
