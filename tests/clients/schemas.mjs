// Published descriptions, read from the fixtures and compiled on first use: OpenAPI of either
// version, and JSON schemas. The caller passes corrections of a description, with the reasons;
// nothing here is specific to a provider.
import { readFileSync } from "node:fs";

import Ajv from "ajv";
import addFormats from "ajv-formats";
import { parse } from "yaml";

export function read(file) {
  const text = readFileSync(file, "utf8");
  return file.endsWith(".yml") ? parse(text) : JSON.parse(text);
}

// OpenAPI as JSON Schema, which does not have `nullable`. `mend` may replace each schema.
function plain(schema, mend) {
  if (Array.isArray(schema)) return schema.map((one) => plain(one, mend));
  if (schema === null || typeof schema !== "object") return schema;
  const { nullable, discriminator, example, xml, ...rest } = mend(schema);
  const kept = {};
  for (const [name, value] of Object.entries(rest)) {
    // Names of properties are not keywords: one may be called "nullable".
    kept[name] =
      name === "properties"
        ? Object.fromEntries(Object.entries(value).map(([key, one]) => [key, plain(one, mend)]))
        : plain(value, mend);
  }
  return nullable === true ? { anyOf: [{ type: "null" }, kept] } : kept;
}

// Formats that OpenAPI adds, and `uri`, which some use for URI templates.
const LAX = ["int64", "int32", "uri", "timestamp"];

export function compiler(lax = [], options = {}) {
  const ajv = new Ajv({ strict: false, allErrors: false, validateFormats: true, ...options });
  addFormats(ajv);
  for (const format of [...LAX, ...lax]) ajv.addFormat(format, true);
  return ajv;
}

export function explain(validate, where) {
  const [error] = validate.errors ?? [];
  return `${where}: ${error?.instancePath} ${error?.message} ${JSON.stringify(error?.params)}`;
}

// Removes fields from a value at any depth: `newer` lists them by the name of their parent, which is
// `name` for the whole value.
export function without(newer, value, name) {
  if (Array.isArray(value)) return value.map((one) => without(newer, one, name));
  if (value === null || typeof value !== "object") return value;
  const kept = Object.entries(value).filter(([field]) => !newer[name]?.includes(field));
  return Object.fromEntries(kept.map(([field, one]) => [field, without(newer, one, field)]));
}

// An OpenAPI document with compiled schemas.
export class Description {
  // `mend` may replace every schema; `lax` formats are not checked; `newer` fields are ignored;
  // `patch` may change the document.
  constructor(file, { mend = (schema) => schema, lax = [], newer = {}, patch = () => {} } = {}) {
    this.document = read(file);
    patch(this.document);
    this.mend = mend;
    this.newer = newer;
    this.lax = lax;
    this.ajv = this.compiler();
    this.compiled = new Map();
  }

  // A compiler with the document's schemas.
  compiler(options = {}) {
    const ajv = compiler(this.lax, options);
    const { components, definitions } = this.document;
    return ajv.addSchema(plain({ components, definitions }, this.mend), "document");
  }

  compile(schema, ajv = this.ajv) {
    const text = JSON.stringify(plain(schema, this.mend)).replaceAll(/"#\/(components|definitions)\//g, '"document#/$1/');
    return ajv.compile(JSON.parse(text));
  }

  // Returns the fault of a value, or `undefined`. `where` names the value and its schema.
  judge(where, schema, value, name = where) {
    if (!this.compiled.has(where)) this.compiled.set(where, this.compile(schema));
    const validate = this.compiled.get(where);
    return validate(without(this.newer, value, name)) ? undefined : explain(validate, where);
  }
}

// Validates REST responses against a description.
export class RestDescription extends Description {
  // `named` maps a path to the description's path; `verbs` false: any described verb matches;
  // `answer` selects a response's name by status and body; `silent` true: an error without a
  // described body may have any.
  constructor(file, options = {}) {
    super(file, options);
    const { named = (path) => path, verbs = true, answer = String, silent = false } = options;
    Object.assign(this, { named, verbs, answer, silent });
    this.paths = Object.entries(this.document.paths).map(([path, operations]) => ({
      path,
      operations,
      matches: new RegExp(`^${path.replace(/\{[^}]+\}/g, "[^/]+")}$`),
    }));
    // A literal path comes before a template that also matches.
    this.paths.sort((one, other) => one.path.split("{").length - other.path.split("{").length);
  }

  // Returns the described path and operation of a request.
  find(method, path) {
    const named = this.named(path);
    const known = this.paths.find((one) => one.matches.test(named));
    const operation = this.verbs
      ? known?.operations[method.toLowerCase()]
      : known && (known.operations.get ?? known.operations.post);
    return { known, operation };
  }

  // Returns the fault of a response, `undefined` if it has none, `null` if the description does not
  // have the path.
  fault(method, path, status, body) {
    const { known, operation } = this.find(method, path);
    if (operation === undefined) return null;
    const name = this.answer(status, body);
    const where = `${method} ${known.path} ${name}`;
    let response = operation.responses[name];
    if (response?.$ref) response = this.document.components.responses[response.$ref.split("/").pop()];
    if (response === undefined) return `${where}: this status is not described`;
    const schema = response.schema ?? response.content?.["application/json"]?.schema;
    if (schema === undefined) {
      const fine = body === undefined || (this.silent && status >= 400);
      return fine ? undefined : `${where}: no body is described`;
    }
    return this.judge(where, schema, body, known.path);
  }
}
