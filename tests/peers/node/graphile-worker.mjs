// graphile-worker in its batched mode, with the settings of its page on performance: one session
// per concurrent job and one more, a local queue that claims 500 jobs at once, completions and
// failures in batches without delay.

import { Logger, makeWorkerUtils, run } from "graphile-worker";

import { CONCURRENT, DATABASE, Run, chunks } from "./common.mjs";

// By default it logs a line for every job.
const logger = new Logger(() => (level, message) => {
  if (level === "error") console.error(message);
});

const utils = await makeWorkerUtils({ connectionString: DATABASE, logger });
await utils.migrate();
for (const numbers of chunks()) {
  await utils.addJobs(numbers.map((n) => ({ identifier: "job", payload: { n } })));
}
await utils.withPgClient((client) => client.query("VACUUM ANALYZE graphile_worker._private_jobs"));
await utils.release();

const jobs = new Run();
const runner = await run({
  preset: {
    worker: {
      connectionString: DATABASE,
      concurrentJobs: CONCURRENT,
      maxPoolSize: CONCURRENT + 1,
      localQueue: { size: 500 },
      completeJobBatchDelay: 0,
      failJobBatchDelay: 0,
    },
  },
  logger,
  noHandleSignals: true,
  taskList: { job: () => jobs.job() },
});
await jobs.report("SELECT FROM graphile_worker._private_jobs");
await runner.stop();
