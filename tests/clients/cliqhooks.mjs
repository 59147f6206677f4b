// Receives deliveries of the simulated Zoho Cliq, and checks their signatures with Node's own RSA over
// the raw bytes, as a receiver does that has only the extension's public key.
import { createPublicKey, createVerify } from "node:crypto";
import { createServer } from "node:http";

import { assert, check, finish } from "./checks.mjs";
import { control } from "./simulator.mjs";
import { organization } from "./zoho.mjs";

// A key as Cliq shows it: base64 of the SubjectPublicKeyInfo, to be wrapped by the receiver.
function pem(key) {
  return `-----BEGIN PUBLIC KEY-----\n${key.match(/.{1,64}/g).join("\n")}\n-----END PUBLIC KEY-----\n`;
}

// Whether the signature is that of the key over these bytes.
function isSigned(key, { signature }, bytes) {
  if (signature === undefined) return false;
  return createVerify("sha256").update(bytes).verify(pem(key), signature, "base64");
}

async function receiver() {
  const received = [];
  const server = createServer((request, response) => {
    const parts = [];
    request.on("data", (part) => parts.push(part));
    request.on("end", () => {
      const raw = Buffer.concat(parts);
      const { "x-cliq-signature": signature, "x-connector-token": token, "content-type": type } = request.headers;
      received.push({ raw, signature, token, type });
      response.setHeader("content-type", "application/json");
      response.end("{}");
    });
  });
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  const url = `http://127.0.0.1:${server.address().port}/webhooks/zoho_cliq/1`;
  const take = async () => {
    await control("quiesce", { timeout_seconds: 60 });
    return received.splice(0).map((one) => ({ ...one, body: JSON.parse(one.raw) }));
  };
  return { url, take, close: () => server.close() };
}

const one = await receiver();
const other = await receiver();
const place = await organization("zoho_cliq", "cliq-hooks", { people: 2 });
const chat = place.chats.find(({ channel }) => channel).id;
const act = (action, more = {}) => control("zoho_cliq/act", { account: place.login, action, ...more });
const own = await control("zoho/cliq/extension", { account: place.login, url: one.url, chats: true });
const foreign = await control("zoho/cliq/extension", { account: place.people[1].login, url: other.url });
const name = ({ body }) => [body.handler.type ?? body.handler, body.params?.operation].filter(Boolean).join(".");

await check("the key is an RSA key with 2048 bits", async () => {
  const key = createPublicKey(pem(own.public_key));
  assert.equal(key.asymmetricKeyType, "rsa");
  assert.equal(key.asymmetricKeyDetails.modulusLength, 2048);
  const { extensions } = await control("zoho/keys");
  assert.ok(extensions.some(({ public_key }) => public_key === own.public_key));
  assert.notEqual(own.public_key, foreign.public_key);
});
await check("every delivery is signed over its raw bytes, which are compact JSON", async () => {
  const { object } = await act("message.posted", { chat, text: "Größe & <more> 👍", mentions: ["bot"] });
  await act("message.edited", { chat, message: object.id, text: "new" });
  await act("thread.started", { chat, message: object.id });
  await act("message.deleted", { chat, message: object.id });
  await act("bot.messaged", { text: "Hi" });
  const received = await one.take();
  assert.deepEqual(received.map(name).sort(), [
    "mention_handler",
    "message_handler",
    "participation_handler.auto_followed_thread",
    "participation_handler.message_deleted",
    "participation_handler.message_edited",
    "participation_handler.message_sent",
    "participation_handler.message_sent",
  ]);
  for (const delivery of received) {
    assert.equal(isSigned(own.public_key, delivery, delivery.raw), true, name(delivery));
    assert.equal(isSigned(foreign.public_key, delivery, delivery.raw), false, name(delivery));
    assert.equal(delivery.raw.toString(), JSON.stringify(delivery.body));
    assert.equal(delivery.type, "application/json");
  }
  assert.deepEqual(await other.take(), [], "a bot gets only the chats that it is in");
});
await check("a changed byte breaks the signature", async () => {
  await act("message.posted", { chat });
  const [delivery] = await one.take();
  const changed = Buffer.from(delivery.raw);
  changed[changed.length - 2] ^= 1;
  assert.equal(isSigned(own.public_key, delivery, changed), false);
});
await check("no forged delivery has the signature, time and organization of a genuine one", async () => {
  const genuine = {
    wrong_signature: false,
    no_signature: false,
    foreign_key: false,
    reserialized: false,
    old_signature: true,
    other_organization: true,
  };
  for (const [effect, verifies] of Object.entries(genuine)) {
    await control("faults", { target: "delivery", effect, count: 1, account: place.login });
    await act("message.posted", { chat });
    const received = await one.take();
    assert.equal(received.length, 1, effect);
    const [delivery] = received;
    assert.equal(isSigned(own.public_key, delivery, delivery.raw), verifies, effect);
    assert.equal(isSigned(foreign.public_key, delivery, delivery.raw), effect === "foreign_key", effect);
    assert.notEqual(delivery.body.params.chat.id, chat, effect);
    const { organization: { id } } = delivery.body.params.access;
    assert.equal(id === place.organization_id, effect !== "other_organization", effect);
    assert.equal(Date.now() - delivery.body.timestamp > 3_600_000, effect === "old_signature", effect);
    // A receiver that checks its own serialisation accepts what a proxy rewrote.
    const again = Buffer.from(JSON.stringify(delivery.body));
    assert.equal(isSigned(own.public_key, delivery, again), verifies || effect === "reserialized", effect);
  }
});
await check("a Deluge script has the connection's token instead", async () => {
  const account = place.people[2].login;
  await control("zoho/cliq/extension", { account, url: other.url, chats: [chat], token: "the-secret" });
  await act("message.posted", { chat });
  const [delivery] = await other.take();
  assert.equal(delivery.token, "the-secret");
  assert.equal(delivery.signature, undefined);
  assert.equal(delivery.body.handler, "participation");
  assert.equal(delivery.body.chat.id, chat);
});

one.close();
other.close();
finish();
