//! Strings that get new values in later releases: described as open, with their values so far.
//!
//! A closed `enum` would make generated clients fail on a new value.

use serde_json::Value;
use shared::config::{Env, Reader};
use shared::connectors::ConnectorSettings;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::schema::Components;
use utoipa::openapi::{Object, RefOr, Schema};

/// The extension that lists the values so far.
const EXTENSION: &str = "x-extensible-enum";

/// Schemas of a closed type in the code whose values readers must not rely on.
const SCHEMAS: &[&str] = &["SignalKind", "JobKind", "ContextKind", "DeliverySource"];

/// Fields of a closed type that are described in place.
const FIELDS: &[(&str, &str)] = &[("Health", "reason"), ("HealthAction", "kind")];

/// Codes of failed attempts.
const JOB_ERRORS: &[&str] = &[
    "conflict",
    "credential_missing",
    "credential_sealed",
    "cursor_expired",
    "database",
    "database_unavailable",
    "grant_revoked",
    "grant_suspended",
    "lease_lost",
    "panicked",
    "permanent",
    "permission",
    "rate_limited",
    "statement_timeout",
    "token_busy",
    "transient",
    "unauthorized",
    "unreadable_job",
    "worker_lost",
];

/// Opens the schemas and fields, and lists the values of strings.
pub(super) fn open(components: &mut Components) {
    for name in SCHEMAS {
        if let Some(RefOr::T(schema)) = components.schemas.get_mut(*name) {
            open_schema(schema);
        }
    }
    for (schema, field) in FIELDS {
        if let Some(field) = field_mut(components, schema, field) {
            open_schema(field);
        }
    }
    let codes = super::errors::codes();
    let job_errors = || JOB_ERRORS.iter().map(|code| (*code).to_owned()).collect();
    for (schema, field, values) in [
        ("Problem", "code", codes),
        ("JobError", "code", job_errors()),
        ("Signal", "source", sources()),
        ("Completeness", "source", sources()),
    ] {
        if let Some(Schema::Object(object)) = field_mut(components, schema, field) {
            list_values(object, values.into_iter().map(Value::from).collect());
        }
    }
}

/// The slugs of all providers.
fn sources() -> Vec<String> {
    let env = Env::default();
    let settings = ConnectorSettings::from_reader(&mut Reader::new(&env));
    let mut slugs: Vec<String> = settings.limits().into_keys().map(str::to_owned).collect();
    slugs.sort();
    slugs
}

fn field_mut<'c>(
    components: &'c mut Components,
    schema: &str,
    field: &str,
) -> Option<&'c mut Schema> {
    match components.schemas.get_mut(schema)? {
        RefOr::T(Schema::Object(object)) => match object.properties.get_mut(field)? {
            RefOr::T(schema) => Some(schema),
            RefOr::Ref(_) => None,
        },
        _ => None,
    }
}

/// Replaces the `enum` of a schema, or of the part of it that has one.
fn open_schema(schema: &mut Schema) {
    match schema {
        Schema::Object(object) => {
            if let Some(values) = object.enum_values.take() {
                list_values(object, values);
            }
        }
        Schema::AllOf(parts) => {
            for part in &mut parts.items {
                if let RefOr::T(part) = part {
                    open_schema(part);
                }
            }
        }
        _ => {}
    }
}

fn list_values(object: &mut Object, values: Vec<Value>) {
    let extension = [(EXTENSION, Value::from(values))];
    object
        .extensions
        .get_or_insert_default()
        .merge(Extensions::from_iter(extension));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The document's value at a path.
    fn at(path: &str) -> Value {
        let (_, document) = crate::router::build();
        let document = serde_json::to_value(document).expect("JSON");
        document.pointer(path).cloned().unwrap_or_default()
    }

    #[test]
    fn kinds_sources_and_codes_are_open() {
        let schemas = at("/components/schemas");
        for path in [
            "/SignalKind",
            "/JobKind",
            "/Signal/properties/source",
            "/Problem/properties/code",
            "/JobError/properties/code",
            "/Health/properties/reason/allOf/0",
        ] {
            let schema = schemas.pointer(path).expect(path);
            assert!(schema.get("enum").is_none(), "{path} is closed");
            let values = schema[EXTENSION].as_array().expect(path);
            assert!(values.len() > 5, "{path}: {values:?}");
        }
    }

    #[test]
    fn codes_of_failed_attempts_are_listed() {
        let sources = [
            include_str!("../../../sync-worker/src/failure.rs"),
            include_str!("../../../shared/src/connectors/error.rs"),
        ];
        let codes = |text: &'static str, mark: &'static str| {
            let rest = text.split(mark).skip(1);
            let quoted =
                rest.filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next());
            // Messages have spaces.
            quoted.filter(|text| text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
        };
        let mut count = 0;
        for code in codes(sources[0], "error(").chain(codes(sources[1], "=>")) {
            assert!(JOB_ERRORS.contains(&code), "{code} is not listed");
            count += 1;
        }
        assert!(count > 10, "{count} codes");
    }
}
