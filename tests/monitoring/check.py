"""Two replicas, scraped by a real Prometheus that has the rules of this project.

Their pages are read strictly, every rule is evaluated, and every query of the dashboard is answered with a value.
usage: DATABASE_URL=... check.py FOLDER PROGRAM
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

from prometheus_client.openmetrics.parser import text_string_to_metric_families

ROOT = Path(__file__).resolve().parents[2]
SCRAPES_EVERY = "1s"
LASTS = 90
MOST_SERIES = 600


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def get(url: str) -> str:
    with urlopen(url, timeout=10) as answer:
        return answer.read().decode()


def eventually(what: str, is_true) -> None:
    until = time.monotonic() + LASTS
    while not is_true():
        if time.monotonic() > until:
            sys.exit(f"not within {LASTS} s: {what}")
        time.sleep(0.2)


def start(stack: ExitStack, name: str, folder: Path, command: list[str], **env: str) -> None:
    log = stack.enter_context((folder / f"{name}.log").open("w"))
    process = subprocess.Popen(command, env={**os.environ, **env}, stdout=log, stderr=log)
    stack.callback(process.wait)
    stack.callback(process.terminate)


def tasks() -> str:
    """A removal that a person has to make, and several with nothing to do."""
    now = datetime.now(timezone.utc).isoformat()
    row = {
        "workspace_id": "acme", "integration_id": "app", "integration_kind": "business_hub", "integration_name": "App",
        "application": "asana_tenant", "operation": "remove", "trigger": "manual", "requested_at": now,
        "job_id": "job", "failure_code": "NotEnoughSeats",
    }
    members = ["u-1", *(f"gone-{n}" for n in range(20))]
    rows = [
        {**row, "source_id": name, "member_id": name, "member_email": f"{name}@acme.example"} for name in members
    ]
    return "\n".join(map(json.dumps, rows)) + "\n"


class Prometheus:
    def __init__(self, port: int):
        self.url = f"http://127.0.0.1:{port}"

    def ask(self, path: str, **parameters: str) -> dict:
        answer = json.loads(get(f"{self.url}/api/v1/{path}?{urlencode(parameters)}"))
        if answer["status"] != "success":
            sys.exit(f"{parameters}: {answer}")
        return answer["data"]

    def value(self, query: str) -> float:
        result = self.ask("query", query=query)["result"]
        return float(result[0]["value"][1]) if result else 0.0

    def is_ready(self) -> bool:
        try:
            return "Ready" in get(f"{self.url}/-/ready")
        except URLError:
            return False


def check_pages(addresses: list[str]) -> None:
    names = []
    for address in addresses:
        families = list(text_string_to_metric_families(get(f"http://{address}/metrics")))
        series = [(sample.name, tuple(sorted(sample.labels.items()))) for one in families for sample in one.samples]
        if len(series) != len(set(series)) or len(series) >= MOST_SERIES:
            sys.exit(f"{address} has {len(series)} series, {len(set(series))} different ones")
        names.append(set(series))
    if names[0] != names[1]:
        sys.exit(f"the replicas differ: {names[0] ^ names[1]}")
    print(f"{len(names[0])} series on each replica, read strictly")


def queries() -> list[str]:
    dashboard = json.loads((ROOT / "deploy/grafana/dashboard.json").read_text())
    found = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    return [query.replace("$__rate_interval", "1m").replace("$__range", "1h") for query in found]


def check_rules(prometheus: Prometheus) -> None:
    def rules() -> list[dict]:
        return [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]

    eventually("every rule was evaluated", lambda: all(rule["health"] != "unknown" for rule in rules()))
    bad = [rule for rule in rules() if rule["health"] != "ok"]
    if bad:
        sys.exit(f"rules that Prometheus cannot evaluate: {bad}")
    print(f"{len(rules())} rules evaluated")


def main(folder: Path, program: str) -> None:
    backend, server, *ports = (free_port() for _ in range(4))
    addresses = [f"127.0.0.1:{port}" for port in ports]
    env = {
        "RECONCILER__DATABASE__URL": os.environ["DATABASE_URL"],
        "RECONCILER__BACKEND__API_KEY": "unused",
        "RECONCILER__BACKEND__BASE_URL": f"http://127.0.0.1:{backend}/api/v1",
    }
    rules = (ROOT / "deploy/prometheus/rules.yml").read_text()
    # Recording rules are needed by queries soon, and not once a minute.
    (folder / "rules.yml").write_text(re.sub(r"interval: 1m\n", "interval: 1s\n", rules))
    shutil.rmtree(folder / "data", ignore_errors=True)
    (folder / "prometheus.yml").write_text(
        f"global: {{scrape_interval: {SCRAPES_EVERY}, evaluation_interval: {SCRAPES_EVERY}}}\n"
        f"rule_files: [rules.yml]\n"
        f"scrape_configs:\n- job_name: cerby-reconciler\n  static_configs: [{{targets: {json.dumps(addresses)}}}]\n"
    )
    with ExitStack() as stack:
        fake = str(ROOT / "tests/integrations/fake_backend.py")
        start(stack, "backend", folder, [sys.executable, fake, str(backend)])
        for address in addresses:
            listen = {"RECONCILER__HTTP__LISTEN": address}
            start(stack, address.replace(":", "-"), folder, [program, "serve"], **env, **listen)
        start(
            stack, "prometheus", folder,
            ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
             f"--web.listen-address=127.0.0.1:{server}"],
        )
        prometheus = Prometheus(server)
        eventually("Prometheus is ready", prometheus.is_ready)
        eventually("both replicas are scraped and ready", lambda: prometheus.value("sum(reconciler_ready)") == 2)
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
            file.write(tasks())
            file.flush()
            subprocess.run([program, "import", file.name], env={**os.environ, **env}, check=True)
        ended = "sum(reconciler_tasks_ended_total)"
        eventually("all tasks have ended", lambda: prometheus.value(ended) == 21)
        eventually("an action is seen", lambda: prometheus.value("max(reconciler_actions)") == 1)
        check_pages(addresses)
        check_rules(prometheus)
        for query in queries():
            eventually(f"an answer to {query}", lambda: prometheus.ask("query", query=query)["result"])
        print(f"{len(queries())} queries of the dashboard answered")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
