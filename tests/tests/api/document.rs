//! The OpenAPI document, Swagger UI, health and metrics.

use std::path::Path;

use crate::server::{Api, As};

#[test]
fn committed_openapi_document_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let committed = std::fs::read_to_string(path).expect("docs/openapi.json");
    assert!(
        committed == api_server::openapi_json(),
        "docs/openapi.json is not up to date; update it with `scripts/lint --fix`"
    );
}

#[tokio::test]
async fn swagger_ui_is_served_with_its_assets() {
    let api = Api::start().await;
    let document = api.get("/openapi.json", As::Anonymous).await.ok();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(
        document["components"]["securitySchemes"]["bearer"]["scheme"],
        "bearer"
    );
    let redirect = api.get("/docs", As::Anonymous).await;
    assert_eq!(redirect.status, 303);
    assert_eq!(redirect.headers["location"], "/docs/");
    let page = api.get("/docs/", As::Anonymous).await;
    let html = page.body.as_str().expect("a page");
    let policy = page.headers["content-security-policy"]
        .to_str()
        .expect("text");
    assert!(policy.contains("script-src 'self'"), "{policy}");
    assert!(
        !html.contains("<script>"),
        "the policy forbids inline scripts"
    );
    assert!(
        !html.contains("http://") && !html.contains("https://"),
        "no external resources"
    );
    for asset in [
        "swagger-ui-bundle.js",
        "swagger-ui.css",
        "swagger-initializer.js",
    ] {
        assert!(html.contains(asset), "{asset}");
        let response = api.get(&format!("/docs/{asset}"), As::Anonymous).await;
        assert_eq!(response.status, 200, "{asset}");
    }
    let initializer = api.get("/docs/swagger-initializer.js", As::Anonymous).await;
    assert!(initializer.body.to_string().contains("/openapi.json"));
}

#[tokio::test]
async fn health_and_metrics_are_public() {
    let api = Api::start().await;
    for path in ["/livez", "/readyz", "/healthz"] {
        assert_eq!(api.get(path, As::Anonymous).await.status, 200, "{path}");
    }
    let metrics = api.get("/metrics", As::Anonymous).await;
    let text = metrics.body.as_str().expect("text");
    assert!(
        text.contains("http_server_request_duration_seconds_count{process=\"api-server\",http_request_method=\"GET\",url_scheme=\"http\",http_route=\"/readyz\""),
        "{text}"
    );
}
