// Published descriptions, read from the fixtures and compiled as they are needed: OpenAPI of
// either version, and JSON schemas. What a description has wrong is told to it by its user,
// who says why; nothing here knows a provider.
import { readFileSync } from "node:fs";

import Ajv from "ajv";
import addFormats from "ajv-formats";

export function read(file) {
  return JSON.parse(readFileSync(file, "utf8"));
}

// OpenAPI as JSON Schema: "or null" is written as `nullable`, which JSON Schema does not know.
// `mend` may change each schema, by what it returns.
function plain(schema, mend) {
  if (Array.isArray(schema)) return schema.map((one) => plain(one, mend));
  if (schema === null || typeof schema !== "object") return schema;
  const { nullable, discriminator, example, xml, ...rest } = mend(schema);
  const kept = {};
  for (const [name, value] of Object.entries(rest)) {
    // Names of properties are not keywords: one may well be called "nullable".
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

// Takes fields out of a value, wherever they are: `newer` has them by the name of what holds
// them, which for the whole value is `name`.
export function without(newer, value, name) {
  if (Array.isArray(value)) return value.map((one) => without(newer, one, name));
  if (value === null || typeof value !== "object") return value;
  const kept = Object.entries(value).filter(([field]) => !newer[name]?.includes(field));
  return Object.fromEntries(kept.map(([field, one]) => [field, without(newer, one, field)]));
}

// An OpenAPI document whose schemas can be asked for.
export class Description {
  // `mend` sees every schema; `lax` formats are not looked at; `newer` fields are passed over;
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

  // A compiler that knows the document's schemas.
  compiler(options = {}) {
    const ajv = compiler(this.lax, options);
    const { components, definitions } = this.document;
    return ajv.addSchema(plain({ components, definitions }, this.mend), "document");
  }

  compile(schema, ajv = this.ajv) {
    const text = JSON.stringify(plain(schema, this.mend)).replaceAll(/"#\/(components|definitions)\//g, '"document#/$1/');
    return ajv.compile(JSON.parse(text));
  }

  // What is wrong with a value: `undefined` if nothing is. `where` names it, and its schema.
  judge(where, schema, value, name = where) {
    if (!this.compiled.has(where)) this.compiled.set(where, this.compile(schema));
    const validate = this.compiled.get(where);
    return validate(without(this.newer, value, name)) ? undefined : explain(validate, where);
  }
}

// Validates REST answers against a description.
export class RestDescription extends Description {
  // `named` gives a path the name that the description knows; `verbs` false: whichever verb is
  // described will do; `answer` chooses a response's name by status and body; `silent` true: a
  // refusal whose body is not described may have any.
  constructor(file, options = {}) {
    super(file, options);
    const { named = (path) => path, verbs = true, answer = String, silent = false } = options;
    Object.assign(this, { named, verbs, answer, silent });
    this.paths = Object.entries(this.document.paths).map(([path, operations]) => ({
      path,
      operations,
      matches: new RegExp(`^${path.replace(/\{[^}]+\}/g, "[^/]+")}$`),
    }));
    // A literal path comes before a template that it also fits.
    this.paths.sort((one, other) => one.path.split("{").length - other.path.split("{").length);
  }

  // The path and the operation that a request names, as far as the description knows them.
  find(method, path) {
    const named = this.named(path);
    const known = this.paths.find((one) => one.matches.test(named));
    const operation = this.verbs
      ? known?.operations[method.toLowerCase()]
      : known && (known.operations.get ?? known.operations.post);
    return { known, operation };
  }

  // What is wrong with an answer: `undefined` if nothing is, `null` if the description does
  // not know the path.
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
