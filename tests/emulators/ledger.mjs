// The actions in an emulator, and the Signals expected of them.
import { setTimeout as sleep } from "node:timers/promises";

// The ways by which a fact reaches the product.
export const BACKFILL = "backfill";
export const WEBHOOK = "webhook";
export const POLL = "poll";

// The emulator's delivery ids contain the millisecond, so two actions must not share one.
const PAUSE_MS = 3;
// Maximum number of the table's rows for one action.
const MAX_ROWS = 5;

// A time in the format of dedupe keys.
export const seconds = (time) => `${time.slice(0, 19)}Z`;

export class Ledger {
  acts = [];
  way = BACKFILL;

  constructor(provider) {
    this.provider = provider;
  }

  // Sets the way of the following actions.
  setWay(way) {
    this.way = way;
  }

  // Performs an action. `expected` maps the emulator's response and the action's start and end to
  // the Signals that it must give: none, one or several of `{ kind, key, actor, at, subject }`.
  // `note` is the reason for none, or a difference between emulator and provider. `failed` is the
  // event of a delivery that must fail.
  async act(what, doing, expected = () => [], { note = "", failed } = {}) {
    await sleep(PAUSE_MS);
    const from = new Date(Math.floor(Date.now() / 1000) * 1000).toISOString();
    const answer = await doing();
    const signals = [await expected(answer, [from, new Date().toISOString()])].flat();
    this.acts.push({ way: this.way, what, note, failed, expected: signals });
    return answer;
  }

  // Sets the title that lists report for an object: its present one, for facts of any time.
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

  // Counts the expected facts in the feed.
  found(signals) {
    const keys = new Set(signals.map((signal) => signal.dedupe_key));
    return this.expected.filter(({ key }) => has(keys, key)).length;
  }

  // Compares the feed with the actions; returns the table's rows and the differences.
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

// The rows of one action; of many, the wrong ones and the first.
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

// The differences between a Signal and the expected one.
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

// A table as text, with aligned columns.
export function table(head, rows) {
  const lines = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...lines.map((line) => [...String(line[column] ?? "")].length)));
  const cell = (text, column) => {
    const value = String(text ?? "");
    return value + " ".repeat(widths[column] - [...value].length);
  };
  return lines.map((line) => line.map(cell).join("  ").trimEnd()).join("\n");
}
