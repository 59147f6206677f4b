// The API and the provider simulator, as the scripts of this folder use them.
const { API, SIMULATOR, POBLYSH_OPERATOR_TOKEN } = process.env;

async function send(method, url, body, headers = {}) {
  const response = await fetch(url, {
    method,
    headers: { "content-type": "application/json", ...headers },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${url}: ${response.status} ${text}`);
  return text === "" ? undefined : JSON.parse(text);
}

export const api = API;
export const simulator = SIMULATOR;

// A tenant, in which the operator acts.
export class Tenant {
  constructor(id) {
    this.id = id;
  }

  static async create(name) {
    const headers = { authorization: `Bearer ${POBLYSH_OPERATOR_TOKEN}` };
    return new Tenant((await send("POST", `${API}/v1/tenants`, { name }, headers)).id);
  }

  call(method, path, body) {
    const headers = { authorization: `Bearer ${POBLYSH_OPERATOR_TOKEN}`, "x-tenant-id": this.id };
    return send(method, `${API}${path}`, body, headers);
  }

  async link(provider) {
    return (await this.call("POST", `/v1/connect/${provider}`, {})).authorize_url;
  }

  async onlyConnection() {
    const { connections } = await this.call("GET", "/v1/connections");
    if (connections.length !== 1) throw new Error(`${connections.length} connections`);
    return connections[0];
  }
}

export function control(path, body) {
  return send(body === undefined ? "GET" : "POST", `${SIMULATOR}/_sim/${path}`, body);
}

export async function accounts(provider) {
  return (await control(`${provider}/accounts`)).accounts;
}

// Adds sites to a person, beside the person's own one.
export async function addSites(person, names) {
  for (const name of names) await control("jira/accounts", { name, member: person, projects: 1, people: 1 });
}

// Makes the next code exchange at Jira fail.
export function failExchange(status) {
  return control("faults", { target: "request", effect: "status", status, count: 1, pattern: "POST /auth/oauth/token" });
}
