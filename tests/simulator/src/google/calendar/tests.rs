//! Tests of Calendar over HTTP.

mod lists;
mod people;
mod series;

use std::collections::BTreeSet;
use std::sync::Arc;

use reqwest::Client;
use serde_json::{Value, json};

use super::{GoogleCalendar, SOURCE, api};
use crate::google::tokens::Code;
use crate::{Config, Entry, Filter, Simulator, start};

/// A simulator with one account, whose administrator has granted access.
struct Fixture {
    simulator: Simulator,
    client: Client,
    login: String,
    address: String,
    token: String,
}

async fn fixture() -> Fixture {
    let config = Config {
        seed: Some(11),
        accounts: 1,
        people: 2,
        enforces_limits: false,
        ..Config::default()
    };
    let simulator = start(config).await.expect("a simulator");
    let service = service(&simulator);
    let login = service.google.state().people.administrators()[0].clone();
    let address = service.world().users[&login].address.clone();
    let token = grant(service, &login);
    Fixture {
        client: Client::builder().no_proxy().build().expect("a client"),
        login,
        address,
        token,
        simulator,
    }
}

fn service(simulator: &Simulator) -> &Arc<GoogleCalendar> {
    &simulator.providers.google_calendar
}

/// Grants all scopes of the product and returns an access token.
fn grant(service: &GoogleCalendar, login: &str) -> String {
    let scopes = ["calendar.events.readonly", "calendar.calendarlist.readonly"];
    let scopes: BTreeSet<String> = scopes
        .iter()
        .map(|name| format!("https://www.googleapis.com/auth/{name}"))
        .collect();
    assert!(api::EVENT_SCOPES.iter().any(|one| scopes.contains(*one)));
    let code = Code {
        sub: login.to_owned(),
        scopes: scopes.clone(),
        redirect_uri: String::new(),
        challenge: None,
        nonce: None,
        is_offline: false,
        expires_at: 0,
    };
    let mut guard = service.google.state();
    let state = &mut *guard;
    state.tokens.store_consent(code, &mut state.rng);
    state
        .tokens
        .issue_access(login, &scopes, i64::MAX, &mut state.rng)
}

impl Fixture {
    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        let url = format!("{}/{path}", self.simulator.base_url());
        let request = self.client.post(url).bearer_auth(&self.token).json(&body);
        let response = request.send().await.expect("a response");
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or_default())
    }

    /// Performs an action of the administrator a minute after the last one.
    async fn act(&self, action: &str, params: Value) -> Value {
        self.act_as(&self.address, action, params).await
    }

    async fn act_as(&self, account: &str, action: &str, params: Value) -> Value {
        service(&self.simulator).google.core.clock.advance(60);
        let mut body = json!({ "account": account, "action": action });
        let fields = body.as_object_mut().expect("an object");
        fields.extend(params.as_object().cloned().unwrap_or_default());
        let (status, answer) = self.post("_sim/google_calendar/act", body).await;
        assert_eq!(status, 200, "{action}: {answer}");
        answer
    }

    async fn create(&self, params: Value) -> String {
        let answer = self.act("event.created", params).await;
        answer["object"]["id"].as_str().expect("an id").to_owned()
    }

    async fn get(&self, path: &str, query: &[(&str, &str)]) -> (u16, Value) {
        self.get_with(&self.token, path, query).await
    }

    async fn get_with(&self, token: &str, path: &str, query: &[(&str, &str)]) -> (u16, Value) {
        let base = self.simulator.base_url();
        let url = format!("{base}/google/calendar/v3/{path}");
        let request = self.client.get(url).query(query).bearer_auth(token);
        let response = request.send().await.expect("a response");
        let status = response.status().as_u16();
        (status, response.json().await.expect("JSON"))
    }

    /// Rows of the primary calendar on all pages, and the sync token.
    async fn list(&self, query: &[(&str, &str)]) -> (Vec<Value>, String) {
        let (mut rows, mut page) = (Vec::new(), String::new());
        loop {
            let mut query = query.to_vec();
            if !page.is_empty() {
                query.retain(|(name, _)| *name != "pageToken");
                query.push(("pageToken", &page));
            }
            let (status, body) = self.get("calendars/primary/events", &query).await;
            assert_eq!(status, 200, "{body}");
            rows.extend(body["items"].as_array().cloned().unwrap_or_default());
            if let Some(next) = body["nextPageToken"].as_str() {
                next.clone_into(&mut page);
            } else {
                let token = body["nextSyncToken"].as_str().unwrap_or_default();
                return (rows, token.to_owned());
            }
        }
    }

    /// Rows of the primary calendar that changed since a token.
    async fn changes(&self, token: &str) -> Vec<Value> {
        self.list(&[("syncToken", token)]).await.0
    }

    /// Position of the primary calendar.
    async fn token(&self) -> String {
        self.list(&[]).await.1
    }

    fn settings(&self, change: impl FnOnce(&mut super::Settings)) {
        self.simulator.change_google_calendar(change);
    }

    /// Ledger rows of a person.
    fn ledger(&self, login: &str) -> Vec<Entry> {
        let filter = Filter {
            source: Some(SOURCE.to_owned()),
            account: Some(login.to_owned()),
            ..Filter::default()
        };
        self.simulator.ledger(&filter)
    }

    /// The row of the administrator whose key ends with this text.
    fn row(&self, key: &str) -> Entry {
        let rows = self.ledger(&self.login);
        let row = rows.into_iter().find(|row| row.dedupe_key.ends_with(key));
        row.unwrap_or_else(|| panic!("a ledger row {key}"))
    }

    /// Address and login of a colleague.
    fn colleague(&self, number: usize) -> (String, String) {
        let service = service(&self.simulator);
        let login = service.google.state().people.colleagues(&self.login)[number].clone();
        let address = service.world().users[&login].address.clone();
        (address, login)
    }
}

/// Kinds of an action's facts of one person.
fn kinds(answer: &Value, login: &str) -> Vec<String> {
    let facts = answer["facts"].as_array().expect("facts").iter();
    let mut kinds: Vec<String> = facts
        .filter(|fact| fact["account"] == login)
        .map(|fact| fact["kind"].as_str().expect("a kind").to_owned())
        .collect();
    kinds.sort();
    kinds
}

fn ids(rows: &[Value]) -> Vec<&str> {
    rows.iter().filter_map(|row| row["id"].as_str()).collect()
}

/// Distinct values of a field.
fn distinct<'a>(rows: &'a [Value], field: &str) -> BTreeSet<&'a str> {
    rows.iter().filter_map(|row| row[field].as_str()).collect()
}
