//! Recorded answers, out of the forms in which their recorders kept them.

use serde_json::{Value, json};

use crate::folder::Recorded;
use crate::server::Answer;

/// Headers that mean something to a client; the others belong to the recorder's connection.
const HEADERS: [&str; 2] = ["content-type", "retry-after"];

/// An answer as it was recorded.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    /// The file it is from, and which of its answers it is.
    pub(crate) place: String,
    /// What was asked for, where that was recorded.
    pub(crate) path: Option<String>,
    /// Its status; a success, where only the body was kept.
    pub(crate) status: u16,
    /// The headers that mean something.
    pub(crate) headers: Vec<(String, String)>,
    /// What was answered.
    pub(crate) body: Value,
}

impl Exchange {
    /// The answer, for a server to give.
    pub(crate) fn answer(&self) -> Answer {
        Answer {
            status: self.status,
            headers: self.headers.clone(),
            body: self.body.to_string(),
        }
    }
}

/// Every answer that a file holds.
pub(crate) fn of(file: &Recorded) -> Vec<Exchange> {
    let text = String::from_utf8(file.bytes().to_vec()).expect("text");
    match file.extension() {
        "yml" => return cassette(&file.name, &text),
        "csv" => return table(&file.name, &text),
        _ => {}
    }
    let Ok(content) = serde_json::from_str::<Value>(&text) else {
        return vec![bare(&file.name, Value::String(text))];
    };
    if content["api"].is_object() {
        return mocks(&file.name, &content["api"]);
    }
    if content["response"].is_object() && content["endpoint"].is_string() {
        return vec![mock(&file.name, &content["endpoint"], &content)];
    }
    match &content {
        // Several answers of one method, each under a word.
        Value::Object(several) if several.values().all(|one| one["ok"].is_boolean()) => several
            .iter()
            .map(|(word, body)| bare(&format!("{} ({word})", file.name), body.clone()))
            .collect(),
        _ => vec![bare(&file.name, content)],
    }
}

/// An answer of which only the body was kept.
fn bare(place: &str, body: Value) -> Exchange {
    Exchange {
        place: place.to_owned(),
        path: None,
        status: 200,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body,
    }
}

/// The mocks that an integration platform recorded: by method, by path.
fn mocks(name: &str, api: &Value) -> Vec<Exchange> {
    let mut found = Vec::new();
    for paths in api.as_object().into_iter().flat_map(|api| api.values()) {
        for (path, mocks) in paths.as_object().into_iter().flatten() {
            let several = match mocks {
                Value::Array(several) => several.as_slice(),
                one => std::slice::from_ref(one),
            };
            let path = json!(path);
            found.extend(several.iter().map(|one| mock(name, &path, one)));
        }
    }
    found
}

fn mock(name: &str, path: &Value, mock: &Value) -> Exchange {
    let kept = |name: &str| {
        let name = name.to_ascii_lowercase();
        HEADERS.contains(&name.as_str()) || name.contains("ratelimit")
    };
    let headers = mock["headers"].as_object().into_iter().flatten();
    let path = path.as_str().expect("a path");
    Exchange {
        place: format!("{name} ({path})"),
        path: Some(path.to_owned()),
        status: mock["status"]
            .as_u64()
            .and_then(|status| status.try_into().ok())
            .unwrap_or(200),
        headers: headers
            .filter(|(name, _)| kept(name))
            .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
            .collect(),
        body: mock["response"].clone(),
    }
}

/// The interactions of a VCR cassette: its YAML, as far as cassettes use it.
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
            place: format!("{name} ({uri})"),
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

/// A quoted scalar of YAML: a quote is doubled, and a line that goes on is folded.
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

/// The rows of a table of raw answers: each has an object in `data`, from `url`.
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
            ..bare(name, serde_json::from_str(&row[data]).expect("JSON"))
        })
        .collect()
}

/// The records of comma-separated values (RFC 4180).
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
