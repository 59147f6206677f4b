//! Compares each response of these tests with the OpenAPI document.

use std::sync::LazyLock;

use reqwest::Method;
use serde_json::Value;

use crate::server::ApiResponse;

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(&api_server::openapi_json()).expect("the document is JSON")
});

/// Asserts that the document has the status of a response, its headers, and the code of a problem.
///
/// Paths and methods that no operation has are not checked.
pub(crate) fn check(method: &Method, path: &str, response: &ApiResponse) {
    let Some(operation) = find_operation(method, path) else {
        return;
    };
    let id = operation["operationId"].as_str().expect("an id");
    let status = response.status.as_str();
    let documented = &operation["responses"][status];
    assert!(
        documented.is_object(),
        "{id} does not document {status}: {}",
        response.body
    );
    let documented = resolve(documented);
    let content = &documented["content"];
    let kind = response.headers.get("content-type");
    let kind = kind.and_then(|kind| kind.to_str().ok());
    let kind = kind.map_or("", |kind| kind.split(';').next().unwrap_or_default());
    if kind == "application/problem+json" {
        let code = response.body["code"].as_str().expect("a code");
        let examples = &content[kind]["examples"];
        assert!(
            examples[code].is_object(),
            "{id} does not document {code} for {status}"
        );
    }
    for name in ["x-request-id", "ratelimit", "etag", "retry-after"] {
        let is_documented = documented["headers"]
            .as_object()
            .is_some_and(|headers| headers.keys().any(|key| key.eq_ignore_ascii_case(name)));
        assert!(
            is_documented || !response.headers.contains_key(name),
            "{id} does not document {name} for {status}"
        );
    }
    assert!(response.headers.contains_key("x-request-id"), "{id}");
}

fn resolve(value: &'static Value) -> &'static Value {
    let pointer = value["$ref"]
        .as_str()
        .and_then(|text| text.strip_prefix('#'));
    pointer.map_or(value, |pointer| {
        DOCUMENT.pointer(pointer).expect("the component exists")
    })
}

/// The operation of a request; a literal segment takes precedence over a parameter.
fn find_operation(method: &Method, path: &str) -> Option<&'static Value> {
    let given: Vec<&str> = path.split('/').collect();
    let matches = |template: &str| {
        let segments: Vec<&str> = template.split('/').collect();
        segments.len() == given.len()
            && segments.iter().zip(&given).all(|(segment, given)| {
                segment == given || (segment.starts_with('{') && !given.is_empty())
            })
    };
    let paths = DOCUMENT["paths"].as_object().expect("paths");
    let found = paths
        .iter()
        .filter(|(template, _)| matches(template))
        .min_by_key(|(template, _)| template.matches('{').count())?;
    let method = method.as_str().to_ascii_lowercase();
    found.1.get(&method)
}
