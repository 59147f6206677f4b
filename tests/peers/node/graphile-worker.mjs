// graphile-worker in its batched mode, with the settings that its page on performance measures
// with: a connection for each job that runs and one more, a local queue that claims 500 jobs at
// once, completions and failures in batches that wait for nothing.

import { Logger, makeWorkerUtils, run } from "graphile-worker";

import { CONCURRENT, DATABASE, Run, chunks } from "./common.mjs";

// It says a line about every job otherwise.
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
