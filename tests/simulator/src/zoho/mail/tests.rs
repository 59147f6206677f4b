//! Tests of requests, actions and webhooks.

mod acts;
mod views;
mod webhooks;

use axum::http::StatusCode;
use reqwest::Client;
use serde_json::{Value, json};

use super::ZohoMail;
use crate::zoho::DataCenter;
use crate::zoho::tokens::Code;
use crate::{Config, Entry, Filter, Simulator, start};

const ADMIN: &str = "admin@team-1.example";
const SCOPES: [&str; 3] = [
    "ZohoMail.accounts.READ",
    "ZohoMail.folders.READ",
    "ZohoMail.messages.READ",
];

/// A simulator with the access token of an organization's administrator.
struct Fixture {
    simulator: Simulator,
    client: Client,
    token: String,
    login: String,
    account: String,
}

async fn fixture(change: impl FnOnce(&mut Config)) -> Fixture {
    let mut config = Config {
        seed: Some(7),
        accounts: 1,
        people: 1,
        ..Config::default()
    };
    change(&mut config);
    let simulator = start(config).await.expect("a simulator");
    let client = Client::builder().no_proxy().build().expect("a client");
    let person = mail(&simulator).find_person(ADMIN).expect("a person");
    let token = grant(&simulator, &person.login, &SCOPES);
    let account = {
        let mut world = mail(&simulator).world();
        world.mailbox(&person.login).account_id.to_string()
    };
    Fixture {
        simulator,
        client,
        token,
        login: person.login,
        account,
    }
}

fn mail(simulator: &Simulator) -> &ZohoMail {
    &simulator.providers.zoho_mail
}

/// Grants scopes and returns an access token.
fn grant(simulator: &Simulator, login: &str, scopes: &[&str]) -> String {
    let zoho = &mail(simulator).zoho;
    let now = zoho.core.clock.seconds();
    let settings = zoho.settings().clone();
    let mut guard = zoho.state();
    let state = &mut *guard;
    let code = Code {
        login: login.to_owned(),
        data_center: DataCenter::Us,
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        redirect_uri: "uri".to_owned(),
        is_offline: true,
    };
    let code = state.tokens.store_consent(code, now, &mut state.rng);
    let (tokens, rng) = (&mut state.tokens, &mut state.rng);
    let issued = tokens.exchange(DataCenter::Us, &code, Some("uri"), &settings, now, rng);
    issued.expect("tokens").access_token
}

impl Fixture {
    async fn control(&self, path: &str, body: Value) -> Value {
        let url = format!("{}/_sim/{path}", self.simulator.base_url());
        let response = self.client.post(url).json(&body).send().await;
        let response = response.expect("a response");
        let status = response.status();
        let body: Value = response.json().await.expect("JSON");
        assert!(status.is_success(), "{path}: {status} {body}");
        body
    }

    async fn control_get(&self, path: &str) -> Value {
        let url = format!("{}/_sim/{path}", self.simulator.base_url());
        let response = self.client.get(url).send().await.expect("a response");
        response.json().await.expect("JSON")
    }

    async fn act(&self, action: &str, params: Value) -> Value {
        let mut body = json!({ "account": ADMIN, "action": action });
        let fields = body.as_object_mut().expect("an object");
        fields.extend(params.as_object().cloned().unwrap_or_default());
        self.control("zoho_mail/act", body).await
    }

    /// Id of the message that an action has changed.
    async fn act_id(&self, action: &str, params: Value) -> String {
        let result = self.act(action, params).await;
        result["object"]["id"].as_str().expect("an id").to_owned()
    }

