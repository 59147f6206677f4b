// pg-boss in batches of 500. `batchSize` makes a fetch and a completion one statement for a batch;
// `burstWhenBatchFull` lets a worker fetch again at once, where it would wait for at least half a
// second; `localConcurrency` runs several workers, so that jobs run while a worker waits for
// Postgres. A worker passes the whole batch to its handler: each handler runs its share of the
// concurrent jobs. Of 1, 2, 4, 8 and 24 workers 4 were fastest.

import { PgBoss } from "pg-boss";

import { CONCURRENT, DATABASE, Run, chunks } from "./common.mjs";

const WORKERS = 4;

const boss = new PgBoss(DATABASE);
boss.on("error", (error) => console.error(error));
await boss.start();
await boss.createQueue("job");
for (const numbers of chunks()) {
  await boss.insert(
    "job",
    numbers.map((n) => ({ data: { n } })),
  );
}
await boss.getDb().executeSql("VACUUM ANALYZE");

const run = new Run();
await boss.work(
  "job",
  { batchSize: 500, burstWhenBatchFull: true, localConcurrency: WORKERS },
  async (batch) => {
    const waiting = batch.values();
    const slots = Array.from({ length: CONCURRENT / WORKERS }, async () => {
      for (const _ of waiting) await run.job();
    });
    await Promise.all(slots);
  },
);
await run.report("SELECT FROM pgboss.job WHERE name = 'job' AND state < 'completed'");
await boss.stop({ graceful: false });
