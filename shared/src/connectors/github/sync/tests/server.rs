//! A mock list that is served in pages like GitHub's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

use crate::crypto::sha256;

/// Selects and sorts the rows of a list for a query.
pub(super) type Query = fn(&[Value], &HashMap<String, String>) -> Vec<Value>;
/// Changes the rows after each response; the number counts responses.
type OnResponse = Box<dyn Fn(usize, &mut Vec<Value>) + Send>;

struct State {
    rows: Vec<Value>,
    responses: usize,
    not_modified: usize,
    on_response: Option<OnResponse>,
}

/// A list whose rows can change during a walk.
#[derive(Clone)]
pub(super) struct List {
    state: Arc<Mutex<State>>,
    /// Base URL of the links.
    base: url::Url,
    query_rows: Query,
    /// Field of the body that contains the rows; `None` if the body is the list.
    envelope: Option<&'static str>,
    /// Maximum number of results of a query.
    max_results: usize,
}

impl List {
    pub(super) async fn at(
        server: &MockServer,
        list_path: &str,
        query_rows: Query,
        rows: Vec<Value>,
    ) -> Self {
        Self::put(server, list_path, query_rows, rows, None, usize::MAX).await
    }

    pub(super) async fn put(
        server: &MockServer,
        list_path: &str,
        query_rows: Query,
        rows: Vec<Value>,
        envelope: Option<&'static str>,
        max_results: usize,
    ) -> Self {
        let state = State {
            rows,
            responses: 0,
            not_modified: 0,
            on_response: None,
        };
        let base = server.uri().parse().expect("a URL");
        let list = Self {
            state: Arc::new(Mutex::new(state)),
            base,
            query_rows,
            envelope,
            max_results,
        };
        Mock::given(method("GET"))
            .and(path(format!("/api/v3{list_path}")))
            .respond_with(list.clone())
            .mount(server)
            .await;
        list
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn change(&self, change_rows: impl FnOnce(&mut Vec<Value>)) {
        change_rows(&mut self.state().rows);
    }

    /// Sets the change of the rows after each response.
    pub(super) fn on_each_response(
        &self,
        change_rows: impl Fn(usize, &mut Vec<Value>) + Send + 'static,
    ) {
        self.state().on_response = Some(Box::new(change_rows));
    }

    pub(super) fn responses(&self) -> usize {
        self.state().responses
    }

    pub(super) fn not_modified(&self) -> usize {
        self.state().not_modified
    }
}

impl Respond for List {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let query: HashMap<String, String> = request.url.query_pairs().into_owned().collect();
        let number = |name: &str, default: usize| {
            query
                .get(name)
                .map_or(default, |text| text.parse().expect("a number"))
        };
        let (size, page) = (number("per_page", 30).min(100), number("page", 1));
        let mut state = self.state();
        let all = (self.query_rows)(&state.rows, &query);
        let reachable = all.len().min(self.max_results);
        let start = ((page - 1) * size).min(reachable);
        let end = (start + size).min(reachable);
        let last = reachable.div_ceil(size).max(1);
        let rows = &all[start..end];

        let body = match self.envelope {
            Some(name) => json!({ "total_count": all.len(), name: rows }),
            None => json!(rows),
        };
        let etag = format!(
            "W/\"{}\"",
            hex::encode(&sha256(body.to_string().as_bytes())[..8])
        );
        state.responses += 1;
        let known_etag = request
            .headers
            .get("if-none-match")
            .and_then(|value| value.to_str().ok());
        let mut response = if known_etag == Some(&etag) {
            state.not_modified += 1;
            ResponseTemplate::new(304)
        } else {
            ResponseTemplate::new(200).set_body_json(body)
        };
        response = response.insert_header("etag", etag.as_str());
        let mut links = Vec::new();
        let mut link = |relation: &str, page: usize| {
            let mut url = self.base.join(request.url.path()).expect("a URL");
            let kept: Vec<(String, String)> = request
                .url
                .query_pairs()
                .into_owned()
                .filter(|(name, _)| name != "page")
                .collect();
            url.query_pairs_mut()
                .clear()
                .extend_pairs(kept)
                .append_pair("page", &page.to_string());
            links.push(format!("<{url}>; rel=\"{relation}\""));
        };
        if page > 1 {
            link("first", 1);
            link("prev", (page - 1).min(last));
        }
        if page < last {
            link("next", page + 1);
        }
        if page != last {
            link("last", last);
        }
        if !links.is_empty() {
            response = response.insert_header("link", links.join(", ").as_str());
        }

        let count = state.responses;
        let on_response = state.on_response.take();
        if let Some(on_response) = &on_response {
            on_response(count, &mut state.rows);
        }
        state.on_response = on_response;
        response
    }
}

/// Parses a field as a time.
pub(super) fn time(row: &Value, field: &str) -> DateTime<Utc> {
    let text = row[field].as_str().expect("a time");
    DateTime::parse_from_rfc3339(text)
        .expect("a time")
        .with_timezone(&Utc)
}

/// Rows updated at or after `since`, in the requested order.
pub(super) fn since(rows: &[Value], query: &HashMap<String, String>) -> Vec<Value> {
    assert_eq!(query["sort"], "updated");
    let since = DateTime::parse_from_rfc3339(&query["since"])
        .expect("a time")
        .with_timezone(&Utc);
    let mut matching: Vec<Value> = rows
        .iter()
        .filter(|row| time(row, "updated_at") >= since)
        .cloned()
        .collect();
    matching.sort_by_key(|row| (time(row, "updated_at"), row["id"].as_u64()));
    match query["direction"].as_str() {
        "asc" => {}
        "desc" => matching.reverse(),
        other => panic!("not a direction: {other}"),
    }
    matching
}

/// All rows, the latest update first.
pub(super) fn latest_update_first(rows: &[Value], query: &HashMap<String, String>) -> Vec<Value> {
    assert_eq!(
        (query["sort"].as_str(), query["direction"].as_str()),
        ("updated", "desc")
    );
    let mut matching = rows.to_vec();
    matching.sort_by_key(|row| std::cmp::Reverse((time(row, "updated_at"), row["id"].as_u64())));
    matching
}

/// All rows, the latest creation first.
pub(super) fn latest_first(rows: &[Value], _: &HashMap<String, String>) -> Vec<Value> {
    let mut matching = rows.to_vec();
    matching.sort_by_key(|row| std::cmp::Reverse((time(row, "created_at"), row["id"].as_u64())));
    matching
}

/// Rows created in a window, the latest first.
pub(super) fn created(rows: &[Value], query: &HashMap<String, String>) -> Vec<Value> {
    let parse = |text: &str| {
        DateTime::parse_from_rfc3339(text)
            .expect("a time")
            .with_timezone(&Utc)
    };
    let window = &query["created"];
    let (from, to) = match (window.strip_prefix(">="), window.split_once("..")) {
        (Some(from), None) => (parse(from), DateTime::<Utc>::MAX_UTC),
        (None, Some((from, to))) => (parse(from), parse(to)),
        _ => panic!("not a window: {window}"),
    };
    let inside: Vec<Value> = rows
        .iter()
        .filter(|row| (from..=to).contains(&time(row, "created_at")))
        .cloned()
        .collect();
    latest_first(&inside, query)
}

/// All rows in their order.
pub(super) fn unchanged(rows: &[Value], _: &HashMap<String, String>) -> Vec<Value> {
    rows.to_vec()
}
