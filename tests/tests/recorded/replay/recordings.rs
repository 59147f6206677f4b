//! Every answer that was recorded from GitHub's REST API, with what was asked for.

use serde_json::Value;

use crate::answers::{self, Exchange};
use crate::folder::{Folder, Recorded};

/// What a request of a stub is matched by.
const TARGETS: [&str; 4] = ["url", "urlPath", "urlPattern", "urlPathPattern"];
/// Statuses that refuse a request, and after which another may succeed.
const REFUSED: [u16; 3] = [401, 403, 429];

/// All of them.
pub(super) fn all(folder: &Folder) -> Vec<Exchange> {
    let files = folder.files("github", "recorded");
    files.iter().flat_map(exchanges).collect()
}

/// Recorded answers that refuse a request: status, headers and body as text, with the templates
/// that their recorder put in place of times.
pub(super) fn refusals(folder: &Folder) -> Vec<Value> {
    let stubs = folder.files("github", "recorded");
    let stubs = stubs.iter().filter(|file| is_stub(file));
    stubs
        .map(response)
        .filter(|response| REFUSED.contains(&status(response)))
        .collect()
}

fn exchanges(file: &Recorded) -> Vec<Exchange> {
    if is_stub(file) {
        return vec![stub(file)];
    }
    if file.name.contains("/__files/") {
        // The body of a stub.
        return Vec::new();
    }
    if file.extension() == "txt" {
        return log(file);
    }
    if file.name.ends_with("/raw-fixture.json") {
        let content = file.json();
        let several = content.as_array().expect("a list").iter();
        return several.map(|one| of_fixture(file, one)).collect();
    }
    if file.name.ends_with("/normalized-fixture.json") {
        // The same with its numbers replaced.
        return Vec::new();
    }
    answers::of(file)
}

fn is_stub(file: &Recorded) -> bool {
    file.name.contains("/mappings/")
}

/// A stub of a server: what it matches, and what it answers.
fn stub(file: &Recorded) -> Exchange {
    let response = response(file);
    let request = &file.json()["request"];
    let target = TARGETS.iter().find_map(|name| request[*name].as_str());
    let body = response["body"].as_str().unwrap_or_default();
    Exchange {
        place: file.name.clone(),
        path: target.map(str::to_owned),
        status: status(&response),
        headers: texts(&response["headers"]),
        body: serde_json::from_str(body).unwrap_or_default(),
    }
}

/// What a stub answers, with the body that may lie in a file of its own.
fn response(file: &Recorded) -> Value {
    let mut response = file.json()["response"].clone();
    if let Some(name) = response["bodyFileName"].as_str() {
        let (_, own) = file.name.split_once("/mappings/").expect("a stub");
        let body = file.sibling(&format!("/mappings/{own}"), &format!("/__files/{name}"));
        response["body"] = body.unwrap_or_default().to_string().into();
    }
    response
}

fn status(response: &Value) -> u16 {
    let status = response["status"].as_u64().unwrap_or(200);
    status.try_into().expect("a status")
}

/// An exchange of a fixture: path, status and body.
fn of_fixture(file: &Recorded, one: &Value) -> Exchange {
    let path = one["path"].as_str().expect("a path");
    Exchange {
        place: format!("{} ({path})", file.name),
        path: Some(path.to_owned()),
        status: status(one),
        headers: Vec::new(),
        body: one["response"].clone(),
    }
}

/// A log of exchanges: each has ten lines, of which the fifth is the path, the eighth the status
/// and the tenth the body.
fn log(file: &Recorded) -> Vec<Exchange> {
    let text = String::from_utf8(file.bytes().to_vec()).expect("text");
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    let starts = (0..lines.len()).filter(|at| matches!(lines[*at], "http" | "https"));
    starts
        .filter_map(|at| {
            let body = serde_json::from_str(lines.get(at + 9)?).ok()?;
            Some(Exchange {
                place: file.name.clone(),
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