    async fn call(&self, path: &str) -> (StatusCode, Value) {
        let url = format!("{}/zoho/us/api/accounts{path}", self.simulator.base_url());
        let authorization = format!("Zoho-oauthtoken {}", self.token);
        let request = self.client.get(url).header("authorization", authorization);
        let response = request.send().await.expect("a response");
        let status = response.status();
        let body = response.bytes().await.expect("a body");
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    /// Data of a response about the account.
    async fn get(&self, path: &str) -> Value {
        let path = format!("/{}{path}", self.account);
        let (status, body) = self.call(&path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        assert_eq!(body["status"]["code"], 200);
        body["data"].clone()
    }

    /// Status and name of an error about the account.
    async fn error(&self, path: &str) -> (u16, String) {
        let (status, body) = self.call(&format!("/{}{path}", self.account)).await;
        assert_eq!(body["status"]["code"], status.as_u16(), "{path}: {body}");
        let name = body["data"]["errorCode"].as_str().unwrap_or_default();
        (status.as_u16(), name.to_owned())
    }

    /// Id of the folder of a type or with a name.
    async fn folder(&self, name: &str) -> String {
        let folders = self.get("/folders").await;
        let mut folders = folders.as_array().expect("folders").iter();
        let found = folders.find(|one| one["folderName"] == name);
        let id = &found.expect("a folder")["folderId"];
        id.as_str().expect("an id").to_owned()
    }

    /// Rows of a view.
    async fn view(&self, folder: &str, query: &str) -> Vec<Value> {
        let folder = self.folder(folder).await;
        let view = format!("/messages/view?folderId={folder}&{query}");
        self.get(&view).await.as_array().expect("rows").clone()
    }

    fn ledger(&self) -> Vec<Entry> {
        self.simulator.ledger(&Filter {
            source: Some("zoho_mail".to_owned()),
            account: Some(self.login.clone()),
            ..Filter::default()
        })
    }

    /// The row of a message in the ledger.
    fn row(&self, id: &str) -> Option<Entry> {
        let key = format!("zoho_mail:{}:message:{id}", self.account);
        let mut rows = self.ledger().into_iter();
        rows.find(|entry| entry.dedupe_key == key)
    }

    /// Whether the API shows a message as a fact.
    fn is_shown(&self, id: &str) -> bool {
        self.row(id).is_some_and(|row| row.poll)
    }

    async fn advance(&self, seconds: u32) {
        let clock = json!({ "advance_seconds": seconds });
        self.control("clock", clock).await;
    }
}

/// Ids of rows.
fn ids(rows: &[Value]) -> Vec<String> {
    let ids = rows.iter().map(|row| row["messageId"].as_str());
    ids.map(|id| id.expect("a text").to_owned()).collect()
}

#[tokio::test]
async fn requests_need_token_scope_and_own_account() {
    let fixture = fixture(|_| {}).await;
    let (status, body) = fixture.call("").await;
    assert_eq!(status, StatusCode::OK);
    let accounts = body["data"].as_array().expect("accounts");
    assert_eq!(accounts.len(), 1);
    assert_eq!(accounts[0]["accountId"], fixture.account.as_str());
    assert_eq!(accounts[0]["primaryEmailAddress"], ADMIN);
    assert_eq!(fixture.account.len(), 19);
    let (status, body) = fixture.call("/1234/folders").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(body["data"]["moreInfo"], "Account id 1234 is invalid");
    let unknown = fixture.error("/labels").await;
    assert_eq!(unknown, (404, "URL_RULE_NOT_CONFIGURED".to_owned()));
    let narrow = Fixture {
        token: grant(&fixture.simulator, &fixture.login, &SCOPES[..1]),
        ..fixture
    };
    let refused = narrow.error("/folders").await;
    assert_eq!(refused, (401, "INVALID_OAUTHSCOPE".to_owned()));
    let stranger = Fixture {
        token: "unknown".to_owned(),
        ..narrow
    };
    let refused = stranger.error("/folders").await;
    assert_eq!(refused, (401, "INVALID_OAUTHTOKEN".to_owned()));
}

#[tokio::test]
async fn granted_scope_is_rejected_at_use() {
    let fixture = fixture(|_| {}).await;
    let settings = json!({ "refused_scopes": ["ZohoMail.messages.READ"] });
    fixture.control("zoho/settings", settings).await;
    let refused = fixture.error("/messages/view").await;
    assert_eq!(refused, (401, "INVALID_OAUTHSCOPE".to_owned()));
    fixture.get("/folders").await;
}

#[tokio::test]
async fn thirty_first_call_locks_and_counting_continues() {
    let fixture = fixture(|_| {}).await;
    for _ in 0..30 {
        fixture.get("/folders").await;
    }
    let name = "URL_ROLLING_THROTTLES_LIMIT_EXCEEDED".to_owned();
    for _ in 0..3 {
        let refused = fixture.error("/folders").await;
        assert_eq!(refused, (429, name.clone()));
        fixture.advance(100).await;
    }
    let locks = fixture.control_get("zoho/locks").await;
    let lock = &locks["locks"][0];
    assert_eq!(lock["provider"], "zoho_mail");
    assert_eq!(lock["account"], fixture.login.as_str());
    assert_eq!(lock["calls_in_lock"], 2);
    let stats = fixture.control_get("stats").await;
    assert_eq!(stats["counters"]["zoho_mail.calls_in_lock"], 2);
    assert_eq!(stats["usage"]["zoho_mail"][&fixture.login]["refused"], 3);
    fixture.advance(500).await;
    assert_eq!(fixture.error("/folders").await.0, 429);
    fixture.advance(150).await;
    fixture.get("/folders").await;
}

#[tokio::test]
async fn setting_puts_error_codes_in_body() {
    let fixture = fixture(|_| {}).await;
    let settings = json!({ "errors_with_ok_status": true });
    fixture.control("zoho_mail/settings", settings).await;
    let path = format!("/{}/messages/view?limit=201", fixture.account);
    let (status, body) = fixture.call(&path).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body["status"]["code"], 400);
    assert_eq!(body["data"]["errorCode"], "PATTERN_NOT_MATCHED");
    let stranger = Fixture {
        token: "unknown".to_owned(),
        ..fixture
    };
    let (status, body) = stranger.call("").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body["status"]["code"], 401);
}

#[tokio::test]
async fn faults_have_the_form_of_the_api() {
    let fixture = fixture(|_| {}).await;
    for (effect, status) in [("too_many_requests", 429), ("unauthorized", 401)] {
        let fault = json!({
            "target": "request", "effect": effect, "count": 1, "account": fixture.login,
            "pattern": "GET */folders",
        });
        fixture.control("faults", fault).await;
        assert_eq!(fixture.error("/folders").await.0, status, "{effect}");
    }
    fixture.get("/folders").await;
}
