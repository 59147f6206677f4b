//! Extractors for paths and bodies that reject with an [`ApiError`].

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use shared::model::{ApiKeyId, ConnectionId, DeliveryId, JobId, SignalId, TenantId};
use uuid::Uuid;

use crate::error::{ApiError, FieldProblem};
use crate::query::{is_slug, parse_uuid};
use crate::state::AppState;

/// The id in a path such as `/v1/jobs/{id}/retry`.
#[derive(Debug)]
pub(crate) struct IdPath<T>(pub(crate) T);

/// The two ids of a path such as `/v1/tenants/{tenant_id}/api-keys/{id}`.
#[derive(Debug)]
pub(crate) struct IdPaths<A, B>(pub(crate) A, pub(crate) B);

/// The slug of a provider in a path.
#[derive(Debug)]
pub(crate) struct ProviderPath(pub(crate) String);

/// An id type that paths contain.
pub(crate) trait PathId: Send {
    fn new(id: Uuid) -> Self;
}

macro_rules! path_ids {
    ($($name:ident),*) => {
        $(impl PathId for $name {
            fn new(id: Uuid) -> Self {
                Self(id)
            }
        })*
    };
}

path_ids!(
    ApiKeyId,
    ConnectionId,
    DeliveryId,
    JobId,
    SignalId,
    TenantId
);

impl<T: PathId> FromRequestParts<Arc<AppState>> for IdPath<T> {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &Arc<AppState>,
    ) -> Result<Self, ApiError> {
        let Path(text) = extract_path::<String>(parts, state).await?;
        Ok(Self(parse_id(&text, "id")?))
    }
}

impl<A: PathId, B: PathId> FromRequestParts<Arc<AppState>> for IdPaths<A, B> {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &Arc<AppState>,
    ) -> Result<Self, ApiError> {
        let Path((first, second)) = extract_path::<(String, String)>(parts, state).await?;
        Ok(Self(
            parse_id(&first, "tenant_id")?,
            parse_id(&second, "id")?,
        ))
    }
}

impl FromRequestParts<Arc<AppState>> for ProviderPath {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &Arc<AppState>,
    ) -> Result<Self, ApiError> {
        let Path(slug) = extract_path::<String>(parts, state).await?;
        if is_slug(&slug) {
            Ok(Self(slug))
        } else {
            Err(ApiError::NotFound("provider"))
        }
    }
}

async fn extract_path<T>(parts: &mut Parts, state: &Arc<AppState>) -> Result<Path<T>, ApiError>
where
    T: DeserializeOwned + Send,
{
    Path::from_request_parts(parts, state)
        .await
        .map_err(|_| ApiError::Parameters(vec![FieldProblem::new("path", "is not UTF-8")]))
}

fn parse_id<T: PathId>(text: &str, name: &str) -> Result<T, ApiError> {
    parse_uuid(text)
        .map(T::new)
        .ok_or_else(|| ApiError::Parameters(vec![FieldProblem::new(name, "must be a UUID")]))
}

/// The validation of a body beyond its types.
pub(crate) trait Validate {
    /// Appends the invalid fields.
    fn validate(&self, problems: &mut Vec<FieldProblem>);
}

/// A deserialized and validated JSON body.
#[derive(Debug)]
pub(crate) struct JsonBody<T>(pub(crate) T);

/// Like [`JsonBody`]; an absent body and `null` count as an empty object.
#[derive(Debug)]
pub(crate) struct OptionalJsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned + Validate> FromRequest<Arc<AppState>> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &Arc<AppState>) -> Result<Self, ApiError> {
        let is_json = has_json_content_type(request.headers());
        let bytes = read_body(request, state).await?;
        if !is_json {
            return Err(ApiError::UnsupportedMediaType);
        }
        parse(&bytes).map(Self)
    }
}

impl<T: DeserializeOwned + Validate> FromRequest<Arc<AppState>> for OptionalJsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &Arc<AppState>) -> Result<Self, ApiError> {
        let is_json = has_json_content_type(request.headers());
        let bytes = read_body(request, state).await?;
        if !bytes.is_empty() && !is_json {
            return Err(ApiError::UnsupportedMediaType);
        }
        let is_absent = matches!(bytes.trim_ascii(), b"" | b"null");
        parse(if is_absent { b"{}" } else { &bytes }).map(Self)
    }
}

/// Reads the whole body, within the limit of the middleware.
pub(crate) async fn read_body<S>(request: Request, state: &S) -> Result<Bytes, ApiError>
where
    S: Send + Sync,
{
    Bytes::from_request(request, state)
        .await
        .map_err(|rejection| match rejection {
            BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => {
                ApiError::PayloadTooLarge
            }
            _ => ApiError::MalformedBody("failed to read the whole body".to_owned()),
        })
}

