"""A removal that only a person can do, from the row to its verdict, as oteltap receives it.

usage: DATABASE_URL=postgres://... with_oteltap.py PROGRAM
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from oteltap.oteltap_http_protobuf_receiver import OtelTapHttpProtobufReceiver
from oteltap.oteltap_http_protobuf_receiver_settings import OtelTapHttpProtobufReceiverSettings

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
ROW = {
    "workspace_id": "acme",
    "source_id": "job-1",
    "job_id": "job-that-failed",
    "integration_id": "hub-1",
    "integration_kind": "business_hub",
    "integration_name": "Asana",
    "application": "asana_tenant",
    "member_id": "u-1",
    "member_email": "u-1@acme.example",
    "operation": "remove",
    "trigger": "manual",
    "requested_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    "traceparent": f"00-{TRACE}-{PARENT}-01",
}
WITHIN_S = 60


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def is_child_of_row(span) -> bool:
    return (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)


def is_linked_to_row(span) -> bool:
    return any((link.trace_id.hex(), link.span_id.hex()) == (TRACE, PARENT) for link in span.links)


async def main(program: str) -> None:
    collector, backend = free_port(), free_port()
    base_url = f"http://127.0.0.1:{backend}/api/v1"
    environment = os.environ | {
        "RECONCILER__DATABASE__URL": os.environ["DATABASE_URL"],
        "RECONCILER__BACKEND__BASE_URL": base_url,
        "RECONCILER__BACKEND__API_KEY": "unused",
        "RECONCILER__HTTP__LISTEN": "127.0.0.1:0",
        "RECONCILER__JOB__POLL_FIRST_S": "0.1",
        "RECONCILER__TRACES__OTLP_ENDPOINT": f"http://127.0.0.1:{collector}/v1/traces",
    }

    def run(*arguments: str, text: str | None = None) -> str:
        command = [program, *arguments]
        return subprocess.run(command, env=environment, input=text, check=True, text=True, capture_output=True).stdout

    settings = OtelTapHttpProtobufReceiverSettings(http_port=collector)
    fake = Path(__file__).parent.parent / "integrations" / "fake_backend.py"
    async with OtelTapHttpProtobufReceiver(settings) as receiver:

        # It keeps no spans, so a predicate that fits none does.
        spans = []
        keeping = asyncio.ensure_future(receiver.await_trace(spans.append))

        async def seen(name: str, fits) -> None:
            deadline = time.monotonic() + WITHIN_S
            while not any(span.name == name and fits(span) for span in spans):
                if time.monotonic() > deadline:
                    sys.exit(f"not received: {name}, but {[span.name for span in spans]}")
                await asyncio.sleep(0.1)
            print(f"received: {name}")

        await asyncio.to_thread(run, "import", "-", text=json.dumps(ROW))
        processes = [
            subprocess.Popen([sys.executable, str(fake), str(backend)]),
            subprocess.Popen([program, "serve"], env=environment, stdout=subprocess.DEVNULL),
        ]
        try:
            await seen("attempt", is_child_of_row)
            await seen("DELETE /integrations/{integration}/users/{member}", lambda span: span.trace_id.hex() == TRACE)
            await seen("action", is_linked_to_row)
            by_hand = urllib.request.Request(f"{base_url}/by-hand/u-1", data=b"", method="POST")
            await asyncio.to_thread(urllib.request.urlopen, by_hand)
            opened = next(span for span in spans if span.name == "action")
            action = next(one.value.int_value for one in opened.attributes if one.key == "action.id")
            await asyncio.to_thread(run, "actions", "done", str(action), "--as", "kim", "--note", "by hand")
            await seen("sync", is_linked_to_row)
            await seen("verdict", is_linked_to_row)
        finally:
            keeping.cancel()
            for process in processes:
                process.terminate()
            codes = [process.wait(timeout=WITHIN_S) for process in processes]
    if codes[1] != 0:
        sys.exit(f"the program ended with {codes[1]}")


asyncio.run(main(sys.argv[1]))
