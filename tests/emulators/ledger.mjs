// What was done in an emulator, and the Signals that must come of it.
import { setTimeout as sleep } from "node:timers/promises";

// By which way a fact reaches the product.
export const BACKFILL = "backfill";
export const WEBHOOK = "webhook";
export const POLL = "poll";

// The emulator names a delivery after the millisecond, so two acts are not in the same one.
const PAUSE_MS = 3;
// Rows of the table that one act has at most.
const MAX_ROWS = 5;

// A time as keys have it.
export const seconds = (time) => `${time.slice(0, 19)}Z`;

export class Ledger {
  acts = [];
  way = BACKFILL;

  constructor(provider) {
    this.provider = provider;
  }

  // Sets the way of the acts that follow.
  setWay(way) {
    this.way = way;
  }

  // Does something that gives the Signals that `expected` makes of the emulator's answer, and of
  // when the act began and ended: none, one or several of `{ kind, key, actor, at, subject }`. `note` says why there is none, or what
  // the emulator does otherwise than the provider. `failed` is the event of a delivery that must
  // be refused.
  async act(what, doing, expected = () => [], { note = "", failed } = {}) {
    await sleep(PAUSE_MS);
    const from = new Date(Math.floor(Date.now() / 1000) * 1000).toISOString();
    const answer = await doing();
    const signals = [await expected(answer, [from, new Date().toISOString()])].flat();
    this.acts.push({ way: this.way, what, note, failed, expected: signals });
    return answer;
  }

  // A list has the present title of a thing, whenever it was made.
  retitle(type, id, title) {
    for (const { way, expected } of this.acts) {
      if (way === WEBHOOK) continue;
      for (const { subject } of expected) if (subject.type === type && subject.id === id && subject.title) subject.title = title;
    }
  }

  get expected() {
    return this.acts.flatMap((act) => act.expected);
  }

  get failedDeliveries() {
    return this.acts.flatMap((act) => (act.failed ? [act.failed] : [])).sort();
  }

  // How many of the expected facts are in the feed.
  found(signals) {
    const keys = new Set(signals.map((signal) => signal.dedupe_key));
    return this.expected.filter(({ key }) => has(keys, key)).length;
  }

  // Compares the feed with what was done: the table's rows, and what is wrong.
  compare(signals) {
    const rows = [];
    const wrong = [];
    const left = new Set(signals);
    for (const { way, what, note, expected } of this.acts) {
      const ofAct = [];
      for (const fact of expected) {
        const found = [...left].filter((signal) => matches(signal.dedupe_key, fact.key));
        const problems = found.length === 1 ? differences(found[0], fact) : [`${found.length} Signals`];
        for (const signal of found) left.delete(signal);
        const key = found[0]?.dedupe_key ?? String(fact.key);
        ofAct.push({ way, what, kind: fact.kind, key, actor: fact.actor?.name ?? fact.actor?.id, note, ok: problems.length === 0 });
        if (problems.length > 0) wrong.push(`${what}: ${fact.kind} ${key}: ${problems.join("; ")}`);
      }
      rows.push(...(ofAct.length > 0 ? shortened(ofAct) : [{ way, what, kind: "–", key: note, ok: true }]));
    }
    for (const signal of left) {
      rows.push({ way: "", what: "(not done)", kind: signal.kind, key: signal.dedupe_key, ok: false });
      wrong.push(`invented: ${JSON.stringify(signal)}`);
    }
    return { rows, wrong };
  }
}

// The rows of one act; of many, those that are wrong and the first.
function shortened(rows) {
  if (rows.length <= MAX_ROWS) return rows;
  const [first, ...others] = rows;
  const more = { ...first, key: `${first.key} and ${others.length} more` };
  return [more, ...others.filter(({ ok }) => !ok)];
}

const matches = (key, wanted) => (wanted instanceof RegExp ? wanted.test(key) : key === wanted);

function has(keys, wanted) {
  return wanted instanceof RegExp ? [...keys].some((key) => wanted.test(key)) : keys.has(wanted);
}

// In what a Signal differs from what is expected of it.
function differences(signal, { kind, actor, at, subject }) {
  const found = [];
  const same = (what, is, wanted) => {
    if (is !== wanted) found.push(`${what} is ${JSON.stringify(is)} instead of ${JSON.stringify(wanted)}`);
  };
  same("kind", signal.kind, kind);
  same("actor.type", signal.actor.type, actor?.type ?? "unknown");
  same("actor.id", signal.actor.id, actor?.id);
  same("actor.name", signal.actor.name, actor?.name);
  for (const [part, wanted] of Object.entries(subject)) same(`subject.${part}`, signal.subject[part] ?? undefined, wanted);
  if (at === undefined) {
    same("timestamp_source", signal.timestamp_source, "received");
  } else {
    same("timestamp_source", signal.timestamp_source, "provider");
    const [from, to] = [at].flat().map((time) => Date.parse(time));
    const time = Date.parse(signal.timestamp);
    if (time < from || time > (to ?? from)) found.push(`timestamp is ${signal.timestamp} instead of ${[at].flat().join(" to ")}`);
  }
  return found;
}

// A table as text, its columns as wide as what is in them.
export function table(head, rows) {
  const lines = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...lines.map((line) => [...String(line[column] ?? "")].length)));
  const cell = (text, column) => {
    const value = String(text ?? "");
    return value + " ".repeat(widths[column] - [...value].length);
  };
  return lines.map((line) => line.map(cell).join("  ").trimEnd()).join("\n");
}
