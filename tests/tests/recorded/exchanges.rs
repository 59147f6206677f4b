//! Recorded responses, from the file formats of their recorders.

use serde_json::{Value, json};

use crate::folder::Recorded;
use crate::server::RecordedResponse;

/// Headers that affect clients; others are specific to the recorder.
const HEADERS: [&str; 2] = ["content-type", "retry-after"];

/// A recorded response with its request.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    /// File and position of the recording.
    pub(crate) source: String,
    /// Path of the request, if recorded.
    pub(crate) path: Option<String>,
    /// Status; 200 if only the body was recorded.
    pub(crate) status: u16,
    /// Headers that affect clients.
    pub(crate) headers: Vec<(String, String)>,
    /// Body of the response.
    pub(crate) body: Value,
}

impl Exchange {
    /// The response for a local server.
    pub(crate) fn response(&self) -> RecordedResponse {
        RecordedResponse {
            status: self.status,
            headers: self.headers.clone(),
            body: self.body.to_string(),
        }
    }
}

/// Reads all responses of a file.
pub(crate) fn read(file: &Recorded) -> Vec<Exchange> {
    let text = String::from_utf8(file.bytes().to_vec()).expect("text");
    match file.extension() {
        "yml" => return cassette(&file.name, &text),
        "csv" => return table(&file.name, &text),
        _ => {}
    }
    let Ok(content) = serde_json::from_str::<Value>(&text) else {
        return vec![body_only(&file.name, Value::String(text))];
    };
    if content["api"].is_object() {
        return mocks(&file.name, &content["api"]);
    }
    if content["response"].is_object() && content["endpoint"].is_string() {
        return vec![mock(&file.name, &content["endpoint"], &content)];
    }
    match &content {
        // Several responses of one method, each with a label.
        Value::Object(labelled) if labelled.values().all(|body| body["ok"].is_boolean()) => {
            labelled
                .iter()
                .map(|(label, body)| body_only(&format!("{} ({label})", file.name), body.clone()))
                .collect()
        }
        _ => vec![body_only(&file.name, content)],
    }
}

/// A response of which only the body was recorded.
fn body_only(source: &str, body: Value) -> Exchange {
    Exchange {
        source: source.to_owned(),
        path: None,
        status: 200,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body,
    }
}

/// Mocks of an integration platform, by method and path.
fn mocks(name: &str, api: &Value) -> Vec<Exchange> {
    let mut found = Vec::new();
    for paths in api.as_object().into_iter().flat_map(|api| api.values()) {
        for (path, mocks) in paths.as_object().into_iter().flatten() {
            let mocks = match mocks {
                Value::Array(mocks) => mocks.as_slice(),
                single => std::slice::from_ref(single),
            };
            let path = json!(path);
            found.extend(mocks.iter().map(|entry| mock(name, &path, entry)));
        }
    }
    found
}

fn mock(name: &str, path: &Value, mock: &Value) -> Exchange {
    let is_relevant = |name: &str| {
        let name = name.to_ascii_lowercase();
        HEADERS.contains(&name.as_str()) || name.contains("ratelimit")
    };
    let headers = mock["headers"].as_object().into_iter().flatten();
    let path = path.as_str().expect("a path");
    Exchange {
        source: format!("{name} ({path})"),
        path: Some(path.to_owned()),
        status: mock["status"]
            .as_u64()
            .and_then(|status| status.try_into().ok())
            .unwrap_or(200),
        headers: headers
            .filter(|(name, _)| is_relevant(name))
            .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
            .collect(),
        body: mock["response"].clone(),
    }
}

/// Interactions of a VCR cassette. Supports only the YAML that cassettes use.
fn cassette(name: &str, text: &str) -> Vec<Exchange> {
    let mut found = Vec::new();
    for interaction in text.split("\n- request:").skip(1) {
        let (request, response) = interaction.split_once("\n  response:").expect("a response");
        let line = |part: &str, label: &str| {
            let found = part
                .lines()
                .find_map(|line| line.trim_start().strip_prefix(label));
            found.map(|value| value.trim().to_owned())
        };
        let uri = line(request, "uri:").expect("an address");
        let code = line(response, "code:").and_then(|code| code.parse().ok());
        let body = response
            .split_once("string: ")
            .map(|(_, rest)| scalar(rest));
        found.push(Exchange {
            source: format!("{name} ({uri})"),
            path: Some(uri),
            status: code.expect("a status"),
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: body
                .and_then(|body| serde_json::from_str(&body).ok())
                .unwrap_or_default(),
        });
    }
    found
}

/// A YAML scalar in single quotes, with doubled quotes and folded lines.
fn scalar(text: &str) -> String {
    let Some(quoted) = text.strip_prefix('\'') else {
        return text.lines().next().unwrap_or_default().to_owned();
    };
    let mut value = String::new();
    let mut rest = quoted;
    while let Some((before, after)) = rest.split_once('\'') {
        value.push_str(before);
        let Some(more) = after.strip_prefix('\'') else {
            break;
        };
        value.push('\'');
        rest = more;
    }
    let lines: Vec<&str> = value.lines().map(str::trim).collect();
    lines.join(" ")
}

/// Rows of a CSV file of raw objects, with the columns `data` and `url`.
fn table(name: &str, text: &str) -> Vec<Exchange> {
    let mut rows = records(text).into_iter();
    let head = rows.next().expect("a head");
    let column = |label: &str| {
        head.iter()
            .position(|name| name == label)
            .expect("a column")
    };
    let (data, url) = (column("data"), column("url"));
    rows.filter(|row| row.len() == head.len())
        .map(|row| Exchange {
            path: Some(row[url].clone()),
            ..body_only(name, serde_json::from_str(&row[data]).expect("JSON"))
        })
        .collect()
}

/// Records of comma-separated values (RFC 4180).
fn records(text: &str) -> Vec<Vec<String>> {
    let mut records = vec![vec![String::new()]];
    let mut quoted = false;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let record = records.last_mut().expect("a record");
        let field = record.last_mut().expect("a field");
        match (character, quoted) {
            ('"', true) if characters.next_if_eq(&'"').is_some() => field.push('"'),
            ('"', _) => quoted = !quoted,
            (',', false) => record.push(String::new()),
            ('\n', false) => records.push(vec![String::new()]),
            ('\r', false) => {}
            (other, _) => field.push(other),
        }
    }
    records
}
