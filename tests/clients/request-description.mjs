// Checks requests against a published description: undescribed fields are faults. The caller passes
// corrections of the description, as in schemas.mjs; nothing here is specific to a provider.
import { RestDescription } from "./schemas.mjs";

// Forbids fields that an object's schema does not name. A part of `allOf` names only some of them, so
// it stays open.
function closed(schema) {
  if (schema.allOf) return { ...schema, allOf: schema.allOf.map((one) => ({ additionalProperties: true, ...one })) };
  if (!schema.properties || schema.additionalProperties !== undefined) return schema;
  return { ...schema, additionalProperties: false };
}

// A parameter's schema, which Swagger 2 puts into the parameter. Some bounds are only in the text.
function schemaOf({ name, in: place, description, required, schema, ...own }) {
  const most = /(?:\(max|no larger than) (\d+)/.exec(description ?? "")?.[1];
  const type = schema ?? own;
  return most === undefined ? type : { ...type, maximum: Number(most) };
}

// Parameters as values: list items are repeated parameters or separated by commas.
function valuesOf(pairs, schemas) {
  const values = {};
  for (const name of new Set(pairs.keys())) {
    const all = pairs.getAll(name);
    if (schemas[name]?.type === "array") values[name] = all.flatMap((one) => one.split(","));
    else values[name] = all.length > 1 ? all : all[0];
  }
  return values;
}

function reasonOf(what, { keyword, instancePath, message, params }) {
  const place = `${what}${instancePath.replaceAll("/", " ")}`;
  if (keyword === "additionalProperties") return `${place}: ${params.additionalProperty} is not described`;
  const allowed = params.allowedValues ? ` ${JSON.stringify(params.allowedValues)}` : "";
  return `${place}: ${message}${allowed}`;
}

const FORM = "application/x-www-form-urlencoded";

export class RequestDescription extends RestDescription {
  // In addition to RestDescription's options: `gaps` by path, each with its `source` and either the
  // missing `parameters` or whole operations by their verbs; `token` names a parameter that the
  // authorization header replaces.
  constructor(file, { gaps = {}, token, mend = (schema) => schema, patch = () => {}, ...options } = {}) {
    const patchAll = (document) => {
      patch(document);
      fill(document, gaps);
    };
    super(file, { ...options, mend: (schema) => closed(mend(schema)), patch: patchAll });
    this.token = token;
    this.gaps = gaps;
    this.unused = new Set(Object.keys(gaps));
    this.coercing = this.compiler({ allErrors: true, coerceTypes: true });
    this.exact = this.compiler({ allErrors: true });
    this.validators = new Map();
  }

  // Returns the operation's name and the faults of a request.
  examine({ method, path, query, headers, body }) {
    const { known, operation } = this.find(method, path);
    if (known === undefined) return { name: `${method} ${path}`, reasons: ["the description does not have this path"] };
    const name = `${method} ${known.path}`;
    if (operation === undefined) return { name, reasons: ["the description does not have this method"] };
    const parameters = [...(known.operations.parameters ?? []), ...(operation.parameters ?? [])]
      .map((one) => this.resolve(one))
      .filter((one) => !(headers.authorization && one.name === this.token));
    const isForm = essence(headers) === FORM;
    // Swagger 2 describes the fields of a form as parameters.
    const isSent = isForm && operation.requestBody === undefined;
    const reasons = [
      ...this.judgeParameters(name, "path", parameters, pathValues(known.path, this.named(path))),
      ...this.judgeParameters(name, "query", parameters, new URLSearchParams(isSent ? `${query}&${body}` : query)),
      ...this.judgeHeaders(parameters, headers),
      ...(isSent ? [] : this.judgeBody(name, operation, headers, body)),
    ];
    this.noteGap(known.path, query, body);
    return { name, reasons };
  }

  judgeParameters(name, place, parameters, pairs) {
    const those = parameters.filter((one) => one.in === place || (place === "query" && one.in === "formData"));
    const properties = Object.fromEntries(those.map((one) => [one.name, schemaOf(one)]));
    const required = those.filter((one) => one.required).map((one) => one.name);
    const schema = { type: "object", properties, required, additionalProperties: false };
    const values = valuesOf(pairs, properties);
    return this.judgeAll(`${name} ${place}`, place === "path" ? "path" : "parameters", schema, values, this.coercing);
  }

  judgeHeaders(parameters, headers) {
    const missing = parameters.filter((one) => one.in === "header" && one.required && !headers[one.name.toLowerCase()]);
    return missing.map((one) => `header: ${one.name} is missing`);
  }

  judgeBody(name, operation, headers, body) {
    const described = this.resolve(operation.requestBody ?? {});
    if (body === "") return described.required ? ["body: missing"] : [];
    const kind = essence(headers);
    const schema = described.content?.[kind]?.schema;
    if (schema === undefined) return [`body: type ${kind} is not described`];
    if (kind === FORM) {
      const values = valuesOf(new URLSearchParams(body), this.resolve(schema).properties ?? {});
      return this.judgeAll(`${name} form`, "body", schema, values, this.coercing);
    }
    return this.judgeAll(`${name} body`, "body", schema, JSON.parse(body), this.exact);
  }

  judgeAll(key, what, schema, value, ajv) {
    if (!this.validators.has(key)) this.validators.set(key, this.compile(schema, ajv));
    const validate = this.validators.get(key);
    if (validate(value)) return [];
    return [...new Set(validate.errors.map((error) => reasonOf(what, error)))];
  }

  resolve(one) {
    if (one.$ref === undefined) return one;
    return one.$ref.slice(2).split("/").reduce((at, key) => at[key], this.document);
  }

  // Marks a gap as used; unused ones fail a check.
  noteGap(path, query, body) {
    const sent = new URLSearchParams(`${query}&${body}`);
    const wanted = this.gaps[path]?.parameters;
    if (!wanted || wanted.every((one) => sent.has(one.name))) this.unused.delete(path);
  }
}

function essence(headers) {
  return (headers["content-type"] ?? "").split(";")[0].trim();
}

// The values of a path's placeholders.
function pathValues(template, path) {
  const parts = path.split("/");
  const pairs = template.split("/").map((part, at) => [part, parts[at]]);
  const named = pairs.filter(([part]) => part.startsWith("{"));
  return new URLSearchParams(named.map(([part, value]) => [part.slice(1, -1), decodeURIComponent(value)]));
}

// Adds the gaps to a description.
function fill(document, gaps) {
  for (const [path, { source, parameters, ...operations }] of Object.entries(gaps)) {
    if (!source) throw new Error(`the gap ${path} has no source`);
    const described = { ...document.paths[path], ...operations };
    if (parameters) described.parameters = [...(described.parameters ?? []), ...parameters];
    document.paths[path] = described;
  }
}
