//! Tests of smaller pages after failures.

use proptest::prelude::*;
use serde_json::json;
use url::Url;
use wiremock::matchers::query_param;
use wiremock::{Mock, ResponseTemplate};

use super::super::ROOT;
use super::request;
use crate::connectors::github::page_size::{with_page_size, with_page_size_backwards};
use crate::connectors::github::tests::{github, now};
use crate::connectors::{Connector, SyncRequest};

fn rows(url: &Url) -> (u64, u64) {
    let number = |name: &str| {
        let pair = url.query_pairs().find(|(key, _)| key == name);
        pair.map(|(_, value)| value.parse::<u64>().expect("a number"))
    };
    let size = number("per_page").expect("a size");
    (size * (number("page").unwrap_or(1) - 1), size)
}

proptest! {
    #[test]
    fn resized_page_begins_at_same_row(
        page in 1_u64..10_000,
        failures in 0_u32..20,
        before in 0_u32..20,
    ) {
        let query = format!("state=all&per_page=100&page={page}");
        let url = format!("https://api.github.com/repos/o/r/pulls?{query}");
        let url: Url = url.parse().expect("a URL");
        let first = with_page_size(&url, before);
        let second = with_page_size(&first, failures);
        prop_assert_eq!(rows(&first).0, rows(&url).0);
        prop_assert_eq!(rows(&second).0, rows(&url).0);
        prop_assert_eq!(rows(&with_page_size(&second, 0)).1, 100, "the size grows again");
        prop_assert!(second.as_str().contains("state=all"));
    }
}

proptest! {
    #[test]
    fn page_of_backward_walk_ends_at_same_row_or_later(
        page in 1_u64..10_000,
        failures in 0_u32..20,
        before in 0_u32..20,
    ) {
        let url = format!("https://api.github.com/repos/o/r/stargazers?per_page=100&page={page}");
        let first = with_page_size_backwards(&url.parse().expect("a URL"), before);
        let second = with_page_size_backwards(&first, failures);
        let end = |url: &Url| rows(url).0 + rows(url).1;
        prop_assert!(end(&second) >= end(&first));
        prop_assert!(end(&second) - end(&first) < 100);
    }
}

#[tokio::test]
async fn repeated_failures_halve_the_page_size() {
    let (server, github, _) = github().await;
    Mock::given(query_param("per_page", "100"))
        .respond_with(ResponseTemplate::new(502).set_body_string("<html>"))
        .mount(&server)
        .await;
    Mock::given(query_param("per_page", "50"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!([])))
        .mount(&server)
        .await;
    for (failures, code) in [(0, Some("transient")), (1, Some("transient")), (2, None)] {
        let request_after_failures = SyncRequest {
            failures,
            ..request("pulls", None, now())
        };
        let page = github.sync(request_after_failures).await;
        assert_eq!(page.err().map(|error| error.code()), code, "{failures}");
    }
    let mut root = request("pulls", None, now());
    ROOT.clone_into(&mut root.stream.key);
    root.failures = 2;
    let page = github.sync(root).await;
    // The mock server responded with a list of another form.
    assert_eq!(page.err().map(|error| error.code()), Some("permanent"));
}
