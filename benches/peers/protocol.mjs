// What the drivers on Node share: their orders, the word of their first handler, and how long a pickup takes.

// After a pickup, before the next insert: time for its completion to be written, and then nothing to do.
const IDLE_MS = 20;
const STARTING_MS = 1_000;
const LONGEST_PICKUP_MS = 30_000;

export const orders = {
  order: process.argv[2],
  databaseUrl: process.env.DATABASE_URL,
  tasks: Number(process.env.TASKS),
  concurrency: Number(process.env.CONCURRENCY),
  ordered: process.env.ORDERED === "1",
};

let firstSaid = false;
let tell = null;

// To be called first by every handler.
export function handlerStarted() {
  if (tell) {
    tell(performance.now());
  } else if (!firstSaid) {
    firstSaid = true;
    process.stdout.write("first\n");
  }
}

// Measures from the return of each insert to the start of its handler, and prints the percentiles. A part of
// `spreadMs` is added to each pause, evenly spread, so that the inserts do not follow the beat of anybody's timer.
export async function measurePickups(insert, { inserts = 1_000, spreadMs = 10 } = {}) {
  await pause(STARTING_MS);
  const pickups = [];
  for (let number = 0; number < inserts; number += 1) {
    await pause(IDLE_MS + spreadMs * ((number * 0.61803398875) % 1));
    const start = nextStart();
    await insert(number);
    const inserted = performance.now();
    pickups.push(Math.max(0, (await start) - inserted));
  }
  pickups.sort((one, other) => one - other);
  const at = (percent) => pickups[Math.min(Math.floor((pickups.length * percent) / 100), pickups.length - 1)];
  console.log(JSON.stringify({ p50_ms: at(50), p95_ms: at(95), p99_ms: at(99), max_ms: at(100) }));
}

function nextStart() {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("nobody picked it up")), LONGEST_PICKUP_MS);
    tell = (at) => {
      clearTimeout(timer);
      resolve(at);
    };
  });
}

export function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

// Follows an order to its end. `run` has none.
export async function follow(ways) {
  const way = ways[orders.order];
  if (!way) throw new Error(`prepare, run or latency, not ${orders.order}`);
  await way();
  if (orders.order !== "run") process.exit(0);
}
