//! The OpenAPI document: the routes' own descriptions and the parts that all routes share.
//!
//! The security requirement of a route names its role: `operator`, or the scope of a key. Errors
//! with their codes, headers, examples and shared parameters are derived from it here. The document
//! itself has the role in the description and in `x-required-scope`, because its format has scopes
//! for OAuth only.

mod errors;
mod examples;
mod open_enums;
mod shared_parts;

use shared::service::OperationalApi;
use utoipa::OpenApi;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::path::{Operation, Parameter, ParameterIn};
use utoipa::openapi::schema::SchemaType;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ContactBuilder, HttpMethod, LicenseBuilder, OpenApi as Document, PathItem, Ref, RefOr, Schema,
    ServerBuilder, Type,
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
            limits and the remaining quota. Every response has an `X-Request-Id`. Errors are \
            `application/problem+json` (RFC 9457) with a stable `code`. Lists are paginated by \
            `cursor`; readers of the feed continue from `next_cursor`.\n\n\
            A `GET` of JSON has an `ETag`; with `If-None-Match` an unchanged response is 304 without a \
            body. A `POST` that creates something accepts an `Idempotency-Key`. Responses without \
            secrets are compressed with gzip or zstd when the client accepts it.\n\n\
            New fields, kinds, sources and codes may appear at any time: strings with \
            `x-extensible-enum` list the values so far."
    ),
    tags(
        (name = "providers", description = "Providers that can be connected"),
        (name = "tenants", description = "Teams and their API keys, for operators"),
        (name = "connect", description = "The connect flow, from a link to a connection"),
        (name = "connections", description = "Grants of tenants at provider accounts"),
        (name = "jobs", description = "Queued, running and finished work"),
        (name = "signals", description = "The feed of each tenant"),
        (name = "webhook-deliveries", description = "Webhook deliveries as received"),
        (name = "overview", description = "The state of the whole service, for operators")
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
    let license = LicenseBuilder::new()
        .name("Apache License 2.0")
        .identifier(Some("Apache-2.0"));
    document.info.license = Some(license.build());
    let contact = ContactBuilder::new().name(Some("The maintainers of Poblysh Connectors"));
    document.info.contact = Some(contact.build());
    let server = ServerBuilder::new()
        .url("/")
        .description(Some("The api-server that serves this document"));
    document.servers = Some(vec![server.build()]);
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some(
            "An operator's token, or a tenant's API key (`pbk_…`).",
        ))
        .build();
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
    shared_parts::add(components);
    for (name, response) in errors::shared_responses() {
        let response = RefOr::T(response);
        components.responses.insert(name.to_owned(), response);
    }
    open_enums::open(components);
    shared_parts::describe_in_place(components);
    for item in document.paths.paths.values_mut() {
        for (method, operation) in operations_mut(item) {
            complete_operation(&method, operation);
        }
    }
}

/// The operations of a path.
fn operations_mut(item: &mut PathItem) -> impl Iterator<Item = (HttpMethod, &mut Operation)> {
    [
        (HttpMethod::Get, &mut item.get),
        (HttpMethod::Post, &mut item.post),
        (HttpMethod::Patch, &mut item.patch),
        (HttpMethod::Put, &mut item.put),
        (HttpMethod::Delete, &mut item.delete),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// The role that an operation requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RequiredRole {
    Public,
    Operator,
    Tenant,
}

/// The scope in the security requirement of a route, or [`OPERATOR`].
fn required_scope(operation: &Operation) -> Option<String> {
    let security = serde_json::to_value(&operation.security).unwrap_or_default();
    let scope = security.pointer("/0/bearer/0")?;
    scope.as_str().map(str::to_owned)
}

fn required_role(operation: &Operation) -> RequiredRole {
    match required_scope(operation).as_deref() {
        None => RequiredRole::Public,
        Some(OPERATOR) => RequiredRole::Operator,
        Some(_) => RequiredRole::Tenant,
    }
}

/// Adds the required scope to the description and as an extension.
fn describe_scope(operation: &mut Operation, scope: String) {
    let text = operation.description.get_or_insert_default();
    let sentence = match scope.as_str() {
        OPERATOR => "Requires an operator's token.".to_owned(),
        scope => format!("Requires the scope `{scope}`, or an operator's token."),
    };
    text.push_str("\n\n");
    text.push_str(&sentence);
    let extension = [("x-required-scope", scope)];
    operation
        .extensions
        .get_or_insert_default()
        .merge(Extensions::from_iter(extension));
}

fn complete_operation(method: &HttpMethod, operation: &mut Operation) {
    let role = required_role(operation);
    let id = operation.operation_id.clone().unwrap_or_default();
    operation.security = Some(match required_scope(operation) {
        None => Vec::new(),
        Some(scope) => {
            describe_scope(operation, scope);
            vec![SecurityRequirement::new::<_, [&str; 0], &str>("bearer", [])]
        }
    });
    operation
        .parameters
        .iter_mut()
        .flatten()
        .for_each(complete_parameter);
    examples::add(&id, operation);
    let is_json = has_json_success(operation);
    let is_polled = matches!(method, HttpMethod::Get) && is_json && has_etag(&id);
    for (name, is_accepted) in [
        ("TenantId", role == RequiredRole::Tenant),
        ("IdempotencyKey", errors::is_idempotent(&id)),
        ("IfNoneMatch", is_polled),
    ] {
        if is_accepted {
            let parameters = operation.parameters.get_or_insert_default();
            parameters.push(RefOr::Ref(parameter(name)));
        }
    }
    if is_polled {
        operation.responses.responses.insert(
            "304".to_owned(),
            Ref::from_response_name("NotModified").into(),
        );
    }
    errors::add(&id, role, operation);
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response {
            shared_parts::add_headers(response, status, role != RequiredRole::Public);
            if status == "200" && is_polled {
                shared_parts::add_header(response, "ETag");
            }
            if status.starts_with('2') && errors::is_idempotent(&id) {
                shared_parts::add_header(response, "Idempotent-Replayed");
            }
        }
    }
}

