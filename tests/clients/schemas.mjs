// GitHub's published schemas, read from the fixtures: the OpenAPI description of the REST
// API and the JSON schemas of webhook payloads. Both are compiled as they are needed.
import { readFileSync } from "node:fs";

import Ajv from "ajv";
import addFormats from "ajv-formats";

// Whether a schema says that something is a user and an enterprise. The description says so
// once, where it means one or the other, as everywhere else.
function isBoth(schemas) {
  return schemas?.map?.((one) => one.title).join() === "Simple User,Enterprise";
}

// OpenAPI 3.0 writes "or null" as `nullable`, which JSON Schema does not know.
function withoutNullable(schema) {
  if (Array.isArray(schema)) return schema.map(withoutNullable);
  if (schema === null || typeof schema !== "object") return schema;
  const { nullable, discriminator, example, xml, ...rest } = schema;
  if (isBoth(rest.allOf)) {
    rest.anyOf = rest.allOf;
    delete rest.allOf;
  }
  const plain = {};
  for (const [name, value] of Object.entries(rest)) {
    // Names of properties are not keywords: one may well be called "nullable".
    plain[name] =
      name === "properties"
        ? Object.fromEntries(Object.entries(value).map(([key, one]) => [key, withoutNullable(one)]))
        : withoutNullable(value);
  }
  return nullable === true ? { anyOf: [{ type: "null" }, plain] } : plain;
}

function compiler() {
  const ajv = new Ajv({ strict: false, allErrors: false, validateFormats: true });
  addFormats(ajv);
  // Formats that OpenAPI adds, and `uri`, which GitHub also uses for URI templates.
  for (const format of ["int64", "int32", "uri", "timestamp"]) ajv.addFormat(format, true);
  return ajv;
}

function explain(validate, where) {
  const [error] = validate.errors ?? [];
  return `${where}: ${error?.instancePath} ${error?.message} ${JSON.stringify(error?.params)}`;
}

// Validates REST answers against the description.
export class RestDescription {
  constructor(file) {
    const document = JSON.parse(readFileSync(file, "utf8"));
    this.ajv = compiler();
    this.ajv.addSchema({ components: withoutNullable(document.components) }, "github");
    this.paths = Object.entries(document.paths).map(([path, operations]) => ({
      path,
      operations,
      matches: new RegExp(`^${path.replace(/\{[^}]+\}/g, "[^/]+")}$`),
    }));
    // A literal path comes before a template that it also fits.
    this.paths.sort((one, other) => one.path.split("{").length - other.path.split("{").length);
    this.compiled = new Map();
    this.document = document;
  }

  // What is wrong with an answer: `undefined` if nothing is, `null` if the description does
  // not know the path.
  fault(method, path, status, body) {
    const named = path.replace(/^\/repositories\/\d+/, "/repos/owner/name");
    const known = this.paths.find((one) => one.matches.test(named));
    const operation = known?.operations[method.toLowerCase()];
    if (operation === undefined) return null;
    const where = `${method} ${known.path} ${status}`;
    let response = operation.responses[String(status)];
    if (response?.$ref) response = this.document.components.responses[response.$ref.split("/").pop()];
    if (response === undefined) return `${where}: this status is not described`;
    const schema = response.content?.["application/json"]?.schema;
    if (schema === undefined) return body === undefined ? undefined : `${where}: no body is described`;
    if (!this.compiled.has(where)) {
      const text = JSON.stringify(withoutNullable(schema)).replaceAll('"#/components/', '"github#/components/');
      this.compiled.set(where, this.ajv.compile(JSON.parse(text)));
    }
    const validate = this.compiled.get(where);
    return validate(body) ? undefined : explain(validate, where);
  }
}

// Fields that GitHub has added since the payload schemas were published, and which they
// refuse because they allow no others. The newer description knows them.
const NEWER = {
  discussion: ["timeline_url"],
  release: ["updated_at", "immutable"],
  requested_team: ["type"],
  requested_teams: ["type"],
};

// Takes those fields out of a payload, wherever they are.
function withoutNewer(value, name) {
  if (Array.isArray(value)) return value.map((one) => withoutNewer(one, name));
  if (value === null || typeof value !== "object") return value;
  const kept = Object.entries(value).filter(([field]) => !NEWER[name]?.includes(field));
  return Object.fromEntries(kept.map(([field, one]) => [field, withoutNewer(one, field)]));
}

// Payloads that one of the two descriptions has wrong; the other one still judges them.
const WRONG_IN_SCHEMAS = new Set([
  // Wants the milestone to be still there after it was taken away.
  "pull_request$demilestoned",
]);
const WRONG_IN_DESCRIPTION = new Set([
  // Wants dates as text; GitHub has sent numbers as well, and so does the simulator here.
  "installation-deleted",
]);

// Validates webhook payloads against the schemas of octokit/webhooks.
export class PayloadSchemas {
  constructor(file) {
    const document = JSON.parse(readFileSync(file, "utf8"));
    this.ajv = compiler();
    this.ajv.addSchema(document, "webhooks");
    this.names = new Set(Object.keys(document.definitions));
  }

  // See `RestDescription.fault`.
  fault(event, payload) {
    const name = [`${event}$${payload.action}`, `${event}$event`].find((one) => this.names.has(one));
    if (name === undefined || WRONG_IN_SCHEMAS.has(name)) return null;
    const validate = this.ajv.getSchema(`webhooks#/definitions/${encodeURIComponent(name)}`);
    return validate(withoutNewer(payload)) ? undefined : explain(validate, name);
  }
}

// Validates webhook payloads against the newer description, which is laxer about additions.
export class WebhookDescription {
  constructor(file) {
    const document = JSON.parse(readFileSync(file, "utf8"));
    this.ajv = compiler();
    this.ajv.addSchema({ components: withoutNullable(document.components) }, "github");
    this.hooks = document["x-webhooks"];
    this.compiled = new Map();
  }

  // See `RestDescription.fault`.
  fault(event, payload) {
    const dashed = (text) => text.replaceAll("_", "-");
    const names = [dashed(event)];
    if (payload.action) names.unshift(`${dashed(event)}-${dashed(payload.action)}`);
    const name = names.find((one) => this.hooks[one] !== undefined);
    if (name === undefined || WRONG_IN_DESCRIPTION.has(name)) return null;
    if (!this.compiled.has(name)) {
      const { schema } = this.hooks[name].post.requestBody.content["application/json"];
      const text = JSON.stringify(withoutNullable(schema)).replaceAll('"#/components/', '"github#/components/');
      this.compiled.set(name, this.ajv.compile(JSON.parse(text)));
    }
    const validate = this.compiled.get(name);
    return validate(payload) ? undefined : explain(validate, name);
  }
}
