// Walks through the connect flow to each of its pages, with and without scripts.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { assert, check, finish } from "./checks.mjs";
import { scenarios } from "./scenarios.mjs";
import { api } from "./system.mjs";

const { BROWSER, EXPIRED_LINK, SCREENSHOTS } = process.env;
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const SIZES = { desktop: { width: 1280, height: 800 }, phone: { width: 360, height: 740 } };
const WAIT_MS = 15_000;

const browser = await chromium.launch({
  executablePath: BROWSER,
  // Chromium's sandbox does not run as root.
  args: process.getuid?.() === 0 ? ["--no-sandbox"] : [],
});

// Opens a scenario's page in a new context, and passes it to `use`.
async function visit({ heading, open }, options, use) {
  const context = await browser.newContext({ viewport: SIZES.desktop, ...options });
  context.setDefaultTimeout(WAIT_MS);
  const page = await context.newPage();
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => {
    // Error statuses are expected; blocked styles, scripts and forms are not.
    if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) complaints.push(message.text());
  });
  try {
    await open(page);
    await page.getByRole("heading", { level: 1, name: heading, exact: true }).waitFor();
    await use(page);
    assert.deepEqual(complaints, []);
  } finally {
    await context.close();
  }
}

async function violations(page) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
}

// Checks a page in one colour scheme and size, and takes its picture.
async function inspect(page, { name, heading }, colorScheme, size) {
  await page.emulateMedia({ colorScheme });
  await page.setViewportSize(SIZES[size]);
  await page.reload();
  await page.getByRole("heading", { level: 1, name: heading, exact: true }).waitFor();
  await page.screenshot({ path: join(SCREENSHOTS, `${name}-${size}-${colorScheme}.png`), fullPage: true });
  assert.deepEqual(await violations(page), [], `axe, ${size}, ${colorScheme}`);
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(overflow <= 0, `${size}: ${overflow} pixels wider than the screen`);
  const low = await page.evaluate(() =>
    [...document.querySelectorAll("button, a.button, input:not([type=hidden]), textarea")]
      .filter((control) => control.getBoundingClientRect().height < 44)
      .map((control) => control.outerHTML),
  );
  assert.deepEqual(low, [], "controls that are hard to press");
}

const all = await scenarios(EXPIRED_LINK);
for (const scenario of all) {
  await check(`${scenario.name}: "${scenario.heading}", light and dark, desktop and phone`, () =>
    visit(scenario, {}, async (page) => {
      for (const size of Object.keys(SIZES)) {
        for (const colorScheme of ["light", "dark"]) await inspect(page, scenario, colorScheme, size);
      }
    }),
  );
}
for (const scenario of all) {
  await check(`${scenario.name}, without scripts`, () =>
    visit(scenario, { javaScriptEnabled: false }, async (page) => {
      assert.ok(page.url().startsWith(api), page.url());
    }),
  );
}
await browser.close();
finish();