/// Whether the middleware adds an `ETag`: not to pages of the connect flow and health checks.
fn has_etag(id: &str) -> bool {
    !matches!(
        id,
        "finish_connect" | "get_liveness" | "get_readiness" | "get_health"
    )
}

fn has_json_success(operation: &Operation) -> bool {
    operation
        .responses
        .responses
        .iter()
        .any(|(status, response)| {
            matches!(response, RefOr::T(response)
            if status == "200" && response.content.contains_key("application/json"))
        })
}

fn parameter(name: &str) -> Ref {
    Ref::new(format!("#/components/parameters/{name}"))
}

/// Removes `null` from the type of an optional parameter, which can only be absent, and describes
/// the forms of a list.
fn complete_parameter(parameter: &mut RefOr<Parameter>) {
    let RefOr::T(parameter) = parameter else {
        return;
    };
    match &mut parameter.schema {
        Some(RefOr::T(Schema::Object(object))) => {
            if let SchemaType::Array(types) = &object.schema_type
                && let [only] = types
                    .iter()
                    .filter(|kind| **kind != Type::Null)
                    .collect::<Vec<_>>()[..]
            {
                object.schema_type = SchemaType::Type(only.clone());
            }
        }
        Some(RefOr::T(Schema::Array(_))) if parameter.parameter_in == ParameterIn::Query => {
            let text = parameter.description.get_or_insert_default();
            if !text.ends_with('.') {
                text.push('.');
            }
            text.push_str(" Comma-separated, or the parameter repeated.");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use utoipa::openapi::Required;

    use super::*;

    fn operations() -> Vec<Operation> {
        let (_, mut document) = crate::router::build();
        let items = document.paths.paths.values_mut();
        items
            .flat_map(operations_mut)
            .map(|(_, operation)| operation.clone())
            .collect()
    }

    #[test]
    fn optional_parameters_have_no_example() {
        // Swagger UI sends examples of parameters, and such a filter hides rows.
        for operation in operations() {
            for parameter in operation.parameters.iter().flatten() {
                let RefOr::T(parameter) = parameter else {
                    continue;
                };
                let shown = serde_json::to_value(parameter).expect("JSON");
                let is_required = parameter.required == Required::True;
                let has_example = shown.get("example").is_some()
                    || shown.pointer("/schema/example").is_some()
                    || shown.pointer("/schema/items/example").is_some();
                assert!(is_required || !has_example, "{}", parameter.name);
            }
        }
    }

    #[test]
    fn every_operation_is_described() {
        for operation in operations() {
            let id = operation.operation_id.expect("an id");
            let text = operation.description.unwrap_or_default();
            assert!(!text.trim().is_empty(), "{id} has no description");
            assert!(!text.starts_with('\n'), "{id} has only its scope");
            assert!(operation.security.is_some(), "{id} has no security");
        }
    }

    #[test]
    fn every_response_with_a_body_has_an_example() {
        for operation in operations() {
            let id = operation.operation_id.unwrap_or_default();
            for (status, response) in operation.responses.responses {
                let RefOr::T(response) = response else {
                    continue;
                };
                assert!(!response.headers.is_empty(), "{id} {status}");
                for (kind, content) in response.content {
                    let RefOr::T(content) = content else { continue };
                    let has_example = content.example.is_some() || !content.examples.is_empty();
                    assert!(has_example, "{id} has no example of {status} {kind}");
                }
            }
        }
    }
}
