// The driver of graphile-worker, the npm package.
//
// The settings are those of its author's published performance test of 200 000 jobs ("Performance" in its
// documentation, "With batching"): a local queue of 500, completions batched with no delay, one connection more than
// jobs at a time. The same page has the local queue hold at least one more than the concurrency.

import { Logger, makeWorkerUtils, run } from "graphile-worker";
import { follow, handlerStarted, measurePickups, orders } from "./protocol.mjs";

const BULK = 10_000;
const MOST_CONNECTIONS = 100;

const worker = {
  concurrentJobs: orders.concurrency,
  maxPoolSize: Math.min(orders.concurrency + 1, MOST_CONNECTIONS),
  localQueue: { size: Math.max(500, orders.concurrency + 1) },
  completeJobBatchDelay: 0,
  failJobBatchDelay: 0,
};

const logger = new Logger(() => (level, message) => {
  if (level === "error" || level === "warning") console.error(message);
});

async function utils() {
  return await makeWorkerUtils({ connectionString: orders.databaseUrl, logger });
}

async function prepare() {
  const tools = await utils();
  await tools.migrate();
  for (let from = 0; from < orders.tasks; from += BULK) {
    const numbers = Array.from({ length: Math.min(BULK, orders.tasks - from) }, (_, index) => from + index);
    await tools.addJobs(
      numbers.map((number) => ({
        identifier: "nothing",
        payload: { number },
        ...(orders.ordered ? { queueName: `member-${number}` } : {}),
      })),
    );
  }
  const key = orders.ordered ? "a queue name per job" : "none";
  console.log(JSON.stringify({ ...worker, key }));
}

async function start() {
  return await run({
    preset: { worker: { ...worker, connectionString: orders.databaseUrl } },
    taskList: { nothing: async () => handlerStarted() },
    logger,
    noHandleSignals: true,
  });
}

async function latency() {
  await start();
  const tools = await utils();
  await measurePickups((number) => tools.addJob("nothing", { number }));
}

await follow({ prepare, run: start, latency });
