// Receives outgoing webhooks of the simulated Zoho Mail, and checks their signatures with Node's own
// HMAC, as a receiver does that has only the secret of the first request.
import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";

import { assert, check, finish } from "./checks.mjs";
import { control } from "./simulator.mjs";
import { organization } from "./zoho.mjs";

// A receiver, which keeps the secret of the first request and nothing else.
async function receiver() {
  const state = { received: [], secret: undefined, status: 200 };
  const server = createServer((request, response) => {
    const parts = [];
    request.on("data", (part) => parts.push(part));
    request.on("end", () => {
      const raw = Buffer.concat(parts);
      const brought = request.headers["x-hook-secret"];
      const tag = request.headers["x-hook-signature"];
      if (state.secret === undefined && brought !== undefined) state.secret = brought;
      state.received.push({ raw, brought, tag, isGenuine: genuine(state.secret, tag, raw) });
      response.statusCode = state.status;
      response.end();
    });
  });
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  const url = `http://127.0.0.1:${server.address().port}/webhooks/zoho_mail/1`;
  return { state, url, close: () => server.close() };
}

// Whether a tag is the HMAC of the raw body with the secret.
function genuine(secret, tag, raw) {
  if (secret === undefined || tag === undefined) return false;
  const expected = createHmac("sha256", secret).update(raw).digest();
  const given = Buffer.from(tag, "base64");
  return given.length === expected.length && timingSafeEqual(given, expected);
}

// A mailbox with a webhook; `received` waits for all deliveries and returns the new ones.
async function mailbox(name) {
  const { login } = await organization("zoho_mail", name);
  const one = await receiver();
  const { state, url } = one;
  const armed = () => control("zoho/mail/webhook", { account: login, url });
  const act = (action, more = {}) => control("zoho_mail/act", { account: login, action, ...more });
  const received = async () => {
    await control("quiesce", { timeout_seconds: 60 });
    return state.received.splice(0);
  };
  return { login, state, armed, act, received, close: one.close };
}

await check("the first request brings the secret, signed or not, with a sample or without", async () => {
  for (const [signed, sample] of [[false, false], [true, false], [false, true], [true, true]]) {
    await control("zoho_mail/settings", { handshake_signed: signed, handshake_sample: sample });
    const box = await mailbox(`hooks-${signed}-${sample}`);
    const { active, secret } = await box.armed();
    const [first] = await box.received();
    assert.equal(active, true);
    assert.equal(first.brought, secret);
    assert.equal(first.isGenuine, signed);
    assert.equal(first.raw.length > 0, sample);
    box.close();
  }
  await control("zoho_mail/settings", { handshake_signed: false, handshake_sample: false });
});

const box = await mailbox("hooks");
await box.armed();
await box.received();

await check("a delivery has a signature over its raw bytes and exact numbers", async () => {
  const { object } = await box.act("mail.received", { subject: "Größe & <more>", to: ["a@x.example"] });
  const [one] = await box.received();
  assert.equal(one.isGenuine, true);
  assert.equal(one.brought, undefined);
  const text = one.raw.toString();
  // JSON.parse would round the id.
  assert.match(text, new RegExp(`"messageId":${object.id}[,}]`));
  const body = JSON.parse(text);
  assert.equal(body.messageIdString, object.id);
  assert.equal(body.subject, "Größe & <more>");
  assert.equal(`us:${body.zuid}`, box.login);
});
await check("a changed byte breaks the signature", async () => {
  await box.act("mail.received", { text: "a" });
  const [{ raw, tag }] = await box.received();
  const changed = Buffer.from(raw);
  changed[changed.length - 2] ^= 1;
  assert.equal(genuine(box.state.secret, tag, raw), true);
  assert.equal(genuine(box.state.secret, tag, changed), false);
});
await check("only incoming mail and tasks are delivered", async () => {
  await box.act("mail.sent", { to: ["a@x.example"] });
  await box.act("mail.draft");
  await box.act("mail.received", { folder: "Spam" });
  assert.deepEqual(await box.received(), []);
  await box.act("mail.received", { folder: "Projects" });
  await box.act("task.added");
  const bodies = (await box.received()).map(({ raw }) => JSON.parse(raw));
  assert.deepEqual(bodies.map((body) => ["messageId" in body, "entityId" in body]).sort(), [[false, true], [true, false]]);
});
await check("no forged delivery has a genuine signature, and its repetition has one", async () => {
  await control("zoho_mail/settings", { retry_seconds: [0.05] });
  for (const effect of ["no_signature", "wrong_signature", "stranger"]) {
    await control("faults", { target: "delivery", effect, count: 1, account: box.login });
    box.state.status = 401;
    const { object } = await box.act("mail.received");
    const [forged, repeated] = await box.received();
    box.state.status = 200;
    assert.equal(forged.isGenuine, false, effect);
    assert.equal(forged.brought !== undefined, effect === "stranger");
    assert.ok(!forged.raw.includes(object.id), effect);
    assert.equal(repeated.isGenuine, true, effect);
    assert.ok(repeated.raw.includes(object.id), effect);
  }
  await control("zoho_mail/settings", { retry_seconds: [] });
});
await check("another registration brings another secret", async () => {
  const { secret } = await box.armed();
  const [first] = await box.received();
  assert.equal(first.brought, secret);
  assert.notEqual(secret, box.state.secret);
  await box.act("mail.received");
  const [one] = await box.received();
  assert.equal(one.isGenuine, false);
  assert.equal(genuine(secret, one.tag, one.raw), true);
});

box.close();
finish();
