//! Tests for each way to send credentials and parameters.

mod responses;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use wiremock::matchers::{any, body_string_contains};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::connectors::testing::{
    CHALLENGE, REDIRECT, VERIFIER, authorize_request, callback, deps,
};
use crate::connectors::wire::Json;
use crate::connectors::{TokenSet, response};
use crate::http::{HttpError, Outbound};
use crate::model::ExternalAccount;

/// Credentials and parameters in a form.
const FORM: Dialect = Dialect {
    denials: &[("no_seat", "You have no seat.")],
    ..Dialect::STANDARD
};

/// Credentials in a header, without PKCE.
const BASIC: Dialect = Dialect {
    scope_separator: ",",
    uses_pkce: false,
    authentication: ClientAuthentication::Basic,
    ..FORM
};

/// Credentials and parameters in a JSON object.
const JSON: Dialect = Dialect {
    encoding: Encoding::Json,
    ..FORM
};

/// A form without the type of the grant.
const UNTYPED: Dialect = Dialect {
    code_grant_type: None,
    ..FORM
};

const HTML: &str = "<!DOCTYPE html><html><body>We will be right back.</body></html>";

fn now() -> DateTime<Utc> {
    "2026-11-23T12:00:00Z".parse().expect("a time")
}

/// A client that maps statuses by the common table.
struct Client(Outbound);

impl ApiClient for Client {
    fn outbound(&self) -> &Outbound {
        &self.0
    }

    async fn execute(
        &self,
        charge: &Charge<'_>,
        request: RequestBuilder,
    ) -> Result<Response, ApiError> {
        let response = self.0.send(charge, request).await?;
        let body = Json::of(response.body);
        let (status, operation) = (response.status, charge.operation);
        if status.is_success() {
            return Ok(Response { body, operation });
        }
        let code = body.read::<Value>().unwrap_or_default()["error"].take();
        let code = code.as_str().unwrap_or_default().to_owned();
        let source = format!("{status} {code}").into();
        Err(ApiError {
            status: Some(status),
            code,
            cause: response::map_status(status, &response.headers, operation, now(), source),
        })
    }
}

/// A token endpoint with its server.
struct Fixture {
    server: MockServer,
    api: Client,
    client: OAuthClient,
    dialect: &'static Dialect,
}

impl Fixture {
    async fn new(dialect: &'static Dialect) -> Result<Self, HttpError> {
        let server = MockServer::start().await;
        let (deps, _) = deps(now());
        let base = Url::parse(&server.uri()).expect("a URL");
        Ok(Self {
            api: Client(deps.outbound("sample").allow(&base).build()?),
            server,
            client: OAuthClient {
                id: "the-client".to_owned(),
                secrets: vec!["new-secret".into(), "old-secret".into()],
            },
            dialect,
        })
    }

    /// A token endpoint that always sends this response.
    async fn with_response(dialect: &'static Dialect, status: u16, body: &str) -> Self {
        let fixture = Self::new(dialect).await.expect("a client");
        fixture.mount(any(), status, body).await;
        fixture
    }

    async fn mount(&self, matcher: impl wiremock::Match + 'static, status: u16, body: &str) {
        Mock::given(matcher)
            .respond_with(ResponseTemplate::new(status).set_body_string(body))
            .mount(&self.server)
            .await;
    }

    fn endpoint(&self) -> TokenEndpoint<'_, Client> {
        TokenEndpoint {
            dialect: self.dialect,
            api: &self.api,
            url: Url::parse(&self.server.uri()).expect("a URL"),
            client: &self.client,
        }
    }

    async fn exchange(&self, query: &[(&str, &str)]) -> Result<TokenSet, FlowEnd> {
        let charge = Charge::new("app", "exchange_code");
        let callback = callback(query, None);
        let response = self.endpoint().exchange(&charge, &callback).await?;
        response.into_set(now()).map_err(Err)
    }

    async fn refresh(&self) -> Result<TokenSet, ConnectorError> {
        let request = RefreshRequest {
            account: ExternalAccount::from_route("acme"),
            access_token: None,
            refresh_token: Some("r-token".into()),
        };
        let response = self.endpoint().refresh("refresh_token", &request).await?;
        response.into_set(now())
    }

    /// The bodies of the requests, with their `Authorization`.
    async fn requests(&self) -> Vec<(String, Option<String>)> {
        let requests = self.server.received_requests().await.expect("requests");
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        requests
            .iter()
            .map(|request| {
                let header = request.headers.get("authorization");
                let authorization = header.map(|value| text(value.as_bytes()));
                (text(&request.body), authorization)
            })
            .collect()
    }
}

