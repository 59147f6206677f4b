//! Validators and compression of responses.

use reqwest::{Client, Method};
use serde_json::json;

use crate::server::{Api, ApiResponse, As, Team, read};

async fn get_with(api: &Api, path: &str, team: &Team, header: (&str, &str)) -> ApiResponse {
    let request = api.request(Method::GET, path, team.auth());
    read(request.header(header.0, header.1)).await
}

#[tokio::test]
async fn unchanged_responses_are_not_sent_again() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let id = api.connection(&acme).await;
    let job = api.dead_job(&acme, id).await;
    for path in [
        format!("/v1/connections/{id}"),
        "/v1/jobs".to_owned(),
        format!("/v1/jobs/{job}"),
        "/v1/signals/kinds".to_owned(),
    ] {
        let first = api.get(&path, acme.auth()).await;
        let tag = first.headers["etag"].to_str().expect("text").to_owned();
        assert!(tag.starts_with("W/\""), "{tag}");
        assert_eq!(first.headers["cache-control"], "private, no-cache");
        let again = get_with(&api, &path, &acme, ("If-None-Match", &tag)).await;
        assert_eq!(again.status, 304, "{path}");
        assert_eq!(again.headers["etag"], tag.as_str());
        assert_eq!(again.body, "", "{path}");
        assert!(!again.headers.contains_key("content-type"));
        let other = get_with(&api, &path, &acme, ("If-None-Match", "W/\"other\"")).await;
        assert_eq!(other.status, 200);
    }
}

#[tokio::test]
async fn changed_response_has_another_validator() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let id = api.connection(&acme).await;
    let path = format!("/v1/connections/{id}");
    let first = api.get(&path, acme.auth()).await;
    let tag = first.headers["etag"].to_str().expect("text").to_owned();
    let change = json!({ "poll_interval_seconds": 600 });
    api.patch(&path, acme.auth(), &change).await.ok();
    let changed = get_with(&api, &path, &acme, ("If-None-Match", &tag)).await;
    assert_eq!(changed.status, 200);
    assert_ne!(changed.headers["etag"], tag.as_str());
    assert_eq!(changed.body["poll_interval_seconds"], 600);
}

#[tokio::test]
async fn errors_have_no_validator() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let path = format!("/v1/jobs/{}", acme.id);
    let missing = get_with(&api, &path, &acme, ("If-None-Match", "*")).await;
    missing.is_problem(404, "job_not_found");
    assert!(!missing.headers.contains_key("etag"));
    assert_eq!(missing.headers["cache-control"], "no-store");
}

/// A response as it was transferred.
async fn raw(
    api: &Api,
    method: Method,
    path: &str,
    caller: As<'_>,
    coding: &str,
) -> (String, Vec<u8>) {
    let client = Client::builder().no_gzip().build().expect("a client");
    let request = api.request(method, path, caller);
    let mut request = request.build().expect("a request");
    let value = coding.parse().expect("a header");
    request.headers_mut().insert("accept-encoding", value);
    let response = client.execute(request).await.expect("a response");
    let coding = response.headers().get("content-encoding");
    let coding = coding.map_or("identity", |value| value.to_str().expect("text"));
    let coding = coding.to_owned();
    (coding, response.bytes().await.expect("a body").to_vec())
}

#[tokio::test]
async fn large_responses_are_compressed_on_request() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let id = api.connection(&acme).await;
    for minutes in 0..30 {
        api.signal(&acme, id, "issue_created", minutes).await;
    }
    let path = "/v1/signals?order=recent";
    let (coding, plain) = raw(&api, Method::GET, path, acme.auth(), "identity").await;
    assert_eq!(coding, "identity");
    for (accepted, magic) in [
        ("gzip", &[0x1f, 0x8b][..]),
        ("zstd", &[0x28, 0xb5, 0x2f, 0xfd]),
    ] {
        let (coding, bytes) = raw(&api, Method::GET, path, acme.auth(), accepted).await;
        assert_eq!(coding, accepted);
        assert!(bytes.starts_with(magic), "{accepted}");
        assert!(bytes.len() * 2 < plain.len(), "{accepted}: {}", bytes.len());
    }
    // The client of the other tests decodes gzip.
    let decoded = api.get(path, acme.auth()).await.ok();
    let plain: serde_json::Value = serde_json::from_slice(&plain).expect("JSON");
    assert_eq!(decoded["signals"], plain["signals"]);
    for path in ["/openapi.json", "/metrics"] {
        let (coding, _) = raw(&api, Method::GET, path, As::Anonymous, "gzip").await;
        assert_eq!(coding, "gzip", "{path}");
    }
}

#[tokio::test]
async fn secrets_and_streams_are_not_compressed() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let path = format!("/v1/tenants/{}/api-keys", acme.id);
    let client = Client::builder().no_gzip().build().expect("a client");
    // Long enough to be compressed if it were allowed.
    let name = "n".repeat(200);
    let body = json!({ "name": name });
    let request = api
        .request(Method::POST, &path, As::Operator)
        .header("Accept-Encoding", "gzip, zstd")
        .json(&body);
    let request = request.build().expect("a request");
    let created = client.execute(request).await.expect("a response");
    assert_eq!(created.status(), 201);
    assert!(!created.headers().contains_key("content-encoding"));
    let request = api
        .request(Method::GET, "/v1/signals/stream", acme.auth())
        .header("Accept-Encoding", "gzip, zstd");
    let request = request.build().expect("a request");
    let stream = client.execute(request).await.expect("a response");
    assert_eq!(stream.status(), 200);
    assert!(!stream.headers().contains_key("content-encoding"));
}

#[tokio::test]
async fn repeated_names_filter_like_a_list() {
    let api = Api::start().await;
    let acme = api.team("Acme").await;
    let id = api.connection(&acme).await;
    for kind in ["issue_created", "issue_closed", "pr_merged"] {
        api.signal(&acme, id, kind, 1).await;
    }
    let kinds = async |query: &str| -> Vec<String> {
        let path = format!("/v1/signals?order=recent&{query}");
        let page = api.get(&path, acme.auth()).await.ok();
        let signals = page["signals"].as_array().expect("a list").clone();
        let mut kinds: Vec<String> = signals
            .iter()
            .map(|signal| signal["kind"].as_str().expect("a kind").to_owned())
            .collect();
        kinds.sort();
        kinds
    };
    let both = kinds("kind=issue_created,pr_merged").await;
    assert_eq!(both, ["issue_created", "pr_merged"]);
    assert_eq!(kinds("kind=issue_created&kind=pr_merged").await, both);
}
