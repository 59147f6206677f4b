// Checks the simulator's responses and payloads against the providers' published descriptions. Needs
// the fixtures (POBLYSH_FIXTURES); without them this part is skipped with a message.
import { assert, check, finish, skip } from "./checks.mjs";

if (!process.env.POBLYSH_FIXTURES) {
  skip("responses and payloads against the published descriptions", "POBLYSH_FIXTURES is not set");
  process.exit(0);
}
const providers = ["github", "slack", "jira", "google-drive", "google-calendar", "gmail", "zoho-cliq", "zoho-mail"];
for (const provider of providers) {
  // An exception in one module must not end the others.
  await check(`${provider}: all requests were sent`, async () => {
    await import(`./contract-${provider}.mjs`).catch((error) => assert.fail(error.stack));
  });
}
finish();
