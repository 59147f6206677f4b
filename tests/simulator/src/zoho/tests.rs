//! Tests of the family over HTTP.

mod oauth;

use axum::http::StatusCode;
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use serde_json::{Value, json};
use url::Url;

use crate::{Config, Simulator, start};

const CALLBACK: &str = "http://127.0.0.1:8080/v1/connect/zoho_mail/callback";
const SCOPE: &str = "ZohoMail.accounts.READ,ZohoMail.messages.READ,AaaServer.profile.READ";

/// A person of the simulator.
struct Member {
    login: String,
    address: String,
    data_center: String,
    zuid: String,
}

struct Fixture {
    simulator: Simulator,
    client: Client,
    /// Administrators of the accounts, whose data centres differ.
    admins: Vec<Member>,
}

/// Starts a simulator with accounts in the first three data centres.
async fn fixture() -> Fixture {
    let simulator = start(Config {
        seed: Some(7),
        accounts: 3,
        people: 1,
        ..Config::default()
    })
    .await
    .expect("a simulator");
    let client = Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .build()
        .expect("a client");
    let mut fixture = Fixture {
        simulator,
        client,
        admins: Vec::new(),
    };
    let people = fixture.control_get("zoho/people").await;
    let people = people["people"].as_array().expect("people");
    let is_admin = |person: &&Value| text(person, "address").starts_with("admin@");
    let admins = people.iter().filter(is_admin).map(|person| Member {
        login: text(person, "login"),
        address: text(person, "address"),
        data_center: text(person, "data_center"),
        zuid: text(person, "zuid"),
    });
    fixture.admins = admins.collect();
    fixture
        .admins
        .sort_by(|one, other| one.address.cmp(&other.address));
    fixture
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

async fn json_of(response: Response) -> Value {
    response.json().await.expect("JSON")
}

impl Fixture {
    fn url(&self, data_center: &str, path: &str) -> String {
        format!("{}/zoho/{data_center}{path}", self.simulator.base_url())
    }

    fn env(&self, name: &str) -> String {
        let env = self.simulator.env();
        let full = format!("POBLYSH_ZOHO_{name}");
        let variable = env.into_iter().find(|(known, _)| *known == full);
        variable.expect("a variable").1
    }

    /// Secret of the client in a data centre.
    fn secret(&self, data_center: &str) -> String {
        match data_center {
            "eu" => self.env("CLIENT_SECRET_EU"),
            _ => self.env("CLIENT_SECRET"),
        }
    }

    async fn control_get(&self, path: &str) -> Value {
        let url = format!("{}/_sim/{path}", self.simulator.base_url());
        json_of(self.client.get(url).send().await.expect("a response")).await
    }

    async fn control(&self, path: &str, body: Value) -> Value {
        let url = format!("{}/_sim/{path}", self.simulator.base_url());
        let request = self.client.post(url).json(&body);
        let response = request.send().await.expect("a response");
        let status = response.status();
        let body = response.text().await.expect("a body");
        assert!(status.is_success(), "{path}: {status} {body}");
        serde_json::from_str(&body).unwrap_or_default()
    }

    /// Where the consent page of the client's data centre leads an administrator.
    async fn authorize(&self, admin: usize, extra: &[(&str, &str)]) -> Response {
        let client = self.env("CLIENT_ID");
        let mut fields = vec![
            ("client_id", client.as_str()),
            ("redirect_uri", CALLBACK),
            ("response_type", "code"),
            ("scope", SCOPE),
            ("state", "s"),
            ("access_type", "offline"),
        ];
        fields.retain(|(name, _)| extra.iter().all(|(other, _)| other != name));
        fields.extend_from_slice(extra);
        let url = Url::parse_with_params(&self.url("us", "/oauth/v2/auth"), fields);
        let cookie = format!("user_session={}", self.admins[admin].address);
        let request = self.client.get(url.expect("a URL"));
        let request = request.header("cookie", cookie);
        request.send().await.expect("a response")
    }

    /// Code of a consent of an administrator.
    async fn code(&self, admin: usize) -> String {
        let page = self.authorize(admin, &[("prompt", "consent")]).await;
        query(&page, "code").expect("a code")
    }

    async fn token(&self, data_center: &str, fields: &[(&str, &str)]) -> Response {
        let (id, secret) = (self.env("CLIENT_ID"), self.secret(data_center));
        let mut form = vec![
            ("client_id", id.as_str()),
            ("client_secret", secret.as_str()),
        ];
        form.retain(|(name, _)| fields.iter().all(|(other, _)| other != name));
        form.extend_from_slice(fields);
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let request = self.client.post(self.url(data_center, "/oauth/v2/token"));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        request.body(body).send().await.expect("a response")
    }

    /// Response to the exchange of a code, which has status 200 in any case.
    async fn exchange(&self, data_center: &str, code: &str) -> Value {
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", CALLBACK),
        ];
        let response = self.token(data_center, &fields).await;
        assert_eq!(response.status(), StatusCode::OK);
        json_of(response).await
    }

    async fn refresh(&self, data_center: &str, token: &str) -> Value {
        let fields = [("grant_type", "refresh_token"), ("refresh_token", token)];
        let response = self.token(data_center, &fields).await;
        assert_eq!(response.status(), StatusCode::OK);
        json_of(response).await
    }

    /// Tokens of a consent.
    async fn connect(&self, admin: usize) -> Value {
        let code = self.code(admin).await;
        self.exchange(&self.admins[admin].data_center, &code).await
    }

    async fn advance(&self, seconds: u32) {
        let clock = json!({ "advance_seconds": seconds });
        self.control("clock", clock).await;
    }

    async fn user_info(&self, data_center: &str, token: &str) -> Response {
        let url = self.url(data_center, "/oauth/user/info");
        let authorization = format!("Zoho-oauthtoken {token}");
        let request = self.client.get(url).header("authorization", authorization);
        request.send().await.expect("a response")
    }
}

/// A field of the query that a redirect adds.
fn query(response: &Response, name: &str) -> Option<String> {
    let location = response.headers().get("location")?.to_str().ok()?;
    let url = Url::parse(location).expect("a URL");
    let mut fields = url.query_pairs();
    fields
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.into_owned())
}
