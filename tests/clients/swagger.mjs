// Uses the API's documentation page: authorizes with a key, then reads Signals, also after a reload.
// Usage: node swagger.mjs API-URL KEY BROWSER
import puppeteer from "puppeteer-core";
import { assert, check, finish } from "./checks.mjs";

const [url, key, executablePath] = process.argv.slice(2);
const browser = await puppeteer.launch({
  executablePath,
  // Chromium's sandbox does not run as root.
  args: process.getuid?.() === 0 ? ["--no-sandbox"] : [],
});
const page = await browser.newPage();
const complaints = [];
page.on("pageerror", (error) => complaints.push(String(error)));
page.on("console", (message) => {
  // Error statuses are expected and checked below.
  if (message.type() === "error" && !message.text().includes("401")) complaints.push(message.text());
});

const operation = "#operations-signals-list_signals";

// Presses Execute on the list of Signals, and returns the response's status and body.
async function execute() {
  const answer = page.waitForResponse((response) => new URL(response.url()).pathname === "/v1/signals");
  await page.click(`${operation} button.execute`);
  const response = await answer;
  return { status: response.status(), body: await response.json() };
}

await check("the page opens, with every operation of the document", async () => {
  await page.goto(`${url}/docs/`, { waitUntil: "networkidle0" });
  const document = await (await fetch(`${url}/openapi.json`)).json();
  const operations = Object.values(document.paths).flatMap((methods) => Object.keys(methods));
  const shown = await page.$$eval(".opblock", (blocks) => blocks.length);
  assert.equal(shown, operations.length);
});
await check("without a key the answer is 401", async () => {
  await page.click(`${operation} .opblock-summary-control`);
  await page.waitForSelector(`${operation} button.execute`);
  const { status, body } = await execute();
  assert.equal(status, 401);
  assert.equal(body.code, "unauthorized");
});
await check("Authorize accepts the key", async () => {
  await page.click(".auth-wrapper button.authorize");
  await page.waitForSelector(".auth-container input");
  await page.type(".auth-container input", key);
  await page.click(".auth-container button.authorize[type=submit]");
  await page.waitForSelector('.auth-container button[aria-label="Remove authorization"]');
  await page.click(".auth-container button.btn-done");
});
await check("with the key the page shows the tenant's Signals", async () => {
  const { status, body } = await execute();
  assert.equal(status, 200);
  assert.ok(body.signals.length > 0);
  await page.waitForFunction(
    (selector, id) => document.querySelector(selector)?.textContent.includes(id),
    {},
    `${operation} .live-responses-table`,
    body.signals[0].id,
  );
});
await check("no filter of the list is filled in", async () => {
  const filled = await page.$$eval(`${operation} .parameters input`, (inputs) =>
    inputs.filter((input) => input.value !== "").map((input) => input.placeholder),
  );
  // `limit` shows its default.
  assert.deepEqual(filled.filter((name) => name !== "limit"), []);
});
await check("the authorization survives a reload", async () => {
  await page.reload({ waitUntil: "networkidle0" });
  await page.click(`${operation} .opblock-summary-control`);
  await page.waitForSelector(`${operation} button.execute`);
  const { status } = await execute();
  assert.equal(status, 200);
});
await check("the browser logged no error", () => assert.deepEqual(complaints, []));
await browser.close();
finish();
