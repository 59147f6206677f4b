//! Usage statistics of requests to a site.

use std::collections::BTreeMap;

use axum::http::HeaderValue;
use serde_json::Value;

use super::{SiteRequest, search};
use crate::jira::{Jira, SOURCE, limits};
use crate::usage::{self, Outcome, ResponseFingerprint, hash, hash_without};

/// Field of the page token in requests and responses.
const PAGE_TOKEN: &str = "nextPageToken";
/// Response fields that change although the data does not.
const VOLATILE: [&str; 3] = [PAGE_TOKEN, "until", "serverTime"];

/// Records a request and its points for the site and the app.
pub(super) fn record(service: &Jira, site: &str, endpoint: &str, outcome: Outcome) {
    let points = match outcome {
        Outcome::Charged(points, _) => points,
        _ => 0,
    };
    service.core.usage.record(&usage::Request {
        source: SOURCE,
        account: site,
        route: endpoint,
        at: service.core.clock.milliseconds(),
        outcome,
        used: &[(limits::SITE, points), (limits::APP, points)],
    });
}

impl SiteRequest<'_> {
    /// Hashes of the request and its response.
    pub(super) fn fingerprint(
        &self,
        path: &str,
        token: Option<&HeaderValue>,
        body: Option<&Value>,
    ) -> ResponseFingerprint {
        ResponseFingerprint {
            request: self.request_hash(path),
            body: body.map_or(0, |body| hash_without(body, &VOLATILE)),
            token: hash(&token.map(HeaderValue::as_bytes)),
        }
    }

    /// Hash of caller and request, with the position of a page token instead of the token.
    fn request_hash(&self, path: &str) -> u64 {
        let body_token = self.body[PAGE_TOKEN].as_str().unwrap_or_default();
        let positions = [body_token, self.text(PAGE_TOKEN)].map(search::token_position);
        let query: BTreeMap<&String, &String> = self
            .query
            .iter()
            .filter(|(name, _)| *name != PAGE_TOKEN)
            .collect();
        let body = hash_without(self.body, &[PAGE_TOKEN]);
        hash(&(
            &self.caller.person,
            self.site,
            self.method,
            path,
            query,
            body,
            positions,
        ))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, Method, StatusCode, header};
    use serde_json::json;

    use crate::jira::Jira;
    use crate::jira::rest::{Fields, respond};
    use crate::jira::world::AccessToken;
    use crate::{Config, Core, control};

    #[tokio::test]
    async fn same_page_counts_as_repeated_despite_new_token() {
        let config = Config {
            accounts: 1,
            history: 10,
            ..Config::default()
        };
        let service = Jira::start(&config, "http://a", 1, Core::new(1)).expect("Jira");
        let site = {
            let mut world = service.world();
            let site = world.sites.keys().next().expect("a site").clone();
            let person = world.sites[&site].admin.clone();
            world.grants.insert(person.clone(), [site.clone()].into());
            for token in ["one", "two"] {
                let access = AccessToken {
                    person: person.clone(),
                    scopes: vec!["read:jira-work".to_owned()],
                    expires: i64::MAX,
                };
                world.access_tokens.insert(token.to_owned(), access);
            }
            site
        };
        let search = async |page: &str, token: &str| {
            let bearer = format!("Bearer {token}").parse().expect("a header");
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, bearer)]);
            let mut body = json!({ "jql": "project = ENG", "maxResults": 1 });
            if !page.is_empty() {
                body["nextPageToken"] = json!(page);
            }
            let (path, query) = ("rest/api/3/search/jql", Fields::new());
            let body = body.to_string();
            let body = body.as_bytes();
            let response = respond(&service, &site, path, &Method::POST, &query, &headers, body);
            assert_eq!(response.status(), StatusCode::OK);
            let body = axum::body::to_bytes(response.into_body(), 100_000).await;
            let body: serde_json::Value =
                serde_json::from_slice(&body.expect("a body")).expect("JSON");
            body["nextPageToken"].as_str().expect("a token").to_owned()
        };
        for (token, repeated, recharged) in [("one", 0, 0), ("one", 2, 0), ("two", 2, 2)] {
            let next = search("", token).await;
            search(&next, token).await;
            service.core.clock.advance(1);
            let usage = control::usage(&service.core, &*service, &site);
            assert_eq!((usage.repeated, usage.recharged), (repeated, recharged));
        }
        let usage = control::usage(&service.core, &*service, &site);
        assert_eq!((usage.requests, usage.charged), (6, 12), "two points each");
        assert_eq!(usage.limits["app"].quota, Some(65_000));
        assert_eq!(usage.limits["site"].quota, Some(100_000));
    }
}