fn has_json_content_type(headers: &HeaderMap) -> bool {
    let Some(value) = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    let essence = value
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

fn parse<T: DeserializeOwned + Validate>(bytes: &[u8]) -> Result<T, ApiError> {
    // serde would also accept an array of the fields' values.
    if bytes.trim_ascii_start().first() == Some(&b'[')
        && serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok()
    {
        return Err(ApiError::Fields(vec![FieldProblem::new(
            ".",
            "must be an object",
        )]));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let body: T = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        body_error(&path, error.inner())
    })?;
    json.end()
        .map_err(|error| ApiError::MalformedBody(error.to_string()))?;
    let mut problems = Vec::new();
    body.validate(&mut problems);
    if problems.is_empty() {
        Ok(body)
    } else {
        Err(ApiError::Fields(problems))
    }
}

fn body_error(path: &str, error: &serde_json::Error) -> ApiError {
    if error.is_data() {
        ApiError::Fields(vec![FieldProblem::new(path, error.to_string())])
    } else {
        ApiError::MalformedBody(error.to_string())
    }
}

/// Deserializes an integer as JSON Schema defines it, which includes `30.0`.
pub(crate) fn deserialize_integer<'de, D>(deserializer: D) -> Result<Option<i32>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    let Some(number) = Option::<serde_json::Number>::deserialize(deserializer)? else {
        return Ok(None);
    };
    let whole = number.as_i64().or_else(|| {
        let float = number.as_f64().filter(|float| float.fract() == 0.0)?;
        // Values outside of these bounds are invalid, and within them the cast is exact.
        #[expect(clippy::cast_possible_truncation, reason = "checked to be within i32")]
        (f64::from(i32::MIN)..=f64::from(i32::MAX))
            .contains(&float)
            .then_some(float as i64)
    });
    whole
        .and_then(|whole| i32::try_from(whole).ok())
        .map(Some)
        .ok_or_else(|| serde::de::Error::custom("must be an integer within the documented range"))
}

/// Validates a name: 1 to 200 characters, not blank, no control characters.
pub(crate) fn validate_name(name: &str, problems: &mut Vec<FieldProblem>) {
    if name.trim().is_empty() || name.chars().count() > 200 {
        problems.push(FieldProblem::new(
            "name",
            "must have 1 to 200 characters and not be blank",
        ));
    } else if name.chars().any(char::is_control) {
        problems.push(FieldProblem::new(
            "name",
            "must not contain control characters",
        ));
    }
}

/// Reads an optional header with exactly one value that `accept` allows.
pub(crate) fn optional_header(
    headers: &HeaderMap,
    name: &HeaderName,
    expected: &str,
    accept: impl Fn(&str) -> bool,
) -> Result<Option<String>, ApiError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let text = value.to_str().ok().filter(|text| accept(text));
    match text {
        Some(text) if values.next().is_none() => Ok(Some(text.to_owned())),
        _ => {
            let problem = FieldProblem::new(name.as_str(), format!("must be {expected}"));
            Err(ApiError::Parameters(vec![problem]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Named {
        name: String,
    }

    impl Validate for Named {
        fn validate(&self, problems: &mut Vec<FieldProblem>) {
            validate_name(&self.name, problems);
        }
    }

    fn code_of(body: &[u8]) -> Option<&'static str> {
        parse::<Named>(body).err().map(|error| error.code())
    }

    #[test]
    fn bodies_are_malformed_or_invalid() {
        assert_eq!(code_of(br#"{"name":"Acme"}"#), None);
        for malformed in [
            &b""[..],
            b"{",
            b"{\"name\":\"\xff\"}",
            b"{\"name\":\"a\"} x",
            b"nil",
        ] {
            assert_eq!(code_of(malformed), Some("malformed_body"), "{malformed:?}");
        }
        for invalid in [
            &b"[]"[..],
            br#"["Acme"]"#,
            b"null",
            b"{}",
            br#"{"name":1}"#,
            br#"{"name":"a","colour":"red"}"#,
            br#"{"name":"a","name":"b"}"#,
            br#"{"name":"  "}"#,
            br#"{"name":"a\u0000"}"#,
        ] {
            assert_eq!(code_of(invalid), Some("invalid_body"), "{invalid:?}");
        }
    }

    #[test]
    fn name_length_is_counted_in_characters() {
        for (name, fits) in [("ä".repeat(200), true), ("a".repeat(201), false)] {
            let mut problems = Vec::new();
            validate_name(&name, &mut problems);
            assert_eq!(problems.is_empty(), fits);
        }
    }
}
