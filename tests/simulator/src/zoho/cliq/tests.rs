//! Tests of Cliq over HTTP.

mod deliveries;
mod forgeries;
mod limits;
mod members;
mod messages;
mod reading;

use std::sync::Arc;

use reqwest::{Client, Response};
use serde_json::{Value, json};

use super::{SOURCE, Settings, ZohoCliq};
use crate::zoho::data_center::DataCenter;
use crate::zoho::tokens::Code;
use crate::{Config, Entry, Filter, Simulator, start};

const SCOPES: [&str; 4] = [
    "ZohoCliq.Channels.READ",
    "ZohoCliq.Chats.READ",
    "ZohoCliq.Messages.READ",
    "ZohoCliq.Users.READ",
];

/// A simulator with one organization, whose administrator has granted access.
struct Fixture {
    simulator: Simulator,
    client: Client,
    login: String,
    token: String,
}

async fn fixture() -> Fixture {
    fixture_with(Config {
        enforces_limits: false,
        ..Config::default()
    })
    .await
}

/// A simulator with one organization of four people in the United States.
async fn fixture_with(config: Config) -> Fixture {
    let config = Config {
        seed: Some(23),
        accounts: 1,
        people: 3,
        ..config
    };
    let simulator = start(config).await.expect("a simulator");
    let service = service(&simulator);
    let login = service.zoho.state().people.administrators()[0].clone();
    let token = grant(service, &login, &SCOPES);
    Fixture {
        client: Client::builder().no_proxy().build().expect("a client"),
        login,
        token,
        simulator,
    }
}

fn service(simulator: &Simulator) -> &Arc<ZohoCliq> {
    &simulator.providers.zoho_cliq
}

/// Grants scopes and returns an access token.
fn grant(service: &ZohoCliq, login: &str, scopes: &[&str]) -> String {
    let redirect = "https://example.com/callback";
    let code = Code {
        login: login.to_owned(),
        data_center: DataCenter::Us,
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        redirect_uri: redirect.to_owned(),
        is_offline: false,
    };
    let now = service.zoho.core.clock.seconds();
    let settings = service.zoho.settings().clone();
    let mut guard = service.zoho.state();
    let state = &mut *guard;
    let code = state.tokens.store_consent(code, now, &mut state.rng);
    let issued = state.tokens.exchange(
        DataCenter::Us,
        &code,
        Some(redirect),
        &settings,
        now,
        &mut state.rng,
    );
    issued.expect("tokens").access_token
}

impl Fixture {
    async fn control(&self, path: &str, body: &Value) -> (u16, Value) {
        let url = format!("{}/_sim/{path}", self.simulator.base_url());
        let response = self.client.post(url).json(body).send().await;
        let response = response.expect("a response");
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or_default())
    }

    /// Performs an action of the administrator.
    async fn act(&self, action: &str, params: Value) -> Value {
        let (status, answer) = self.try_act(action, params).await;
        assert_eq!(status, 200, "{action}: {answer}");
        answer
    }

    async fn try_act(&self, action: &str, params: Value) -> (u16, Value) {
        let mut body = json!({ "account": self.login, "action": action });
        let fields = body.as_object_mut().expect("an object");
        fields.extend(params.as_object().cloned().unwrap_or_default());
        self.control("zoho_cliq/act", &body).await
    }

    /// Posts a message and returns its id.
    async fn post(&self, chat: &str, params: Value) -> String {
        let mut all = json!({ "chat": chat });
        let fields = all.as_object_mut().expect("an object");
        fields.extend(params.as_object().cloned().unwrap_or_default());
        let answer = self.act("message.posted", all).await;
        text(&answer["object"], "id")
    }

    async fn send(&self, token: Option<&str>, path: &str, query: &[(&str, &str)]) -> Response {
        let url = format!("{}/zoho/us/api/{path}", self.simulator.base_url());
        let mut request = self.client.get(url).query(query);
        if let Some(token) = token {
            request = request.header("authorization", format!("Zoho-oauthtoken {token}"));
        }
        request.send().await.expect("a response")
    }

    /// Response to the administrator in version 2, or in the version that the path names.
    async fn get(&self, path: &str, query: &[(&str, &str)]) -> (u16, Value) {
        self.get_with(&self.token, path, query).await
    }

    async fn get_with(&self, token: &str, path: &str, query: &[(&str, &str)]) -> (u16, Value) {
        let path = if path.starts_with("v3/") {
            path.to_owned()
        } else {
            format!("v2/{path}")
        };
        let response = self.send(Some(token), &path, query).await;
        let status = response.status().as_u16();
        (status, response.json().await.expect("JSON"))
    }

    /// Body of a response without an error.
    async fn read(&self, path: &str, query: &[(&str, &str)]) -> Value {
        let (status, body) = self.get(path, query).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// Messages of a chat.
    async fn messages(&self, chat: &str, query: &[(&str, &str)]) -> Vec<Value> {
        rows(
            &self.read(&format!("chats/{chat}/messages"), query).await,
            "data",
        )
    }

    /// Chat and channel id of the first channel with this level.
    async fn channel(&self, level: &str) -> (String, String) {
        let body = self.read("channels", &[("level", level)]).await;
        let channel = &rows(&body, "channels")[0];
        (text(channel, "chat_id"), text(channel, "channel_id"))
    }

    /// Address and login of a colleague.
    fn colleague(&self, number: usize) -> (String, String) {
        let state = service(&self.simulator).zoho.state();
        let mut people = state.people.all().filter(|one| one.login != self.login);
        let person = people.nth(number).expect("a colleague");
        (person.address.clone(), person.login.clone())
    }

    fn settings(&self, change: impl FnOnce(&mut Settings)) {
        self.simulator.change_zoho_cliq(change);
    }

    /// Ledger rows of a person.
    fn ledger(&self, login: &str) -> Vec<Entry> {
        self.simulator.ledger(&Filter {
            source: Some(SOURCE.to_owned()),
            account: Some(login.to_owned()),
            ..Filter::default()
        })
    }

    /// The administrator's row with this key.
    fn row(&self, key: &str) -> Option<Entry> {
        let rows = self.ledger(&self.login);
        let key = format!("{SOURCE}:{key}");
        rows.into_iter().find(|row| row.dedupe_key == key)
    }
}

fn text(value: &Value, name: &str) -> String {
    let text = value[name].as_str();
    text.unwrap_or_else(|| panic!("{name} of {value}"))
        .to_owned()
}

fn rows(value: &Value, name: &str) -> Vec<Value> {
    value[name].as_array().cloned().expect("rows")
}

fn ids(rows: &[Value], name: &str) -> Vec<String> {
    rows.iter().map(|row| text(row, name)).collect()
}

/// Time of a message in its id.
fn time_of(id: &str) -> &str {
    id.split_once('_').expect("a message id").0
}
