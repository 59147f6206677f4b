// Checks the product's recorded requests against the providers' published descriptions. The argument
// is the file with the requests, a JSON object per line. Needs the fixtures (POBLYSH_FIXTURES);
// without them this part is skipped with a message.
import { readFileSync } from "node:fs";

import { assert, check, finish, skip } from "./checks.mjs";

if (!process.env.POBLYSH_FIXTURES) {
  skip("the product's requests against the published descriptions", "POBLYSH_FIXTURES is not set");
  process.exit(0);
}
const { github } = await import("./requests-github.mjs");
const { slack } = await import("./requests-slack.mjs");
const { jira } = await import("./requests-jira.mjs");
const { google } = await import("./requests-google.mjs");
const { googleDrive } = await import("./requests-google-drive.mjs");
const { googleCalendar } = await import("./requests-google-calendar.mjs");
const { gmail } = await import("./requests-gmail.mjs");

// The first one that matches a path has it; GitHub's matches all.
const PROVIDERS = [slack, jira, googleDrive, googleCalendar, gmail, google, github];

// Browsers request pages at the same address.
const isProduct = (request) => request.headers["user-agent"]?.startsWith("poblysh-connectors/");

const recorded = readFileSync(process.argv[2], "utf8").split("\n").filter(Boolean).map((line) => JSON.parse(line));
const seen = new Map(PROVIDERS.map((provider) => [provider, new Map()]));
for (const request of recorded.filter(isProduct)) {
  const provider = PROVIDERS.find((one) => one.path(request.path) !== undefined);
  const asked = { ...request, path: provider.path(request.path) };
  const { name, reasons } = provider.description.examine(asked);
  const operations = seen.get(provider);
  if (!operations.has(name)) operations.set(name, { count: 0, first: asked, faults: new Map() });
  const operation = operations.get(name);
  operation.count += 1;
  for (const reason of [...reasons, ...provider.headers(asked.path, asked.headers)]) {
    const fault = operation.faults.get(reason) ?? { count: 0, request: asked };
    operation.faults.set(reason, { ...fault, count: fault.count + 1 });
  }
}

// A request as text for a message.
function shown({ method, path, query, body }) {
  const target = query === "" ? path : `${path}?${query}`;
  return `${method} ${target}${body === "" ? "" : ` ${body.slice(0, 300)}`}`;
}

for (const [{ name: provider, description, expected, wrong }, operations] of [...seen].reverse()) {
  for (const [name, { count, faults }] of [...operations].sort()) {
    await check(`${provider}: ${name} matches the description (${count} requests)`, () => {
      const lines = [...faults].map(([reason, fault]) => `${reason} (${fault.count} requests, such as ${shown(fault.request)})`);
      if (lines.length > 0) assert.fail(lines.join("\n"));
    });
  }
  await check(`${provider}: every operation of the connector was requested`, () => {
    assert.deepEqual(expected.filter((name) => !operations.has(name)), []);
  });
  await check(`${provider}: every listed gap of the description is used`, () => {
    assert.deepEqual([...description.unused], []);
  });
  await check(`${provider}: a request that violates the description fails`, () => {
    for (const [name, change, words] of wrong) {
      const { reasons } = description.examine(change(operations.get(name).first));
      assert.match(`${name}: ${reasons.join("; ")}`, words);
    }
  });
}
finish();
