// People's actions at Slack's emulator, and the Signals that the catalogue requires for them.
import { BACKFILL, POLL, WEBHOOK } from "./ledger.mjs";
import { send } from "./proxy.mjs";

const TEAM = "T000000001";
const GENERAL = "C000000001";
const noted = { note: "a note of Slack's own" };
const unlisted = { note: "only webhooks report it" };

// The time of a Slack timestamp.
const time = (ts) => {
  const [seconds, fraction = ""] = String(ts).split(".");
  return new Date(Number(seconds) * 1000 + Number(fraction.padEnd(3, "0").slice(0, 3))).toISOString();
};
const ANY_TS = "\\d{10}\\.\\d{6}";

export class SlackActs {
  constructor({ target }, ledger) {
    Object.assign(this, { target, ledger });
  }

  // Calls a method of the emulator as a person.
  async as(name, method, fields = {}) {
    const headers = { authorization: `Bearer xoxp-${name}`, "content-type": "application/json" };
    const answer = await send(this.target, { method: "POST", path: `/api/${method}`, headers, body: JSON.stringify(fields) });
    const body = JSON.parse(answer.body);
    if (!body.ok) throw new Error(`${method}: ${answer.status} ${answer.body}`);
    return body;
  }

  async prepare() {
    const { channels } = await this.as("admin", "conversations.list");
    this.channels = channels;
    this.plans = channels.find(({ name }) => name === "plans").id;
    await this.loadPeople();
  }

  async loadPeople() {
    const { members } = await this.as("admin", "users.list");
    this.people = Object.fromEntries(
      members.map(({ id, name, is_bot, profile }) => [name, { type: is_bot ? "bot" : "user", id, name: profile.display_name }]),
    );
    this.bot = Object.values(this.people).find(({ type }) => type === "bot");
  }

  // --- The Signals of objects ---

  message(kind, channel, ts, actor, { key = "", at = time(ts), title } = {}) {
    const subject = { type: "message", id: `${channel}:${ts}`, ...(title && { title }) };
    return { kind, key: `slack:${TEAM}:message:${channel}:${ts}${key}`, actor, at, subject };
  }

  channel({ id, name, creator, created }) {
    const actor = Object.values(this.people).find((person) => person.id === creator);
    const subject = { type: "channel", id, title: name };
    return { kind: "channel_created", key: `slack:${TEAM}:channel:${id}:created`, actor, at: time(created), subject };
  }

  joined(channel, actor, at) {
    const key = new RegExp(`^slack:${TEAM}:member:${channel}:${actor.id}:${ANY_TS}$`);
    return { kind: "member_joined", key, actor, at, subject: { type: "channel", id: channel } };
  }

  reaction(word, channel, ts, actor, name, at) {
    const key = new RegExp(`^slack:${TEAM}:reaction:${channel}:${ts}:${actor.id}:${name}:${word}:${ANY_TS}$`);
    return { kind: `reaction_${word}`, key, actor, at, subject: { type: "message", id: `${channel}:${ts}` } };
  }

  // --- Actions of several phases ---

  post(who, text, { title = text, channel = this.plans, thread } = {}) {
    return this.ledger.act(
      thread ? `${who} replies in a thread` : `${who} posts a message`,
      () => this.as(who, "chat.postMessage", { channel, text, thread_ts: thread }),
      ({ ts }) => this.message(thread ? "thread_replied" : "message_posted", channel, ts, this.people[who], { title }),
    );
  }

  edit(who, ts, text, channel = this.plans) {
    return this.ledger.act(
      `${who} edits a message`,
      () => this.as(who, "chat.update", { channel, ts, text }),
      ({ message }) => {
        const edited = message.edited.ts;
        this.ledger.retitle("message", `${channel}:${ts}`, text);
        return this.message("message_edited", channel, ts, this.people[who], { key: `:edited:${edited}`, at: time(edited), title: text });
      },
    );
  }

  react(who, ts, name, word = "added") {
    const isReceived = this.ledger.way === WEBHOOK;
    const method = word === "added" ? "reactions.add" : "reactions.remove";
    return this.ledger.act(
      `${who}: reaction ${word}`,
      () => this.as(who, method, { channel: this.plans, timestamp: ts, name }),
      (_, at) => (isReceived ? this.reaction(word, this.plans, ts, this.people[who], name, at) : []),
      isReceived ? { note: "no event_ts (11)" } : unlisted,
    );
  }

  async postAndDelete(who) {
    const isReceived = this.ledger.way === WEBHOOK;
    const doing = async () => {
      const { ts } = await this.as(who, "chat.postMessage", { channel: this.plans, text: "Forget this." });
      await this.as(who, "chat.delete", { channel: this.plans, ts });
      return ts;
    };
    await this.ledger.act(
      `${who} posts a message and deletes it`,
      doing,
      (ts, at) =>
        isReceived
          ? [
              this.message("message_posted", this.plans, ts, this.people[who]),
              this.message("message_deleted", this.plans, ts, undefined, { key: ":deleted", at }),
            ]
          : [],
      isReceived ? {} : { note: "no list shows what is gone" },
    );
  }

  invite(who, guest, channel) {
    return this.ledger.act(
      `${who} invites ${guest.name}`,
      () => this.as(who, "conversations.invite", { channel, users: guest.id }),
      (_, at) => this.joined(channel, guest, at),
      { note: "no event_ts (11)" },
    );
  }

  actWithoutSignal(who, what, method, fields, note = noted) {
    return this.ledger.act(`${who} ${what}`, () => this.as(who, method, fields), undefined, note);
  }

  // --- The phases ---

