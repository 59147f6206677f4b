// Compares rows of changed series with recorded responses of Calendar to the same changes.
import { readdirSync } from "node:fs";

import { assert, check } from "./checks.mjs";
import { read } from "./schemas.mjs";

const folder = `${process.env.POBLYSH_FIXTURES}/google/recorded/compass/calendar`;

// Texts that a person may add.
const OPTIONAL = ["description", "location"];

// The kind of a row, with the names of its fields.
function shape(row) {
  const suffix = row.id.match(/_(R?)\d{8}(T\d{6}Z?)?$/);
  const place = suffix === null ? "series" : suffix[1] === "R" ? "part" : "instance";
  const fields = Object.keys(row).filter((name) => !OPTIONAL.includes(name));
  return `${place} ${row.status}: ${fields.sort().join(" ")}`;
}

const shapes = (page) => page.items.map(shape).sort();

// Whether all rows have one time of change, which their tags repeat.
function changedTogether(page) {
  const tags = page.items.map((row) => BigInt(JSON.parse(row.etag)) / 2_000n);
  const times = page.items.filter((row) => row.updated).map((row) => BigInt(Date.parse(row.updated)));
  return new Set([...tags, ...times, BigInt(Date.parse(page.updated))]).size === 1;
}

// Changes by the beginning of a recording's name: the acts before, and the act itself.
const FIRST = { scope: "this", occurrence: 1 };
const SPLIT = { scope: "following", occurrence: 3 };
const CASES = {
  "sync-edit-single": [[], ["event.edited", FIRST]],
  "sync-edit-all-all": [[["event.edited", FIRST], ["event.edited", SPLIT]], ["event.edited", {}]],
  "sync-edit-this-and-following-this-and-following-4": [[["event.edited", FIRST]], ["event.edited", SPLIT]],
  "sync-edit-this-and-following": [[], ["event.edited", SPLIT]],
  "sync-delete-single": [[], ["event.cancelled", FIRST]],
  "sync-delete-this-and-following": [
    [["event.cancelled", { scope: "this", occurrence: 4 }]],
    ["event.cancelled", SPLIT],
  ],
  "sync-delete-all": [[], ["event.cancelled", {}]],
};

// `act` performs an action, `changes` lists the rows since a token, and `position` returns a token.
export async function compare({ act, changes, position }) {
  const files = readdirSync(folder).filter((name) => name.startsWith("sync-"));
  let rows = 0;
  for (const file of files) {
    const recorded = read(`${folder}/${file}`);
    const name = Object.keys(CASES).find((name) => file.startsWith(name));
    await check(`google_calendar: the rows of ${file.replace(/\.json$/, "")} are the same`, async () => {
      const [before, [action, params]] = CASES[name];
      const { id } = await act("event.created", { rule: "daily" });
      for (const [action, params] of before) await act(action, { event: id, ...params });
      const token = await position();
      await act(action, { event: id, ...params });
      const page = await changes(token);
      assert.deepEqual(shapes(page), shapes(recorded));
      assert.ok(changedTogether(recorded) && changedTogether(page));
      assert.deepEqual(Object.keys(page).sort(), Object.keys(recorded).sort());
      rows += page.items.length;
    });
  }
  await check(`google_calendar: ${files.length} recordings with ${rows} rows were compared`, () => {
    assert.ok(files.length >= 9 && rows >= 20);
  });
}
