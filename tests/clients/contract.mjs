// The simulator's answers and payloads against what the providers publish. Needs the fixtures
// (POBLYSH_FIXTURES); without them this part is skipped, and says so.
import { assert, check, finish, skip } from "./checks.mjs";

if (!process.env.POBLYSH_FIXTURES) {
  skip("answers and payloads against the published descriptions", "POBLYSH_FIXTURES is not set");
  process.exit(0);
}
for (const provider of ["github", "slack", "jira"]) {
  // A module that breaks off must not end the others.
  await check(`${provider}: everything could be asked`, async () => {
    await import(`./contract-${provider}.mjs`).catch((error) => assert.fail(error.stack));
  });
}
finish();
