// Runs the product against emulate's GitHub and Slack: connects them through the pages, performs
// actions there, and compares the feed with them.
import { assert, check, finish } from "./checks.mjs";
import { GitHubActs } from "./acts-github.mjs";
import { SlackActs } from "./acts-slack.mjs";
import { Browser } from "./browser.mjs";
import { startGitHub, startSlack, version } from "./emulators.mjs";
import { Ledger, table } from "./ledger.mjs";
import { Product, chooseAddresses, until } from "./product.mjs";

const FEED_SECONDS = 60;
const { DATABASE_URL: databaseUrl, BIN: bin, LOGS: logs, PROVIDERS } = process.env;

const SLACK_UNINSTALL = /^\/api\/apps\.uninstall$/;
const GITHUB_UNINSTALL = /^\/app\/installations\/\d+$/;

const trials = {
  github: {
    start: startGitHub,
    acts: GitHubActs,
    // A member connects first, and the connection is pending; an admin opens the same link.
    async connect({ tenant, emulator: { app } }) {
      const link = await tenant.connectLink("github");
      const as = async (login) => {
        const browser = new Browser();
        const ours = await browser.open(link);
        assert.match(ours.text, /Emulated team/);
        const install = await browser.submit(ours);
        const consent = await browser.submit(install, ({ text }) => text === app.account);
        const end = await browser.submit(consent, ({ fields }) => fields.some(([name, value]) => name === "login" && value === login));
        assert.equal(end.status, 200, end.text);
        return end.json().connection;
      };
      const asked = await as("bob");
      assert.equal(asked.status, "pending");
      const approved = await as("alice");
      assert.equal(approved.id, asked.id);
      return approved;
    },
    uninstalled: (proxy) => proxy.count("DELETE", GITHUB_UNINSTALL),
  },
  slack: {
    start: startSlack,
    acts: SlackActs,
    async connect({ tenant }) {
      const browser = new Browser();
      const ours = await browser.open(await tenant.connectLink("slack"));
      const consent = await browser.submit(ours);
      const end = await browser.submit(consent, ({ text }) => /\balice\b/.test(text));
      assert.equal(end.status, 200, end.text);
      return end.json().connection;
    },
    uninstalled: (proxy) => proxy.count("POST", SLACK_UNINSTALL),
  },
};

const addresses = await chooseAddresses();
const providers = PROVIDERS.split(" ");
const runs = [];
for (const provider of providers) {
  const emulator = await trials[provider].start(addresses);
  const ledger = new Ledger(provider);
  runs.push({ provider, ...trials[provider], emulator, ledger, acts: new trials[provider].acts(emulator, ledger) });
}
const settings = Object.assign({}, ...runs.map(({ emulator }) => emulator.settings));
const product = new Product({ addresses, bin, logs, databaseUrl, settings });
process.on("exit", () => product.killAll());
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => process.exit(1));

console.log(`Node.js ${process.version}, emulate ${version}`);

// Every step needs the previous ones: a failure ends the run.
class Broken extends Error {}
async function step(name, body) {
  let isDone = false;
  await check(name, async () => {
    await body();
    isDone = true;
  });
  if (!isDone) throw new Broken(name);
}
const each = (body) => Promise.all(runs.map(body));

// Waits until all expected Signals are in the feed.
async function complete({ ledger, tenant, provider }) {
  const isComplete = async () => ledger.found(await tenant.signals(provider)) === ledger.expected.length;
  await until(`${provider}: all Signals`, FEED_SECONDS, isComplete).catch(async (error) => {
    const { wrong } = ledger.compare(await tenant.signals(provider));
    throw new Error(`${error.message}\n${wrong.join("\n")}`);
  });
}

