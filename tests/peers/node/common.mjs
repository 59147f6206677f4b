// Shared code of the peers: arguments, the job, the clock, the printed result.

import pg from "pg";

const [database, jobs, concurrent, milliseconds] = process.argv.slice(2);
if (!milliseconds) {
  console.error("usage: node PEER.mjs DATABASE_URL JOBS CONCURRENT MILLISECONDS");
  process.exit(2);
}

/** An empty database that the peer may fill. */
export const DATABASE = database;
/** Number of jobs. */
const JOBS = Number(jobs);
/** Jobs that run at once. */
export const CONCURRENT = Number(concurrent);
/** How long a job takes; 0 is a no-op. */
const MILLISECONDS = Number(milliseconds);

/** Jobs of one call of the peer's own bulk insert. */
const CHUNK = 1000;

/** Yields the jobs' numbers in chunks. */
export function* chunks() {
  for (let first = 0; first < JOBS; first += CHUNK) {
    yield Array.from({ length: Math.min(CHUNK, JOBS - first) }, (_, at) => first + at);
  }
}

/** Runs jobs and measures from the start of the first one, without the peer's start-up. */
export class Run {
  #started = 0;
  #ended = 0;
  #busy = 0;
  #finish;
  #finished = new Promise((resolve) => {
    this.#finish = resolve;
  });

  /** The job: it waits. */
  async job() {
    const started = performance.now();
    this.#started ||= started;
    if (MILLISECONDS > 0) await new Promise((resolve) => setTimeout(resolve, MILLISECONDS));
    this.#busy += performance.now() - started;
    this.#ended += 1;
    if (this.#ended === JOBS) this.#finish();
  }

  /**
   * Waits for all jobs, and for their completions to be committed: until the query `unfinished`
   * has no rows. Prints what `scripts/bench` reads.
   */
  async report(unfinished) {
    await this.#finished;
    const client = new pg.Client(DATABASE);
    await client.connect();
    for (;;) {
      const { rows } = await client.query(`SELECT EXISTS (${unfinished}) AS some`);
      if (!rows[0].some) break;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    const seconds = (performance.now() - this.#started) / 1000;
    await client.end();
    if (this.#ended !== JOBS) throw new Error(`${this.#ended} jobs ran instead of ${JOBS}`);
    console.log(JSON.stringify({ jobs: JOBS, seconds, job_ms: this.#busy / JOBS }));
  }
}