#[test]
fn authorization_url_has_parameters_of_the_dialect() {
    let client = OAuthClient {
        id: "the-client".to_owned(),
        secrets: Vec::new(),
    };
    let url = |dialect: &Dialect, scopes: &[&str], parameters: &[(&str, &str)]| {
        let page = Url::parse("https://h.example/authorize?v=2").expect("a URL");
        let url =
            dialect.authorize_url(page, &client, &authorize_request(None), scopes, parameters);
        url.query().expect("a query").to_owned()
    };
    let offline = [("access_type", "offline"), ("login_hint", "")];
    assert_eq!(
        url(&FORM, &["read", "write"], &offline),
        format!(
            "v=2&client_id=the-client&scope=read+write\
             &redirect_uri=https%3A%2F%2Fpoblysh.example%2Fcallback&state=a+state\
             &code_challenge={CHALLENGE}&code_challenge_method=S256&access_type=offline"
        )
    );
    assert_eq!(
        url(&BASIC, &["read", "write"], &[]),
        "v=2&client_id=the-client&scope=read%2Cwrite\
         &redirect_uri=https%3A%2F%2Fpoblysh.example%2Fcallback&state=a+state"
    );
    assert!(!url(&FORM, &[], &[]).contains("scope"));
}

#[tokio::test]
async fn credentials_and_parameters_are_sent_as_documented() {
    const BASIC_HEADER: &str = "Basic dGhlLWNsaWVudDpuZXctc2VjcmV0";
    let credentials = "client_id=the-client&client_secret=new-secret";
    let code = "code=c0de&redirect_uri=https%3A%2F%2Fpoblysh.example%2Fcallback";
    let refresh = "grant_type=refresh_token&refresh_token=r-token";
    let json_code = json!({
        "client_id": "the-client", "client_secret": "new-secret", "code": "c0de",
        "code_verifier": VERIFIER, "grant_type": "authorization_code",
        "redirect_uri": REDIRECT,
    });
    let json_refresh = json!({
        "client_id": "the-client", "client_secret": "new-secret", "grant_type": "refresh_token",
        "refresh_token": "r-token",
    });
    for (dialect, expected_code, expected_refresh, header) in [
        (
            &FORM,
            format!("{credentials}&grant_type=authorization_code&{code}&code_verifier={VERIFIER}"),
            format!("{credentials}&{refresh}"),
            None,
        ),
        (
            &UNTYPED,
            format!("{credentials}&{code}&code_verifier={VERIFIER}"),
            format!("{credentials}&{refresh}"),
            None,
        ),
        (
            &BASIC,
            format!("grant_type=authorization_code&{code}"),
            refresh.to_owned(),
            Some(BASIC_HEADER.to_owned()),
        ),
        (&JSON, json_code.to_string(), json_refresh.to_string(), None),
    ] {
        let fixture = Fixture::with_response(dialect, 200, r#"{"access_token":"a"}"#).await;
        fixture.exchange(&[("code", "c0de")]).await.expect("tokens");
        fixture.refresh().await.expect("tokens");
        let expected = [(expected_code, header.clone()), (expected_refresh, header)];
        assert_eq!(fixture.requests().await, expected);
    }
}

#[tokio::test]
async fn exchange_separates_denials_from_faults() {
    for (status, body, expected) in [
        (400, r#"{"error":"invalid_grant"}"#, Ok("has expired")),
        (200, r#"{"error":"invalid_grant"}"#, Ok("has expired")),
        (400, r#"{"error":"no_seat"}"#, Ok("You have no seat.")),
        (200, r#"{"error":"no_seat"}"#, Ok("You have no seat.")),
        (401, r#"{"error":"invalid_client"}"#, Err("permanent")),
        (200, r#"{"error":"redirect_mismatch"}"#, Err("permanent")),
        (200, "{}", Err("permanent")),
        (200, HTML, Err("transient")),
        // Without an error code, another server sent these.
        (401, HTML, Err("transient")),
        (403, HTML, Err("transient")),
        (404, HTML, Err("transient")),
        // No grant exists that this could concern.
        (403, r#"{"error":"access_denied"}"#, Err("permanent")),
        (429, HTML, Err("rate_limited")),
        (502, HTML, Err("transient")),
    ] {
        for dialect in [&FORM, &BASIC, &JSON] {
            let fixture = Fixture::with_response(dialect, status, body).await;
            let end = fixture.exchange(&[("code", "c0de")]).await;
            match (end.expect_err(body), expected) {
                (Ok(CallbackOutcome::Denied { reason }), Ok(text)) => {
                    assert!(reason.contains(text), "{body}: {reason}");
                }
                (Err(error), Err(code)) => assert_eq!(error.code(), code, "{status} {body}"),
                (end, _) => panic!("{status} {body}: {end:?}"),
            }
        }
    }
}

#[tokio::test]
async fn redirect_without_code_calls_no_endpoint() {
    let fixture = Fixture::with_response(&FORM, 200, r#"{"access_token":"a"}"#).await;
    for query in [&[("error", "access_denied")][..], &[], &[("code", "")]] {
        let end = fixture.exchange(query).await.expect_err("no code");
        assert!(matches!(end, Ok(CallbackOutcome::Denied { .. })), "{end:?}");
    }
    let error = [("error", "invalid_scope"), ("code", "c0de")];
    let end = fixture.exchange(&error).await.expect_err("no code");
    assert!(matches!(end, Err(ConnectorError::Permanent(_))), "{end:?}");
    assert!(fixture.requests().await.is_empty());
}

#[tokio::test]
async fn next_secret_is_tried_after_rejection() {
    for status in [200, 401] {
        let fixture = Fixture::new(&FORM).await.expect("a client");
        let rejection = r#"{"error":"invalid_client"}"#;
        let new = body_string_contains("client_secret=new-secret");
        fixture.mount(new, status, rejection).await;
        fixture.mount(any(), 200, r#"{"access_token":"a"}"#).await;
        fixture.refresh().await.expect("tokens");
        assert_eq!(fixture.requests().await.len(), 2);
    }
}

#[tokio::test]
async fn missing_token_or_secret_calls_no_endpoint() {
    let mut fixture = Fixture::with_response(&FORM, 200, r#"{"access_token":"a"}"#).await;
    let request = RefreshRequest {
        account: ExternalAccount::from_route("acme"),
        access_token: Some("a-token".into()),
        refresh_token: None,
    };
    let result = fixture.endpoint().refresh("refresh_token", &request).await;
    assert_eq!(result.err().expect("no token").code(), "permanent");
    fixture.client.secrets.clear();
    let error = fixture.refresh().await.expect_err("no secret");
    assert_eq!(error.code(), "permanent");
    assert!(fixture.requests().await.is_empty());
}

#[tokio::test]
async fn scopes_are_text_or_a_list() {
    for (scope, expected) in [
        (json!("read write"), &["read", "write"][..]),
        (json!("read,write"), &["read", "write"]),
        (json!(["read", "write"]), &["read", "write"]),
        (json!(""), &[]),
        (json!(null), &[]),
        (json!(7), &[]),
    ] {
        let body = json!({ "access_token": "a", "scope": scope, "host": "eu" }).to_string();
        let response = TokenResponse::read(Response {
            body: Json::of(body.into()),
            operation: "exchange_code",
        });
        let response = response.expect("tokens");
        assert_eq!(response.scopes(), expected);
        let fields: Value = response.fields().expect("the provider's own fields");
        assert_eq!(fields["host"], "eu");
    }
}