// Counts the deliveries that the ingress has answered.
async function deliveriesReceived(provider) {
  const metrics = await (await fetch(`${addresses.ingress}/metrics`)).text();
  const lines = metrics.split("\n").filter((line) => /poblysh_webhook_deliveries_total\{/.test(line) && line.includes(`provider="${provider}"`));
  return lines.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}

async function trial() {
  await step("the proxies serve no route that the emulators serve", async () => {
    for (const { emulator } of runs) assert.deepEqual(await emulator.proxy.superfluous(), []);
  });
  await step("the api-server and the worker start", async () => {
    await product.start("api");
    await product.start("worker");
    for (const run of runs) run.tenant = await product.tenant("Emulated team");
  });
  await step("people act before there is a connection", () => each(async ({ acts }) => {
    await acts.prepare();
    await acts.actBeforeConnecting();
  }));
  await step("the ingress starts, and stores deliveries without a connection", async () => {
    await product.start("ingress");
    await each(({ acts }) => acts.actUnmatched?.());
  });
  await step("an administrator connects through the consent pages", () => each(async (run) => {
    const connection = await run.connect(run);
    assert.equal(connection.status, "active");
    run.id = connection.id;
    await run.tenant.quiet();
  }));
  await step("the backfill is in the feed", () => each(async (run) => {
    await run.acts.inviteBot?.();
    await run.tenant.quiet();
    await complete(run);
  }));
  await step("webhooks report all actions", () => each(async (run) => {
    await run.acts.actConnected();
    await complete(run);
  }));
  await step("a poll finds facts that no webhook reported", async () => {
    await each(({ tenant }) => tenant.quiet());
    await product.stop("ingress");
    await each(({ acts }) => acts.actWithoutWebhooks());
    await product.start("ingress");
    await each(async (run) => {
      await run.tenant.sync(run.id, "incremental");
      await complete(run);
    });
  });
  await step("a full sync adds nothing", () => each(async (run) => {
    const before = (await run.tenant.signals(run.provider)).length;
    await run.tenant.sync(run.id, "full");
    assert.equal((await run.tenant.signals(run.provider)).length, before);
  }));
  await step("every stream is read, and nothing is behind", () => each(async (run) => {
    const { status, last_error, held_back_by, complete_through, reconciled_through } = await run.tenant.connection(run.id);
    assert.deepEqual({ status, last_error, held_back_by }, { status: "active", last_error: null, held_back_by: null });
    assert.ok(complete_through && reconciled_through, "complete");
  }));
  await step("every delivery is used, or refused for a known reason", () => each(async ({ tenant, provider, ledger }) => {
    const deliveries = await tenant.deliveries(provider);
    assert.ok(deliveries.length > 0);
    const failed = deliveries.filter(({ outcome }) => outcome === "failed").map(({ event }) => event.split(".")[0]);
    assert.deepEqual(failed.sort(), ledger.failedDeliveries);
    const open = deliveries.filter(({ outcome }) => !["processed", "ignored", "failed"].includes(outcome));
    assert.deepEqual(open, []);
  }));
  await step("the product requests no missing route", async () => {
    for (const { emulator } of runs) {
      assert.deepEqual(emulator.proxy.calls.filter(({ status }) => status === 404 || status >= 500), []);
    }
  });
  await step("disconnecting uninstalls the app, and later actions give no Signal", () => each(async (run) => {
    const before = (await run.tenant.signals(run.provider)).length;
    const received = await deliveriesReceived(run.provider);
    await run.tenant.call("DELETE", `/v1/connections/${run.id}`);
    assert.equal((await run.tenant.connection(run.id)).status, "disconnected");
    await until("the app is uninstalled", FEED_SECONDS, () => run.uninstalled(run.emulator.proxy) === 1);
    await run.acts.actDisconnected();
    await until("the webhook arrives", FEED_SECONDS, async () => (await deliveriesReceived(run.provider)) > received);
    await run.tenant.quiet();
    assert.equal((await run.tenant.signals(run.provider)).length, before);
  }));
  const again = runs.filter(({ acts }) => acts.actReconnected);
  if (again.length === 0) return;
  await step("connecting again resumes, and finds the facts since then", () => Promise.all(again.map(async (run) => {
    const connection = await run.connect(run);
    assert.equal(connection.id, run.id);
    assert.equal(connection.status, "active");
    await run.tenant.quiet();
    await run.acts.actReconnected();
    await complete(run);
  })));
}

try {
  await trial();
} catch (error) {
  if (!(error instanceof Broken)) throw error;
}
for (const { provider, tenant, ledger } of runs) {
  if (!tenant) continue;
  await check(`${provider}: each action has its Signals, none twice, none invented`, async () => {
    const { rows, wrong } = ledger.compare(await tenant.signals(provider));
    const lines = rows.map(({ ok, way, what, kind, key, actor, note }) => [ok ? "ok" : "FAIL", way, what, kind, actor, key, kind === "–" ? "" : note]);
    console.log(`\n${table(["", "way", `at ${provider}`, "Signal", "actor", "key", ""], lines)}\n`);
    for (const line of wrong) console.log(`differs: ${line}`);
    assert.equal(wrong.length, 0);
  });
}
await product.stopAll();
await Promise.all(runs.map(({ emulator }) => emulator.close()));
finish();