  // There is no connection, and no process receives events.
  async actBeforeConnecting() {
    this.ledger.setWay(BACKFILL);
    for (const channel of this.channels) {
      await this.ledger.act(`#${channel.name} is there`, () => channel, (it) => this.channel(it));
    }
    this.first = (await this.post("alice", "Shall we paint it green?")).ts;
    await this.post("bob", "Rather blue.", { thread: this.first });
    const { ts } = await this.post("bob", "I bring the paint");
    await this.edit("bob", ts, "I bring the paint on Friday");
    await this.react("alice", ts, "thumbsup");
    await this.postAndDelete("bob");
    await this.post("admin", "Welcome", { channel: GENERAL });
  }

  // The bot receives and reads the channels that it is in.
  async inviteBot() {
    this.ledger.setWay(WEBHOOK);
    await this.loadPeople();
    await this.invite("alice", this.bot, this.plans);
    await this.invite("admin", this.bot, GENERAL);
  }

  // There is a connection, and events are received.
  async actConnected() {
    this.ledger.setWay(WEBHOOK);
    const { plans: channel } = this;
    const { ts } = await this.post("alice", "Who has the ladder &amp; the rope?", { title: "Who has the ladder & the rope?" });
    await this.post("bob", "I do.", { thread: ts });
    await this.edit("alice", ts, "Who has the ladder?");
    await this.react("bob", ts, "ladder");
    await this.react("bob", ts, "ladder", "removed");
    await this.postAndDelete("alice");
    await this.post("bob", `<@${this.bot.id}> are you there?`, { title: `@${this.bot.name} are you there?` });
    await this.post("admin", "The heating is on again", { channel: GENERAL });
    await this.postByIncomingWebhook("Deployed.");
    await this.shareFile("bob", "plan.txt", "green, then blue");
    await this.actWithoutSignal("bob", "leaves the channel", "conversations.leave", { channel }, { note: "no kind for it" });
    await this.ledger.act(
      "bob comes back",
      () => this.as("bob", "conversations.join", { channel }),
      (_, at) => this.joined(channel, this.people.bob, at),
      { note: "no event_ts (11)" },
    );
    await this.actWithoutSignal("alice", "sets the topic", "conversations.setTopic", { channel, topic: "Paint" });
    await this.actWithoutSignal("admin", "renames a channel", "conversations.rename", { channel: "C000000002", name: "anything" });
    await this.actWithoutSignal("alice", "whispers", "chat.postEphemeral", { channel, user: this.people.bob.id, text: "Psst." }, { note: "no event, no list" });
  }

  // A message of an incoming webhook.
  postByIncomingWebhook(text) {
    const { plans: channel } = this;
    return this.ledger.act(
      "a deployment tool posts a message",
      async () => {
        const body = JSON.stringify({ text, channel: "plans" });
        const headers = { "content-type": "application/json" };
        await send(this.target, { method: "POST", path: `/services/${TEAM}/B000000001/X000000001`, headers, body });
        const { messages } = await this.as("alice", "conversations.history", { channel, limit: 1 });
        return messages[0];
      },
      ({ ts }) => this.message("message_posted", channel, ts, { type: "bot", id: "B000000001" }, { title: text }),
    );
  }

  shareFile(who, filename, content) {
    const { plans: channel } = this;
    return this.ledger.act(
      `${who} shares a file`,
      async () => {
        const { upload_url, file_id } = await this.as(who, "files.getUploadURLExternal", { filename, length: content.length });
        await fetch(upload_url, { method: "POST", body: content });
        await this.as(who, "files.completeUploadExternal", { files: [{ id: file_id, title: filename }], channel_id: channel });
        const { messages } = await this.as(who, "conversations.history", { channel, limit: 1 });
        return { file_id, ts: messages[0].ts };
      },
      ({ file_id, ts }, at) => [
        this.message("message_posted", channel, ts, this.people[who], { title: filename }),
        { kind: "file_shared", key: `slack:${TEAM}:file:${file_id}:${channel}`, at, subject: { type: "file", id: file_id } },
      ],
      { note: "file_shared names no user (12)" },
    );
  }

  // There is a connection, and no process receives events.
  async actWithoutWebhooks() {
    this.ledger.setWay(POLL);
    const { plans: channel } = this;
    const { ts } = await this.post("alice", "Is the office open?");
    await this.post("bob", "I am.", { thread: ts });
    await this.post("bob", "Or green after all?", { thread: this.first });
    await this.edit("alice", ts, "Is the office still open?");
    await this.react("bob", ts, "wave");
    await this.postAndDelete("bob");
    await this.post("admin", "The heating is off", { channel: GENERAL });
    await this.ledger.act(
      "bob says what he does",
      () => this.as("bob", "chat.meMessage", { channel, text: "is painting" }),
      (it) => this.message("message_posted", channel, it.ts, this.people.bob, { title: "is painting" }),
    );
    await this.ledger.act(
      "alice creates a channel",
      () => this.as("alice", "conversations.create", { name: "colours" }),
      (it) => this.channel(it.channel),
    );
  }

  // The connection is deleted.
  async actDisconnected() {
    this.ledger.setWay(WEBHOOK);
    const fields = { channel: this.plans, text: "Too late?" };
    this.late = await this.actWithoutSignal("alice", "posts after the disconnection", "chat.postMessage", fields, { note: "no connection" });
  }

  // There is a connection again, of the same workspace.
  async actReconnected() {
    this.ledger.setWay(POLL);
    await this.ledger.act(
      "what alice posted meanwhile",
      () => this.late,
      ({ ts }) => this.message("message_posted", this.plans, ts, this.people.alice, { title: "Too late?" }),
    );
    this.ledger.setWay(WEBHOOK);
    await this.post("bob", "There you are");
  }
}
