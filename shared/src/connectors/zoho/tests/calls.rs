//! Calls of a product's API.

use chrono::TimeDelta;
use serde_json::json;

use super::{Family, READ, access, now};
use crate::connectors::ConnectorError;
use crate::connectors::zoho::Call;
use crate::http::Priority;
use crate::model::{ExternalAccount, LimitScope};

async fn get(family: &Family, data_center: &str) -> Result<(), ConnectorError> {
    let access = access(data_center);
    let call = Call {
        access: &access,
        operation: "list_things",
        scope: READ,
        priority: Priority::Poll,
    };
    let query = [("start", "1")];
    let response = family.client.get(&call, &["api", "a b", "things"], &query);
    Ok(response.await.map(|_| ())?)
}

#[tokio::test]
async fn host_is_that_of_the_accounts_data_center() {
    let family = Family::start().await;
    let body = json!({ "status": { "code": 200, "description": "success" }, "data": [] });
    family.mock("/in/mail/api/a%20b/things", 200, body).await;
    get(&family, "in").await.expect("a response");
    let requests = family.server.received_requests().await.expect("requests");
    let header = requests[0].headers.get("authorization");
    assert_eq!(header.expect("a token"), "Zoho-oauthtoken a-token");
    assert_eq!(requests[0].url.query(), Some("start=1"));
}

#[tokio::test]
async fn account_without_data_center_is_not_called() {
    let family = Family::start().await;
    let mut access = access("us");
    for account in [
        ExternalAccount::from_route("1001"),
        super::account("zz"),
        // The table of this test has no such data center.
        super::account("cn"),
    ] {
        access.account = account;
        let call = Call {
            access: &access,
            operation: "list_things",
            scope: READ,
            priority: Priority::Poll,
        };
        let error = family.client.get(&call, &["api"], &[]).await;
        assert_eq!(error.expect_err("no host").cause.code(), "permanent");
    }
    assert_eq!(family.requests().await, 0);
}

#[tokio::test]
async fn lock_is_reported_to_the_rate_limiter() {
    let family = Family::start().await;
    let body = json!({ "code": "request_limit_exceeded", "message": "A message." });
    family.mock("/eu/mail/api/a%20b/things", 400, body).await;
    let error = get(&family, "eu").await.expect_err("a limit");
    assert_eq!(error.code(), "rate_limited");
    let seen = family.limiter.seen();
    let [(account, operation, seen)] = &seen[..] else {
        panic!("{seen:?}");
    };
    assert_eq!((account.as_str(), *operation), ("eu:1001", "list_things"));
    assert_eq!(seen.scope, LimitScope::Operation);
    assert_eq!(seen.blocked_until, Some(now() + TimeDelta::minutes(15)));
}
