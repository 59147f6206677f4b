// Google's discovery documents as descriptions of REST APIs.
import { RestDescription } from "./schemas.mjs";

// Keywords of a discovery document's schemas that JSON Schema has as well.
const KEPT = ["type", "format", "enum", "pattern", "description"];

// A schema as JSON Schema. An object has no other fields than those of the document.
function schema(source) {
  if (source.$ref) return { $ref: `#/definitions/${source.$ref}` };
  if (source.type === "any") return {};
  const kept = Object.fromEntries(Object.entries(source).filter(([name]) => KEPT.includes(name)));
  if (source.items) kept.items = schema(source.items);
  if (source.properties) {
    const properties = Object.entries(source.properties).map(([name, one]) => [name, schema(one)]);
    kept.properties = Object.fromEntries(properties);
    kept.additionalProperties = false;
  }
  if (source.additionalProperties) kept.additionalProperties = schema(source.additionalProperties);
  return kept;
}

function* methods(resource) {
  yield* Object.values(resource.methods ?? {});
  for (const one of Object.values(resource.resources ?? {})) yield* methods(one);
}

// The envelope of errors, which the documents do not have.
const ENTRY = {
  type: "object",
  required: ["message", "domain", "reason"],
  properties: {
    message: { type: "string" },
    domain: { type: "string" },
    reason: { type: "string" },
    location: { type: "string" },
    locationType: { enum: ["parameter", "header"] },
  },
  additionalProperties: false,
};
const ERROR = {
  type: "object",
  required: ["error"],
  properties: {
    error: {
      type: "object",
      required: ["code", "message", "errors"],
      properties: {
        code: { type: "integer" },
        message: { type: "string" },
        errors: { type: "array", minItems: 1, items: ENTRY },
        status: { type: "string" },
        details: { type: "array", items: { type: "object", required: ["@type"] } },
      },
      additionalProperties: false,
    },
  },
  additionalProperties: false,
};

// Google's Base64 is URL-safe, and its other formats are unknown to JSON Schema.
export const LAX = ["byte", "uint64", "uint32", "google-datetime"];

// A parameter as OpenAPI has it. Bounds are texts in a discovery document.
function parameter([name, { location, required, repeated, minimum, maximum, ...rest }]) {
  const one = schema(rest);
  if (minimum !== undefined) one.minimum = Number(minimum);
  if (maximum !== undefined) one.maximum = Number(maximum);
  return { name, in: location, required, schema: repeated ? { type: "array", items: one } : one };
}

// Adds to a discovery document what OpenAPI has instead of its methods and schemas.
export function rewrite(document) {
  document.paths = {};
  for (const { path, httpMethod, parameters, request, response } of methods(document)) {
    const operations = (document.paths[`/${document.servicePath}${path}`] ??= {});
    operations[httpMethod.toLowerCase()] = {
      parameters: Object.entries({ ...document.parameters, ...parameters }).map(parameter),
      requestBody: request && { required: true, content: { "application/json": { schema: schema(request) } } },
      responses: {
        200: response ? { schema: schema(response) } : {},
        204: {},
        error: { schema: ERROR },
      },
    };
  }
  const named = Object.entries(document.schemas).map(([name, one]) => [name, schema(one)]);
  document.definitions = Object.fromEntries(named);
}

// The description of an API: `file` is its discovery document.
export function describe(file) {
  return new RestDescription(file, {
    lax: LAX,
    answer: (status) => (status >= 400 ? "error" : String(status)),
    patch: rewrite,
  });
}
