// The driver of pg-boss.
//
// Its batch is `batchSize`, here the concurrency: that many jobs are fetched, handled and completed at a time. The
// shortest polling interval it allows is half a second ("Workers" in its documentation), and it has no notifications;
// so after a full batch the worker is asked at once for the next one by `notifyWorker`, which the same page has for
// this. Without it, no worker would do more than two batches a second.

import PgBoss from "pg-boss";
import { follow, handlerStarted, measurePickups, orders } from "./protocol.mjs";

const QUEUE = "peers";
const BULK = 5_000;
const POLLING_SECONDS = 0.5;

async function started() {
  const boss = new PgBoss({ connectionString: orders.databaseUrl });
  boss.on("error", (error) => console.error(error));
  await boss.start();
  return boss;
}

async function prepare() {
  const boss = await started();
  await boss.createQueue(QUEUE);
  for (let from = 0; from < orders.tasks; from += BULK) {
    const length = Math.min(BULK, orders.tasks - from);
    await boss.insert(Array.from({ length }, (_, index) => ({ name: QUEUE, data: { number: from + index } })));
  }
  const settings = {
    batchSize: orders.concurrency,
    pollingIntervalSeconds: POLLING_SECONDS,
    notifyWorker: "after each full batch",
    policy: "standard",
    connections: 10,
    key: "none",
  };
  console.log(JSON.stringify(settings));
}

async function work() {
  const boss = await started();
  let worker = null;
  const options = { batchSize: orders.concurrency, pollingIntervalSeconds: POLLING_SECONDS };
  worker = await boss.work(QUEUE, options, async (jobs) => {
    jobs.forEach(() => handlerStarted());
    if (jobs.length === orders.concurrency) boss.notifyWorker(worker);
  });
  return boss;
}

async function latency() {
  const boss = await work();
  // Fewer inserts, spread over its whole polling interval.
  await measurePickups((number) => boss.send(QUEUE, { number }), { inserts: 200, spreadMs: POLLING_SECONDS * 1_000 });
}

await follow({ prepare, run: work, latency });
