// Routes of Slack that emulate lacks, built from its existing ones.
import { json, send } from "./proxy.mjs";

export function slackRoutes({ target, app }) {
  // Tokens of uninstalled apps; the emulator cannot revoke them.
  const ended = new Set();
  return [
    {
      method: "POST",
      path: "/api/[^/]+",
      answer: ({ headers }) => (ended.has(headers.authorization) ? json({ ok: false, error: "account_inactive" }) : undefined),
    },
    {
      method: "POST",
      path: "/api/users.conversations",
      sample: "/api/users.conversations",
      async answer(asked) {
        const answer = await send(target, { ...asked, path: "/api/conversations.list" });
        const page = JSON.parse(answer.body);
        return json({ ...page, channels: page.channels?.filter((channel) => channel.is_member) });
      },
    },
    {
      method: "POST",
      path: "/api/apps.uninstall",
      sample: "/api/apps.uninstall",
      async answer({ headers, body }) {
        const form = new URLSearchParams(String(body));
        if (form.get("client_id") !== app.clientId || form.get("client_secret") !== app.clientSecret) {
          return json({ ok: false, error: "bad_client_secret" });
        }
        ended.add(headers.authorization);
        return json({ ok: true });
      },
    },
  ];
}
