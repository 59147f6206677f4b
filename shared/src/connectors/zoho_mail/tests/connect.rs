//! Consent and the probe of its scopes, against a mock server.

use secrecy::ExposeSecret;
use serde_json::{Value, json};
use wiremock::matchers::{path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{MAILBOX, ZUID, account, zoho_mail};
use crate::connectors::testing::{authorize_request, callback};
use crate::connectors::zoho_mail::ZohoMail;
use crate::connectors::{CallbackOutcome, Connector, ConnectorError};

const MESSAGES: &str = "ZohoMail.messages.READ";

async fn respond(server: &MockServer, at: &str, status: u16, body: Value) {
    Mock::given(path(format!("/eu{at}")))
        .respond_with(ResponseTemplate::new(status).set_body_json(body))
        .mount(server)
        .await;
}

fn list(rows: &Value) -> Value {
    json!({ "status": { "code": 200, "description": "success" }, "data": rows })
}

/// Zoho's answers to a consent with these scopes.
async fn consent(server: &MockServer, scopes: Option<&str>) {
    let mut tokens = json!({ "access_token": "a-token", "refresh_token": "r-token",
        "expires_in": 3600, "api_domain": format!("{}/eu", server.uri()) });
    if let Some(scopes) = scopes {
        tokens["scope"] = json!(scopes);
    }
    respond(server, "/oauth/v2/token", 200, tokens).await;
    let zuid: u64 = ZUID.parse().expect("a number");
    let identity = json!({ "ZUID": zuid, "Email": "ada@acme.example", "Display_Name": "Ada" });
    respond(server, "/oauth/user/info", 200, identity).await;
}

async fn mailboxes(server: &MockServer, rows: Value) {
    respond(server, "/api/accounts", 200, list(&rows)).await;
}

fn mailbox(id: &str, address: &str) -> Value {
    json!({ "accountId": id, "primaryEmailAddress": address, "type": "ZOHO_ACCOUNT" })
}

async fn folders(server: &MockServer, status: u16, body: Value) {
    let at = format!("/api/accounts/{MAILBOX}/folders");
    respond(server, &at, status, body).await;
}

fn inbox() -> Value {
    list(&json!([
        { "folderId": "7001", "folderName": "Gesendet", "folderType": "Sent" },
        { "folderId": "7002", "folderName": "Posteingang", "folderType": "Inbox" },
    ]))
}

async fn messages(server: &MockServer, status: u16, body: Value) {
    Mock::given(path(format!("/eu/api/accounts/{MAILBOX}/messages/view")))
        .and(query_param("folderId", "7002"))
        .respond_with(ResponseTemplate::new(status).set_body_json(body))
        .mount(server)
        .await;
}

fn scope_rejected() -> Value {
    json!({ "status": { "code": 404, "description": "Invalid Input" },
        "data": { "errorCode": "INVALID_OAUTHSCOPE" } })
}

async fn exchange(server: &MockServer, mail: &ZohoMail) -> Result<CallbackOutcome, ConnectorError> {
    let accounts = format!("{}/eu", server.uri());
    let query = [
        ("code", "1000.c0de"),
        ("location", "eu"),
        ("accounts-server", accounts.as_str()),
    ];
    mail.exchange_token(callback(&query, None)).await
}

#[tokio::test]
async fn consent_connects_the_mailbox() {
    let (server, mail) = zoho_mail().await;
    let page = mail.authorize(&authorize_request(None)).expect("a URL");
    let mut query = page.query_pairs();
    let (_, scope) = query.find(|(name, _)| name == "scope").expect("scopes");
    assert_eq!(
        scope,
        "ZohoMail.accounts.READ,ZohoMail.folders.READ,ZohoMail.messages.READ,\
         AaaServer.profile.READ"
    );

    consent(&server, None).await;
    let rows = json!([
        mailbox("1", "ada@elsewhere.example"),
        mailbox(MAILBOX, "Ada@acme.example")
    ]);
    mailboxes(&server, rows).await;
    folders(&server, 200, inbox()).await;
    messages(&server, 200, list(&json!([]))).await;
    let outcome = exchange(&server, &mail).await.expect("an outcome");
    let CallbackOutcome::Connected(grant) = outcome else {
        panic!("{outcome:?}");
    };
    let mut expected = account();
    expected.name = "Ada@acme.example".to_owned();
    expected.settings["address"] = json!("Ada@acme.example");
    expected.settings["api_domain"] = json!(format!("{}/eu", server.uri()));
    assert_eq!(grant.account, expected);
    assert_eq!(grant.scopes, mail.descriptor().scopes);
    assert_eq!(
        mail.grant_key(&grant.account),
        None,
        "each consent is a grant"
    );
}

#[tokio::test]
async fn first_mailbox_counts_without_the_persons_address() {
    let (server, mail) = zoho_mail().await;
    consent(&server, None).await;
    let rows = json!([
        mailbox(MAILBOX, "info@acme.example"),
        mailbox("2", "b@acme.example")
    ]);
    mailboxes(&server, rows).await;
    folders(&server, 200, list(&json!([]))).await;
    let outcome = exchange(&server, &mail).await.expect("an outcome");
    let CallbackOutcome::Connected(grant) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(grant.account.name, "info@acme.example");
    assert_eq!(grant.account.settings["account_id"], MAILBOX);
}

#[tokio::test]
async fn mailbox_is_found_by_an_alias_and_named_by_its_primary_address() {
    let (server, mail) = zoho_mail().await;
    consent(&server, None).await;
    let address = |address: &str, is_primary: bool| {
        json!({ "mailId": address, "isPrimary": is_primary, "isAlias": !is_primary,
                "isConfirmed": true })
    };
    let mut own = mailbox(MAILBOX, "sales@acme.example");
    // The person's address is the last of three.
    own["emailAddress"] = json!([
        address("sales@acme.example", false),
        address("byron@acme.example", true),
        address("ada@acme.example", false),
    ]);
    let other = mailbox("1", "ada@elsewhere.example");
    mailboxes(&server, json!([other, own])).await;
    folders(&server, 200, list(&json!([]))).await;
    let outcome = exchange(&server, &mail).await.expect("an outcome");
    let CallbackOutcome::Connected(grant) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(grant.account.settings["account_id"], MAILBOX);
    assert_eq!(grant.account.settings["address"], "byron@acme.example");
    assert_eq!(grant.account.name, "byron@acme.example");
}

#[tokio::test]
async fn rejected_scope_of_mails_degrades_the_connection() {
    let (server, mail) = zoho_mail().await;
    consent(&server, None).await;
    mailboxes(&server, json!([mailbox(MAILBOX, "ada@acme.example")])).await;
    folders(&server, 200, inbox()).await;
    messages(&server, 404, scope_rejected()).await;
    let outcome = exchange(&server, &mail).await.expect("an outcome");
    let CallbackOutcome::Connected(grant) = outcome else {
        panic!("{outcome:?}");
    };
    assert!(!grant.scopes.iter().any(|scope| scope == MESSAGES));
    let descriptor = mail.descriptor();
    let denied = descriptor.verify_stream_scope("folder:7002", &grant.scopes);
    assert_eq!(denied.expect_err("a denial").code(), "permission");
    let root = descriptor.verify_stream_scope("folders", &grant.scopes);
    assert!(root.is_ok());
}

#[tokio::test]
async fn withheld_scope_of_mails_is_not_probed() {
    let (server, mail) = zoho_mail().await;
    consent(
        &server,
        Some("ZohoMail.accounts.READ ZohoMail.folders.READ"),
    )
    .await;
    mailboxes(&server, json!([mailbox(MAILBOX, "ada@acme.example")])).await;
    folders(&server, 200, inbox()).await;
    let outcome = exchange(&server, &mail).await.expect("an outcome");
    let CallbackOutcome::Connected(grant) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(
        grant.scopes,
        ["ZohoMail.accounts.READ", "ZohoMail.folders.READ"]
    );
}

#[tokio::test]
async fn grant_without_folders_is_rejected_by_name() {
    let (server, mail) = zoho_mail().await;
    consent(&server, None).await;
    mailboxes(&server, json!([mailbox(MAILBOX, "ada@acme.example")])).await;
    folders(&server, 404, scope_rejected()).await;
    match exchange(&server, &mail).await.expect("an outcome") {
        CallbackOutcome::Rejected { reason, grant } => {
            assert!(reason.contains("ZohoMail.folders.READ"), "{reason}");
            assert_eq!(grant.account.settings["data_center"], "eu");
            assert!(grant.refresh_token.is_some(), "a token to revoke");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn person_without_mailbox_is_rejected() {
    let (server, mail) = zoho_mail().await;
    consent(&server, None).await;
    mailboxes(&server, json!([])).await;
    match exchange(&server, &mail).await.expect("an outcome") {
        CallbackOutcome::Rejected { reason, .. } => {
            assert!(reason.contains("no mailbox"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn outage_at_the_probe_of_mails_withholds_nothing() {
    for (status, body) in [(500, json!({})), (429, json!({})), (404, json!({}))] {
        let (server, mail) = zoho_mail().await;
        consent(&server, None).await;
        mailboxes(&server, json!([mailbox(MAILBOX, "ada@acme.example")])).await;
        folders(&server, 200, inbox()).await;
        messages(&server, status, body).await;
        let outcome = exchange(&server, &mail).await.expect("an outcome");
        let CallbackOutcome::Connected(grant) = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!(grant.scopes, mail.descriptor().scopes, "{status}");
    }
}

#[tokio::test]
async fn outage_at_the_probe_is_no_rejection_and_leaves_no_token() {
    let (server, mail) = zoho_mail().await;
    consent(&server, None).await;
    respond(&server, "/api/accounts", 500, json!({})).await;
    let outcome = exchange(&server, &mail).await.expect("an outcome");
    let CallbackOutcome::Failed { error, grant } = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(error.code(), "transient");
    let token = grant.refresh_token.expect("the token to revoke");
    assert_eq!(token.expose_secret(), "r-token");
}
