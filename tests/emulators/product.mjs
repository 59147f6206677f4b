// The product as it is deployed: its three processes, and a tenant's client of its API.
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { openSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { freePorts } from "./ports.mjs";

const START_SECONDS = 30;
const STOP_SECONDS = 40;
const QUIET_SECONDS = 120;
// Jobs that start later than this do not count as pending work: scheduled polls, jobs in backoff.
const SOON_SECONDS = 60;
const PAGE = 200;

// Waits until `probe` returns a true value.
export async function until(what, seconds, probe) {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const answer = await probe();
    if (answer) return answer;
    if (Date.now() > deadline) throw new Error(`${what}: not within ${seconds} s`);
    await sleep(200);
  }
}

// Chooses the addresses of the three processes before they run.
export async function chooseAddresses() {
  const [api, ingress, worker] = (await freePorts(3)).map((port) => `http://127.0.0.1:${port}`);
  return { api, ingress, worker };
}

export class Product {
  #running = new Map();
  #environment;
  #operator = randomBytes(24).toString("hex");

  constructor({ addresses, bin, logs, databaseUrl, settings }) {
    Object.assign(this, { addresses, bin, logs });
    const foreign = /^(POBLYSH_|OTEL_|PG)/;
    this.#environment = {
      ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !foreign.test(name))),
      ...settings,
      POBLYSH_DATABASE_URL: databaseUrl,
      POBLYSH_CRYPTO_KEY: randomBytes(32).toString("base64"),
      POBLYSH_INGRESS_CRYPTO_KEY: randomBytes(32).toString("base64"),
      POBLYSH_OPERATOR_TOKEN: this.#operator,
      POBLYSH_API_BIND_ADDR: new URL(addresses.api).host,
      POBLYSH_INGRESS_BIND_ADDR: new URL(addresses.ingress).host,
      POBLYSH_WORKER_BIND_ADDR: new URL(addresses.worker).host,
    };
  }

  // Starts one of `api`, `ingress`, `worker`, and waits until it is ready.
  async start(name) {
    const program = { api: "api-server", ingress: "webhook-ingress", worker: "sync-worker" }[name];
    const log = openSync(join(this.logs, `${name}.log`), "a");
    // Started in the logs' folder, where there is no .env.
    const child = spawn(join(this.bin, program), [], { cwd: this.logs, env: this.#environment, stdio: ["ignore", log, log] });
    const ended = new Promise((resolve) => child.once("exit", resolve));
    this.#running.set(name, { child, ended });
    await until(`${program} is ready`, START_SECONDS, async () => {
      if (child.exitCode !== null) throw new Error(`${program} has ended with ${child.exitCode}`);
      const answer = await fetch(`${this.addresses[name]}/readyz`).catch(() => undefined);
      return answer?.ok;
    });
  }

  async stop(name) {
    const { child, ended } = this.#running.get(name) ?? {};
    if (!child) return;
    this.#running.delete(name);
    child.kill("SIGTERM");
    const limit = sleep(STOP_SECONDS * 1000, "late", { ref: false });
    if ((await Promise.race([ended, limit])) === "late") {
      child.kill("SIGKILL");
      throw new Error(`${name} did not end within ${STOP_SECONDS} s`);
    }
  }

  async stopAll() {
    for (const name of [...this.#running.keys()]) await this.stop(name);
  }

  killAll() {
    for (const { child } of this.#running.values()) child.kill("SIGKILL");
  }

  // Creates a team with an API key.
  async tenant(name) {
    const { id } = await this.#call(this.#operator, "POST", "/v1/tenants", { name });
    const { key } = await this.#call(this.#operator, "POST", `/v1/tenants/${id}/api-keys`, { name });
    return new Tenant((method, path, body) => this.#call(key, method, path, body));
  }

  async #call(token, method, path, body) {
    const headers = { authorization: `Bearer ${token}`, accept: "application/json" };
    if (body !== undefined) headers["content-type"] = "application/json";
    const answer = await fetch(this.addresses.api + path, { method, headers, body: body && JSON.stringify(body) });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return text === "" ? undefined : JSON.parse(text);
  }
}

export class Tenant {
  constructor(call) {
    this.call = call;
  }

  async connectLink(provider) {
    return (await this.call("POST", `/v1/connect/${provider}`, {})).authorize_url;
  }

  connection(id) {
    return this.call("GET", `/v1/connections/${id}`);
  }

  // Returns all Signals of the feed, in its order.
  async signals(source) {
    const all = [];
    let cursor = "";
    for (;;) {
      const page = await this.call("GET", `/v1/signals?source=${source}&limit=${PAGE}${cursor}`);
      all.push(...page.signals);
      if (!page.has_more) return all;
      cursor = `&cursor=${encodeURIComponent(page.next_cursor)}`;
    }
  }

  async deliveries(provider) {
    return this.#list(`/v1/webhook-deliveries?provider=${provider}`, "deliveries");
  }

  async sync(id, mode) {
    const { job } = await this.call("POST", `/v1/connections/${id}/sync`, { mode });
    const last = await until(`the ${mode} sync ends`, QUIET_SECONDS, async () => {
      const now = await this.call("GET", `/v1/jobs/${job.id}`);
      return ["succeeded", "dead", "cancelled"].includes(now.state) ? now : undefined;
    });
    if (last.state !== "succeeded") throw new Error(`the ${mode} sync is ${last.state}: ${JSON.stringify(last.error)}`);
    await this.quiet();
  }

  // Waits until there is no pending work, three times in a row.
  async quiet() {
    let idle = 0;
    await until("all work is done", QUIET_SECONDS, async () => {
      const running = await this.#list("/v1/jobs?state=running", "jobs");
      const queued = await this.#list("/v1/jobs?state=queued", "jobs");
      const soon = Date.now() + SOON_SECONDS * 1000;
      const isIdle = running.length === 0 && queued.every((job) => Date.parse(job.next_run_at) > soon);
      idle = isIdle ? idle + 1 : 0;
      return idle >= 3;
    });
  }

  async #list(path, field) {
    const all = [];
    let cursor = "";
    for (;;) {
      const page = await this.call("GET", `${path}&limit=${PAGE}${cursor}`);
      all.push(...page[field]);
      if (!page.next_cursor) return all;
      cursor = `&cursor=${encodeURIComponent(page.next_cursor)}`;
    }
  }
}
