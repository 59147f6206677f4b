//! Batches: several requests to one API in a `multipart/mixed` body.
//!
//! Each part is an HTTP request of its own, charged like any other, with the token of the outer
//! request unless it has one. Source: "Batch requests" of the API guides.

use axum::body::to_bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use url::Url;

/// Maximum number of requests in a batch.
const MAX_PARTS: usize = 100;
/// Boundary of the parts of an answer.
const BOUNDARY: &str = "batch_7zjF0dVwKtXgQ5cW";

/// A request within a batch.
pub(super) struct Part {
    id: Option<String>,
    pub(super) method: Method,
    /// Decoded path below the API's root.
    pub(super) rest: String,
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// The responses to the parts of a batch, as one response.
pub(super) async fn join(parts: &[Part], responses: Vec<Response>) -> Response {
    let mut answer = Vec::new();
    for (part, response) in parts.iter().zip(responses) {
        answer.extend(part_text(part, response).await);
    }
    answer.extend(format!("--{BOUNDARY}--\r\n").into_bytes());
    let kind = format!("multipart/mixed; boundary={BOUNDARY}");
    ([(header::CONTENT_TYPE, kind)], answer).into_response()
}

/// A response as a part of the answer.
async fn part_text(part: &Part, response: Response) -> Vec<u8> {
    let (head, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let mut lines = vec![
        format!("--{BOUNDARY}"),
        "Content-Type: application/http".to_owned(),
    ];
    if let Some(id) = &part.id {
        lines.push(match id.strip_prefix('<') {
            Some(rest) => format!("Content-ID: <response-{rest}"),
            None => format!("Content-ID: response-{id}"),
        });
    }
    let reason = head.status.canonical_reason().unwrap_or_default();
    lines.push(String::new());
    lines.push(format!("HTTP/1.1 {} {reason}", head.status.as_u16()));
    for (name, value) in &head.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        lines.push(format!("{name}: {value}"));
    }
    lines.push(format!("Content-Length: {}\r\n\r\n", body.len()));
    let mut bytes = lines.join("\r\n").into_bytes();
    bytes.extend_from_slice(&body);
    bytes.extend_from_slice(b"\r\n");
    bytes
}

/// The requests of a batch; `None` if its form is wrong or it has too many.
pub(super) fn parse(headers: &HeaderMap, body: &[u8], root: &str) -> Option<Vec<Part>> {
    let kind = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let (kind, parameters) = kind.split_once(';')?;
    if kind.trim() != "multipart/mixed" {
        return None;
    }
    let boundary = parameters
        .split(';')
        .find_map(|parameter| parameter.trim().strip_prefix("boundary="))?
        .trim_matches('"');
    let text = std::str::from_utf8(body).ok()?.replace("\r\n", "\n");
    let delimiter = format!("--{boundary}");
    let mut parts = Vec::new();
    for section in text.split(delimiter.as_str()).skip(1) {
        if section.starts_with("--") {
            return Some(parts);
        }
        if parts.len() == MAX_PARTS {
            return None;
        }
        parts.push(parse_part(section.trim_start_matches('\n'), headers, root)?);
    }
    None
}

fn parse_part(text: &str, outer: &HeaderMap, root: &str) -> Option<Part> {
    let (envelope, request) = text.split_once("\n\n")?;
    let id = parse_headers(envelope);
    let id = id.get("content-id").and_then(|id| id.to_str().ok());
    let (head, body) = request.split_once("\n\n").unwrap_or((request, ""));
    let (line, head) = head.split_once('\n').unwrap_or((head, ""));
    let mut words = line.split_ascii_whitespace();
    let method = words.next()?.parse().ok()?;
    let target = words.next()?;
    // Clients send a path or a whole URL.
    let target = Url::parse("http://batch.example/")
        .ok()?
        .join(target)
        .ok()?;
    let path = target.path();
    let rest = &path[path.find(root)? + root.len()..];
    let mut headers = parse_headers(head);
    if !headers.contains_key(header::AUTHORIZATION)
        && let Some(token) = outer.get(header::AUTHORIZATION)
    {
        headers.insert(header::AUTHORIZATION, token.clone());
    }
    Some(Part {
        id: id.map(str::to_owned),
        method,
        rest: percent_decoded(rest.trim_start_matches('/')),
        query: target.query().unwrap_or_default().to_owned(),
        headers,
        body: body.trim_end_matches('\n').as_bytes().to_vec(),
    })
}

fn parse_headers(text: &str) -> HeaderMap {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines
        .filter_map(|(name, value)| {
            let name: HeaderName = name.trim().parse().ok()?;
            Some((name, HeaderValue::from_str(value.trim()).ok()?))
        })
        .collect()
}

/// Decodes a path, in which `+`, `&` and `=` have no meaning of their own.
fn percent_decoded(path: &str) -> String {
    let form = path.replace('+', "%2B");
    let form = form.replace('&', "%26").replace('=', "%3D");
    url::form_urlencoded::parse(form.as_bytes())
        .map(|(name, _)| name.into_owned())
        .next()
        .unwrap_or_default()
}
