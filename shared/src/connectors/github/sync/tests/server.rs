//! A list that a server shows in pages, as GitHub does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

use crate::crypto::sha256;

/// How a list is shown: which of its rows, in which order.
pub(super) type Show = fn(&[Value], &HashMap<String, String>) -> Vec<Value>;
/// What happens to the rows after each answer; the number counts answers.
type Happen = Box<dyn Fn(usize, &mut Vec<Value>) + Send>;

struct State {
    rows: Vec<Value>,
    answers: usize,
    not_modified: usize,
    happen: Option<Happen>,
}

/// One list; its rows can be looked at and changed while it is read.
#[derive(Clone)]
pub(super) struct List {
    state: Arc<Mutex<State>>,
    /// Where it is, for links: a request does not say under which name it came.
    base: url::Url,
    show: Show,
    /// Under which name the rows stand, where they do not stand alone.
    envelope: Option<&'static str>,
    /// How many results a query shows at most.
    shown: usize,
}

impl List {
    pub(super) async fn at(server: &MockServer, place: &str, show: Show, rows: Vec<Value>) -> Self {
        Self::put(server, place, show, rows, None, usize::MAX).await
    }

    pub(super) async fn put(
        server: &MockServer,
        place: &str,
        show: Show,
        rows: Vec<Value>,
        envelope: Option<&'static str>,
        shown: usize,
    ) -> Self {
        let state = State {
            rows,
            answers: 0,
            not_modified: 0,
            happen: None,
        };
        let base = server.uri().parse().expect("a URL");
        let list = Self {
            state: Arc::new(Mutex::new(state)),
            base,
            show,
            envelope,
            shown,
        };
        Mock::given(method("GET"))
            .and(path(format!("/api/v3{place}")))
            .respond_with(list.clone())
            .mount(server)
            .await;
        list
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn change(&self, how: impl FnOnce(&mut Vec<Value>)) {
        how(&mut self.state().rows);
    }

    /// Lets something happen after each answer from now on.
    pub(super) fn meanwhile(&self, how: impl Fn(usize, &mut Vec<Value>) + Send + 'static) {
        self.state().happen = Some(Box::new(how));
    }

    pub(super) fn answers(&self) -> usize {
        self.state().answers
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
        let all = (self.show)(&state.rows, &query);
        let reachable = all.len().min(self.shown);
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
        state.answers += 1;
        let known = request
            .headers
            .get("if-none-match")
            .and_then(|value| value.to_str().ok());
        let mut answer = if known == Some(&etag) {
            state.not_modified += 1;
            ResponseTemplate::new(304)
        } else {
            ResponseTemplate::new(200).set_body_json(body)
        };
        answer = answer.insert_header("etag", etag.as_str());
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
            answer = answer.insert_header("link", links.join(", ").as_str());
        }

        let count = state.answers;
        let happen = state.happen.take();
        if let Some(happen) = &happen {
            happen(count, &mut state.rows);
        }
        state.happen = happen;
        answer
    }
}

/// A field as a time.
pub(super) fn time(row: &Value, field: &str) -> DateTime<Utc> {
    let text = row[field].as_str().expect("a time");
    DateTime::parse_from_rfc3339(text)
        .expect("a time")
        .with_timezone(&Utc)
}

/// What was updated at or after `since`, in the order that is asked for.
pub(super) fn since(rows: &[Value], query: &HashMap<String, String>) -> Vec<Value> {
    assert_eq!(query["sort"], "updated");
    let since = DateTime::parse_from_rfc3339(&query["since"])
        .expect("a time")
        .with_timezone(&Utc);
    let mut shown: Vec<Value> = rows
        .iter()
        .filter(|row| time(row, "updated_at") >= since)
        .cloned()
        .collect();
    shown.sort_by_key(|row| (time(row, "updated_at"), row["id"].as_u64()));
    match query["direction"].as_str() {
        "asc" => {}
        "desc" => shown.reverse(),
        other => panic!("not a direction: {other}"),
    }
    shown
}

/// Everything, the latest update first.
pub(super) fn latest_update_first(rows: &[Value], query: &HashMap<String, String>) -> Vec<Value> {
    assert_eq!(
        (query["sort"].as_str(), query["direction"].as_str()),
        ("updated", "desc")
    );
    let mut shown = rows.to_vec();
    shown.sort_by_key(|row| std::cmp::Reverse((time(row, "updated_at"), row["id"].as_u64())));
    shown
}

/// Everything, the latest creation first.
pub(super) fn latest_first(rows: &[Value], _: &HashMap<String, String>) -> Vec<Value> {
    let mut shown = rows.to_vec();
    shown.sort_by_key(|row| std::cmp::Reverse((time(row, "created_at"), row["id"].as_u64())));
    shown
}

/// What was created in a window, the latest first.
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

/// As it stands.
pub(super) fn as_it_stands(rows: &[Value], _: &HashMap<String, String>) -> Vec<Value> {
    rows.to_vec()
}
