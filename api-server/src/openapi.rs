//! The API's own document: what the routes say of themselves, and what is true of all.
//!
//! A route names its needs as the roles of its security requirement: `operator`, or a
//! key's scope. Errors, the header that names a tenant and the shape of a problem follow
//! from that here, once.

use std::collections::BTreeMap;

use shared::telemetry::OperationalApi;
use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::SchemaType;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    ContentBuilder, HeaderBuilder, KnownFormat, ObjectBuilder, OpenApi as Document, Ref, RefOr,
    Required, Response, ResponseBuilder, Schema, SchemaFormat, Type,
};

/// The role that stands for an operator's token.
const OPERATOR: &str = "operator";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Poblysh Connectors",
        description = "Connects teams' tools and turns what happens there into Signals.\n\n\
            Operators send their token as `Authorization: Bearer …` and name a tenant in \
            `X-Tenant-Id`; tenants send an API key (`pbk_…`), which implies its tenant. Answers to \
            a key carry `RateLimit-Policy` and `RateLimit`: its limits, and what is left of them. Errors \
            are `application/problem+json` (RFC 9457) with a stable `code`. Lists are \
            paginated by `cursor`; the feed is followed by its `next_cursor`."
    ),
    tags(
        (name = "providers", description = "What can be connected"),
        (name = "tenants", description = "Teams and their API keys; for operators"),
        (name = "connect", description = "From a link to a proved grant"),
        (name = "connections", description = "Grants at providers"),
        (name = "jobs", description = "Work under way and done"),
        (name = "signals", description = "The product: one feed per tenant"),
        (name = "webhook-deliveries", description = "What providers sent")
    ),
    components(schemas(shared::problem::Problem))
)]
struct Base;

/// The document as it is committed to the repository: pretty-printed, with a newline.
pub fn openapi_json() -> String {
    let (_, document) = crate::router::build();
    let mut text = document.to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// What the routes' own descriptions are added to.
pub(crate) fn base() -> Document {
    let mut document = Base::openapi();
    document.merge(OperationalApi::openapi());
    document
}

/// Adds what is true of every route.
pub(crate) fn complete(document: &mut Document) {
    // The package's licence and authors are no part of the API's description.
    document.info.license = None;
    document.info.contact = None;
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some(
            "An operator's token, or a tenant's API key (`pbk_…`).",
        ))
        .build();
    document
        .components
        .get_or_insert_default()
        .add_security_scheme("bearer", SecurityScheme::Http(scheme));
    for item in document.paths.paths.values_mut() {
        let operations = [
            &mut item.get,
            &mut item.post,
            &mut item.patch,
            &mut item.put,
            &mut item.delete,
        ];
        for operation in operations.into_iter().flatten() {
            complete_operation(operation);
        }
    }
}

/// Who may call an operation.
enum Caller {
    Anybody,
    Operator,
    Tenant,
}

fn caller(operation: &Operation) -> Caller {
    let security = serde_json::to_value(&operation.security).unwrap_or_default();
    let role = security
        .pointer("/0/bearer/0")
        .and_then(serde_json::Value::as_str);
    match role {
        None => Caller::Anybody,
        Some(OPERATOR) => Caller::Operator,
        Some(_) => Caller::Tenant,
    }
}

/// A parameter that may be absent is not one that may be null.
fn forbid_null(parameter: &mut RefOr<Parameter>) {
    if let RefOr::T(Parameter {
        schema: Some(RefOr::T(Schema::Object(object))),
        ..
    }) = parameter
        && let SchemaType::Array(types) = &object.schema_type
        && let [only] = types
            .iter()
            .filter(|kind| **kind != Type::Null)
            .collect::<Vec<_>>()[..]
    {
        object.schema_type = SchemaType::Type(only.clone());
    }
}

fn complete_operation(operation: &mut Operation) {
    operation
        .parameters
        .iter_mut()
        .flatten()
        .for_each(forbid_null);
    let mut errors: BTreeMap<&str, &str> = BTreeMap::from([
        ("400", "Parameters, headers or the body are malformed"),
        ("500", "Something failed on our side"),
        ("503", "The database is away, or the request took too long"),
    ]);
    match caller(operation) {
        Caller::Anybody => {}
        Caller::Operator => {
            errors.insert("401", "No credential, or one that is not accepted");
            errors.insert("403", "Not an operator");
            errors.insert("429", "Too many refused credentials");
        }
        Caller::Tenant => {
            errors.insert("401", "No credential, or one that is not accepted");
            errors.insert("403", "The key lacks the scope");
            errors.insert("404", "No such object, or another tenant's");
            errors.insert(
                "429",
                "Key or tenant is over its limit, or too many refused credentials",
            );
            operation
                .parameters
                .get_or_insert_default()
                .push(RefOr::T(tenant_header()));
        }
    }
    if operation.request_body.is_some() {
        errors.insert("413", "The body is larger than 64 KiB");
        errors.insert("415", "The body's type is not JSON");
        errors.insert("422", "The body does not have the documented form");
    }
    for (status, description) in errors {
        operation
            .responses
            .responses
            .entry(status.to_owned())
            .or_insert_with(|| RefOr::T(problem(status, description)));
    }
}

fn problem(status: &str, description: &str) -> Response {
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("Problem")))
        .build();
    let mut response = ResponseBuilder::new()
        .description(description)
        .content("application/problem+json", content);
    if matches!(status, "429" | "503") {
        let seconds = ObjectBuilder::new().schema_type(Type::Integer).build();
        let header = HeaderBuilder::new()
            .schema(Some(seconds))
            .description(Some("Seconds after which another try may succeed"))
            .build();
        response = response.header("Retry-After", header);
    }
    response.build()
}

fn tenant_header() -> Parameter {
    let uuid = ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid)));
    ParameterBuilder::new()
        .name("X-Tenant-Id")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(
            "The tenant. Operators must send it; an API key implies its own and fits no other.",
        ))
        .schema(Some(uuid))
        .build()
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_operation_has_an_id_of_its_own_and_documents_its_errors() {
        let (_, document) = crate::router::build();
        let mut ids = std::collections::BTreeSet::new();
        for (path, item) in &document.paths.paths {
            let operations = [&item.get, &item.post, &item.patch, &item.delete];
            for operation in operations.into_iter().flatten() {
                let id = operation.operation_id.clone().expect("an operation id");
                assert!(id.contains('_'), "{id} is not <verb>_<resource>");
                assert!(ids.insert(id), "{path} repeats an operation id");
                assert!(operation.responses.responses.contains_key("500"), "{path}");
                assert_eq!(operation.tags.as_ref().map(Vec::len), Some(1), "{path}");
            }
        }
        assert!(ids.len() > 25, "{} operations", ids.len());
    }
}
