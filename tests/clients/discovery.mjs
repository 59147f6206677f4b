// Google's discovery documents: the schemas of responses by method, and the envelope of errors.
import { compiler, explain, read } from "./schemas.mjs";

// The envelope of errors, which discovery documents do not describe.
const ERROR = {
  type: "object",
  required: ["error"],
  additionalProperties: false,
  properties: {
    error: {
      type: "object",
      required: ["code", "message", "errors"],
      properties: {
        code: { type: "integer" },
        message: { type: "string" },
        errors: {
          type: "array",
          minItems: 1,
          items: { type: "object", required: ["domain", "reason", "message"] },
        },
      },
    },
  },
};

// A schema of the document as JSON Schema: known properties only, and references by id.
function plain(schema) {
  if (schema.$ref) return { $ref: `#/definitions/${schema.$ref}` };
  const { type, format, properties, items, additionalProperties, enum: values } = schema;
  const kept = {};
  if (type && type !== "any") kept.type = type;
  if (format) kept.format = format;
  if (values) kept.enum = values;
  if (items) kept.items = plain(items);
  if (properties) {
    kept.properties = Object.fromEntries(Object.entries(properties).map(([name, one]) => [name, plain(one)]));
    kept.additionalProperties = false;
  }
  if (additionalProperties) kept.additionalProperties = plain(additionalProperties);
  return kept;
}

function* methods(resource) {
  yield* Object.values(resource.methods ?? {});
  for (const nested of Object.values(resource.resources ?? {})) yield* methods(nested);
}

export class DiscoveryDescription {
  constructor(file) {
    const document = read(file);
    this.methods = new Map([...methods(document)].map((method) => [method.id, method]));
    const schemas = Object.entries(document.schemas).map(([name, schema]) => [name, plain(schema)]);
    this.definitions = Object.fromEntries(schemas);
    this.ajv = compiler(["int64", "uint64", "int32", "uint32", "byte", "google-datetime", "double"]);
    this.compiled = new Map();
  }

  method(id) {
    const method = this.methods.get(id);
    if (!method) throw new Error(`${id} is not described`);
    return method;
  }

  // Returns the fault of a response, or `undefined`.
  fault(id, status, body) {
    const name = status >= 400 ? undefined : this.method(id).response?.$ref;
    if (status < 400 && name === undefined) {
      return body === undefined ? undefined : `${id}: no body is described`;
    }
    const schema = status >= 400 ? ERROR : { $ref: `#/definitions/${name}`, definitions: this.definitions };
    const key = name ?? "error";
    if (!this.compiled.has(key)) this.compiled.set(key, this.ajv.compile(schema));
    const validate = this.compiled.get(key);
    return validate(body) ? undefined : explain(validate, `${id} ${status}`);
  }
}
