//! Headers, parameters and responses that many operations refer to.

use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{Components, SchemaType};
use utoipa::openapi::{
    KnownFormat, Object, ObjectBuilder, Ref, RefOr, Required, Response, ResponseBuilder, Schema,
    SchemaFormat, Type,
};

/// Adds the components.
pub(super) fn add(components: &mut Components) {
    for (name, header) in headers() {
        components.headers.insert(name.to_owned(), header.into());
    }
    for (name, parameter) in parameters() {
        let parameter = RefOr::T(parameter);
        components.parameters.insert(name.to_owned(), parameter);
    }
    let mut not_modified = ResponseBuilder::new()
        .description("The representation still has the `ETag` of `If-None-Match`")
        .build();
    add_headers(&mut not_modified, "304", true);
    add_header(&mut not_modified, "ETag");
    components
        .responses
        .insert("NotModified".to_owned(), not_modified.into());
}

/// Removes the type of the schemas that only describe another one of any type.
///
/// utoipa describes a field of a type that is shown in place by `allOf` of the type and of an object,
/// which no string is.
pub(super) fn describe_in_place(components: &mut Components) {
    for schema in components.schemas.values_mut() {
        if let RefOr::T(schema) = schema {
            describe(schema);
        }
    }
}

fn describe(schema: &mut Schema) {
    match schema {
        Schema::Object(object) => {
            for property in object.properties.values_mut() {
                if let RefOr::T(property) = property {
                    describe(property);
                }
            }
        }
        Schema::AllOf(all) => {
            for part in &mut all.items {
                match part {
                    RefOr::T(Schema::Object(object)) if object.properties.is_empty() => {
                        if object.schema_type == SchemaType::Type(Type::Object) {
                            object.schema_type = SchemaType::AnyValue;
                        }
                    }
                    RefOr::T(part) => describe(part),
                    RefOr::Ref(_) => {}
                }
            }
        }
        _ => {}
    }
}

/// Adds the headers that a response of this status has.
pub(super) fn add_headers(response: &mut Response, status: &str, is_limited: bool) {
    add_header(response, "X-Request-Id");
    if is_limited {
        add_header(response, "RateLimit");
        add_header(response, "RateLimit-Policy");
    }
    if matches!(status, "429" | "503") {
        add_header(response, "Retry-After");
    }
    if status == "401" {
        add_header(response, "WWW-Authenticate");
    }
}

/// Refers to one of the shared headers.
pub(super) fn add_header(response: &mut Response, name: &str) {
    let header = Ref::new(format!("#/components/headers/{name}"));
    response.headers.insert(name.to_owned(), RefOr::Ref(header));
}

fn headers() -> [(&'static str, Header); 7] {
    let text = || ObjectBuilder::new().schema_type(Type::String).build();
    let seconds = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(0))
        .build();
    [
        (
            "X-Request-Id",
            header(
                text(),
                "The id of the request, as in the log. A valid one of the client is kept",
                "0198c4f0-7a11-7c52-9d5e-0000000000ff",
            ),
        ),
        (
            "RateLimit",
            header(
                text(),
                "The remaining requests and the seconds until the quota is full again, of the key \
                 and of its tenant; absent without an API key",
                "\"key\";r=59999;t=1, \"tenant\";r=119999;t=1",
            ),
        ),
        (
            "RateLimit-Policy",
            header(
                text(),
                "The limits of the key and of its tenant: requests and window in seconds; absent \
                 without an API key",
                "\"key\";q=60000;w=60, \"tenant\";q=120000;w=60",
            ),
        ),
        (
            "Retry-After",
            header(seconds, "Seconds to wait before the next attempt", 1),
        ),
        (
            "WWW-Authenticate",
            header(text(), "The scheme of the credential", "Bearer"),
        ),
        (
            "ETag",
            header(
                text(),
                "A weak validator of the content, for `If-None-Match`",
                "W/\"3q2-7wAB_Ztk0Q9xkK2a4A\"",
            ),
        ),
        (
            "Idempotent-Replayed",
            header(
                text(),
                "`true` if the response repeats the response to the key's first request",
                "true",
            ),
        ),
    ]
}

fn header(schema: Object, description: &str, example: impl Into<serde_json::Value>) -> Header {
    let mut header = HeaderBuilder::new()
        .schema(Some(schema))
        .description(Some(description))
        .build();
    header.example = Some(example.into());
    header
}

fn parameters() -> [(&'static str, Parameter); 3] {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let uuid = text().format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid)));
    let optional = |name: &str, description: &str, schema: ObjectBuilder| {
        ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .description(Some(description))
            .schema(Some(schema))
            .build()
    };
    [
        (
            "TenantId",
            optional(
                "X-Tenant-Id",
                "The tenant. Required for operators, except for lists of all tenants; an API key \
                 accepts only its own tenant.",
                uuid,
            ),
        ),
        (
            "IdempotencyKey",
            optional(
                "Idempotency-Key",
                "Identifies this request: 1 to 255 visible characters. A repeat within a day has no \
                 further effect and gets the same response. A response that shows a secret is not \
                 kept: its repeat is 409 `secret_already_shown` with the object's id. A different \
                 request with the same key is 422.",
                text().pattern(Some("^[!-~]{1,255}$")),
            ),
        ),
        (
            "IfNoneMatch",
            optional(
                "If-None-Match",
                "`ETag`s of responses that the client has. If the content is unchanged, the \
                 response is 304.",
                text(),
            ),
        ),
    ]
}
