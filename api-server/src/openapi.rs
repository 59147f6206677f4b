//! The OpenAPI document: the routes' own descriptions and the parts that all routes share.
//!
//! The security requirement of a route names its role: `operator`, or the scope of a key. Errors,
//! the header `X-Tenant-Id` and the schema of a problem are derived from the role here.

use std::collections::BTreeMap;

use shared::model::OperatorRole;
use shared::service::OperationalApi;
use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::SchemaType;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    ContentBuilder, HeaderBuilder, KnownFormat, ObjectBuilder, OpenApi as Document, Ref, RefOr,
    Required, Response, ResponseBuilder, Schema, SchemaFormat, Type,
};

/// The role of a route for operators.
const OPERATOR: &str = "operator";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Poblysh Connectors",
        description = "Connects the tools of teams and converts activity there into Signals.\n\n\
            Operators send their token as `Authorization: Bearer …` and name a tenant in \
            `X-Tenant-Id`; tenants send an API key (`pbk_…`), which implies its tenant. \
            Responses to requests with a key have the headers `RateLimit-Policy` and `RateLimit` with its \
            limits and the remaining quota. Errors are `application/problem+json` (RFC 9457) \
            with a stable `code`. Lists are paginated by `cursor`; readers of the feed continue \
            from `next_cursor`."
    ),
    tags(
        (name = "providers", description = "Providers that can be connected"),
        (name = "tenants", description = "Teams and their API keys, for operators"),
        (name = "operators", description = "People who run the service, their roles, and the audit log"),
        (name = "connect", description = "The connect flow, from a link to a connection"),
        (name = "connections", description = "Grants of tenants at provider accounts"),
        (name = "jobs", description = "Queued, running and finished work"),
        (name = "signals", description = "The feed of each tenant"),
        (name = "webhook-deliveries", description = "Webhook deliveries as received"),
        (name = "overview", description = "The state of the whole service, for operators"),
        (name = "events", description = "What happened to connections")
    ),
    components(schemas(shared::problem::Problem))
)]
struct Base;

/// The document without the API's routes.
pub(crate) fn base() -> Document {
    let mut document = Base::openapi();
    document.merge(OperationalApi::openapi());
    document
}

/// Adds the parts that all routes share.
pub(crate) fn complete(document: &mut Document) {
    // utoipa copies the license and the authors from Cargo.toml.
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

/// The role that an operation requires.
enum RequiredRole {
    Public,
    /// An operator of any role.
    Operator,
    /// An operator with the role `admin`.
    Admin,
    /// A key with a scope, or an operator of this role.
    Tenant(OperatorRole),
}

fn required_role(operation: &Operation) -> RequiredRole {
    let security = serde_json::to_value(&operation.security).unwrap_or_default();
    let role = security
        .pointer("/0/bearer/0")
        .and_then(serde_json::Value::as_str);
    let needs_admin = security
        .pointer("/0/bearer/1")
        .and_then(serde_json::Value::as_str)
        == Some(OperatorRole::Admin.as_str());
    match role {
        None => RequiredRole::Public,
        Some(OPERATOR) if needs_admin => RequiredRole::Admin,
        Some(OPERATOR) => RequiredRole::Operator,
        Some(_) if needs_admin => RequiredRole::Tenant(OperatorRole::Admin),
        Some(scope) if scope.ends_with(":write") => RequiredRole::Tenant(OperatorRole::Operator),
        Some(_) => RequiredRole::Tenant(OperatorRole::Viewer),
    }
}

/// Removes `null` from the type of an optional parameter, which can only be absent.
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
        ("500", "Internal error"),
        (
            "503",
            "The database is unavailable, or the request timed out",
        ),
    ]);
    match required_role(operation) {
        RequiredRole::Public => {}
        RequiredRole::Operator => {
            errors.insert("401", "The credential is missing or invalid");
            errors.insert("403", "The route requires an operator's token");
            errors.insert("429", "Too many rejected credentials");
        }
        RequiredRole::Admin => {
            errors.insert("401", "The credential is missing or invalid");
            errors.insert(
                "403",
                "The route requires the token of an operator with the role `admin`",
            );
            errors.insert("429", "Too many rejected credentials");
        }
        RequiredRole::Tenant(role) => {
            errors.insert("401", "The credential is missing or invalid");
            errors.insert(
                "403",
                match role {
                    OperatorRole::Viewer => "The API key lacks the scope",
                    OperatorRole::Operator => {
                        "The API key lacks the scope, or the operator's role is `viewer`"
                    }
                    OperatorRole::Admin => {
                        "The API key lacks the scope, or the operator's role is not `admin`"
                    }
                },
            );
            errors.insert("404", "Not found, or owned by another tenant");
            errors.insert(
                "429",
                "The API key or its tenant is over its limit, or its client is throttled",
            );
            operation
                .parameters
                .get_or_insert_default()
                .push(RefOr::T(tenant_header()));
        }
    }
    if operation.request_body.is_some() {
        errors.insert("413", "The body exceeds 64 KiB");
        errors.insert("415", "The media type of the body is not JSON");
        errors.insert("422", "Fields of the body are invalid");
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
            .description(Some("Seconds to wait before the next attempt"))
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
            "The tenant. Required for operators, except for lists of all tenants; an API key accepts \
             only its own tenant.",
        ))
        .schema(Some(uuid))
        .build()
}
