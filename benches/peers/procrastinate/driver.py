"""The driver of procrastinate.

It fetches and completes one job at a time and has no batching to set; its documentation asks for asynchronous tasks,
a worker of the wished concurrency and a connection pool that suffices for them ("Launch multiple jobs in parallel",
"Connect to PostgreSQL"). Everything else is its default: finished jobs are kept.
"""

import asyncio
import json
import math
import os
import sys
import time

from procrastinate import App, PsycopgConnector

INSERTS = 1_000
BULK = 1_000
CONNECTIONS = 20
# After a pickup, before the next insert: time for its completion to be written, and then nothing to do.
IDLE = 0.020
# Added in part, evenly spread, so that the inserts do not follow the beat of anybody's timer.
SPREAD = 0.010
STARTING = 1.0
LONGEST_PICKUP = 30.0
PERCENTILES = {"p50": 50, "p95": 95, "p99": 99, "max": 100}

TASKS = int(os.environ["TASKS"])
CONCURRENCY = int(os.environ["CONCURRENCY"])
ORDERED = os.environ["ORDERED"] == "1"

app = App(connector=PsycopgConnector(conninfo=os.environ["DATABASE_URL"], min_size=4, max_size=CONNECTIONS))


class Starts:
    """What is done when a handler starts: the first one is said, unless each one is measured."""

    first_said = False
    next: asyncio.Future | None = None


@app.task(name="nothing")
async def nothing(number: int):
    if Starts.next is not None:
        Starts.next.set_result(time.perf_counter())
    elif not Starts.first_said:
        Starts.first_said = True
        print("first", flush=True)


def job(number: int):
    lock = f"member-{number}" if ORDERED else None
    return nothing.configure(lock=lock, task_kwargs={"number": number}).job


async def prepare():
    await app.schema_manager.apply_schema_async()
    for begin in range(0, TASKS, BULK):
        numbers = range(begin, min(begin + BULK, TASKS))
        await app.job_manager.batch_defer_jobs_async([job(number) for number in numbers])
    settings = {
        "concurrency": CONCURRENCY,
        "connections": CONNECTIONS,
        "delete_jobs": "never",
        "listen_notify": True,
        "key": "a lock per job" if ORDERED else "none",
    }
    print(json.dumps(settings))


async def run():
    await app.run_worker_async(concurrency=CONCURRENCY, install_signal_handlers=False)


async def latency():
    work = asyncio.create_task(run())
    await asyncio.sleep(STARTING)
    pickups = []
    for number in range(INSERTS):
        await asyncio.sleep(IDLE + SPREAD * math.modf(number * 0.61803398875)[0])
        Starts.next = asyncio.get_running_loop().create_future()
        await nothing.defer_async(number=number)
        inserted = time.perf_counter()
        started = await asyncio.wait_for(Starts.next, LONGEST_PICKUP)
        pickups.append(max(0.0, started - inserted) * 1_000)
    pickups.sort()
    values = {f"{name}_ms": at(pickups, percent) for name, percent in PERCENTILES.items()}
    print(json.dumps(values), flush=True)
    work.cancel()


def at(pickups, percent: int):
    return pickups[min(len(pickups) * percent // 100, len(pickups) - 1)]


async def main():
    ways = {"prepare": prepare, "run": run, "latency": latency}
    async with app.open_async():
        await ways[sys.argv[1]]()


asyncio.run(main())
