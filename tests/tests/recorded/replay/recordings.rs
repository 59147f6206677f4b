//! All recorded responses of GitHub's REST API, with their requests.

use serde_json::Value;

use crate::exchanges::{self, Exchange};
use crate::folder::{Folder, Recorded};

/// Fields of a stub by which a request is matched.
const TARGETS: [&str; 4] = ["url", "urlPath", "urlPattern", "urlPathPattern"];
/// Error statuses after which a later request may succeed.
const RETRYABLE: [u16; 3] = [401, 403, 429];

/// Reads all recordings.
pub(super) fn all(folder: &Folder) -> Vec<Exchange> {
    let files = folder.files("github", "recorded");
    files.iter().flat_map(read).collect()
}

/// Recorded error responses: status, headers and body text, with templates instead of times.
pub(super) fn error_responses(folder: &Folder) -> Vec<Value> {
    let stubs = folder.files("github", "recorded");
    let stubs = stubs.iter().filter(|file| is_stub(file));
    stubs
        .map(response)
        .filter(|response| RETRYABLE.contains(&status(response)))
        .collect()
}

fn read(file: &Recorded) -> Vec<Exchange> {
    if is_stub(file) {
        return vec![read_stub(file)];
    }
    if file.name.contains("/__files/") {
        // Bodies are read together with their stubs.
        return Vec::new();
    }
    if file.extension() == "txt" {
        return read_log(file);
    }
    if file.name.ends_with("/raw-fixture.json") {
        let content = file.json();
        let entries = content.as_array().expect("a list").iter();
        return entries.map(|entry| read_entry(file, entry)).collect();
    }
    if file.name.ends_with("/normalized-fixture.json") {
        // A copy of the raw fixture with other ids.
        return Vec::new();
    }
    exchanges::read(file)
}

fn is_stub(file: &Recorded) -> bool {
    file.name.contains("/mappings/")
}

/// A stub: a request matcher with its response.
fn read_stub(file: &Recorded) -> Exchange {
    let response = response(file);
    let request = &file.json()["request"];
    let target = TARGETS.iter().find_map(|name| request[*name].as_str());
    let body = response["body"].as_str().unwrap_or_default();
    Exchange {
        source: file.name.clone(),
        path: target.map(str::to_owned),
        status: status(&response),
        headers: texts(&response["headers"]),
        body: serde_json::from_str(body).unwrap_or_default(),
    }
}

/// Response of a stub, with the body from a separate file if it has one.
fn response(file: &Recorded) -> Value {
    let mut response = file.json()["response"].clone();
    if let Some(name) = response["bodyFileName"].as_str() {
        let (_, name_of_stub) = file.name.split_once("/mappings/").expect("a stub");
        let body = file.optional_sibling(
            &format!("/mappings/{name_of_stub}"),
            &format!("/__files/{name}"),
        );
        response["body"] = body.unwrap_or_default().to_string().into();
    }
    response
}

fn status(response: &Value) -> u16 {
    let status = response["status"].as_u64().unwrap_or(200);
    status.try_into().expect("a status")
}

/// An exchange of a fixture: path, status and body.
fn read_entry(file: &Recorded, entry: &Value) -> Exchange {
    let path = entry["path"].as_str().expect("a path");
    Exchange {
        source: format!("{} ({path})", file.name),
        path: Some(path.to_owned()),
        status: status(entry),
        headers: Vec::new(),
        body: entry["response"].clone(),
    }
}

/// Exchanges of a log, with ten lines each.
///
/// The fifth line is the path, the eighth the status, and the tenth the body.
fn read_log(file: &Recorded) -> Vec<Exchange> {
    let text = String::from_utf8(file.bytes().to_vec()).expect("text");
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    let starts = (0..lines.len()).filter(|at| matches!(lines[*at], "http" | "https"));
    starts
        .filter_map(|at| {
            let body = serde_json::from_str(lines.get(at + 9)?).ok()?;
            Some(Exchange {
                source: file.name.clone(),
                path: Some(lines[at + 4].to_owned()),
                status: lines[at + 7].parse().ok()?,
                headers: Vec::new(),
                body,
            })
        })
        .collect()
}

fn texts(headers: &Value) -> Vec<(String, String)> {
    let headers = headers.as_object().into_iter().flatten();
    headers
        .filter_map(|(name, value)| Some((name.to_ascii_lowercase(), value.as_str()?.to_owned())))
        .collect()
}
