// Named checks: each prints one line, and the process exits with 1 if one failed.
import { strict as assert } from "node:assert";

const group = process.argv[1].replace(/^.*\//, "").replace(/\.mjs$/, "");
let passed = 0;
let failed = 0;

// Runs one check and returns its result, or `undefined` if it failed.
export async function check(name, body) {
  // Lets the event loop handle sockets that were closed meanwhile.
  await new Promise((turn) => setImmediate(turn));
  try {
    const answer = await body();
    passed += 1;
    console.log(`ok    ${group}: ${name}`);
    return answer;
  } catch (error) {
    failed += 1;
    const words = String(error?.stack ?? error).split("\n").slice(0, 6).join("\n      ");
    console.log(`FAIL  ${group}: ${name}\n      ${words}`);
    return undefined;
  }
}

// Reports a part that cannot run, with the reason.
export function skip(name, why) {
  console.log(`skip  ${group}: ${name} (${why})`);
}

// Prints the group's total and ends the process.
export function finish() {
  console.log(`sum   ${group}: ${passed} passed, ${failed} failed`);
  process.exit(failed === 0 && passed > 0 ? 0 : 1);
}

export { assert };
