"""One line of every event, and lines that are none, through the rules of deploy/rsyslog.

usage: with_rsyslog.py REPOSITORY FOLDER
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WITHIN_S = 30
LAST = "the last line is no JSON"


def lines_of(schema: dict) -> list[dict]:
    """A line of each event, with all its fields."""
    lines = []
    for event in schema["oneOf"]:
        properties = event["properties"]
        fields = [name for name in properties if name not in ("timestamp", "level", "event", "message", "target", "spans")]
        line = {name: f"a {name}" for name in fields}
        line |= {"timestamp": "2026-01-01T00:00:00Z", "message": "It happened"}
        line |= {name: properties[name]["const"] for name in ("level", "event")}
        lines.append(line)
    return lines


def wait_for(what: str, happened) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not happened():
        if time.monotonic() > deadline:
            sys.exit(f"never happened: {what}")
        time.sleep(0.1)


def main(repository: Path, installed: Path) -> None:
    lines = lines_of(json.loads((repository / "docs/events.schema.json").read_text()))
    libraries = next(installed.glob("usr/lib/*/rsyslog")).parent
    environment = os.environ | {"LD_LIBRARY_PATH": str(libraries)}
    rsyslogd = [str(installed / "usr/sbin/rsyslogd"), "-M", str(libraries / "rsyslog")]
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)
        rules = (repository / "deploy/rsyslog/cerby-reconciler.conf").read_text()
        rules = rules.replace("/var/log/cerby-reconciler", str(place))
        (place / "rules.conf").write_text(f'global(workDirectory="{place}")\n{rules}')
        subprocess.run([*rsyslogd, "-N1", "-f", place / "rules.conf"], env=environment, check=True)
        log = "".join(json.dumps(line) + "\n" for line in lines)
        (place / "log.jsonl").write_text(f"{log}{LAST}\n")
        command = [*rsyslogd, "-n", "-f", place / "rules.conf", "-i", place / "pid"]
        process = subprocess.Popen(command, env=environment)
        try:
            page, tickets = place / "page.log", place / "tickets.log"
            wait_for("the last line is told", lambda: page.exists() and LAST in page.read_text())
        finally:
            process.terminate()
            process.wait(timeout=WITHIN_S)
        for file, level in ((page, "ERROR"), (tickets, "WARN")):
            told = [line.split(" ")[2] for line in file.read_text().splitlines() if LAST not in line]
            expected = [line["event"] for line in lines if line["level"] == level]
            if told != expected:
                sys.exit(f"{file.name} tells {told} and not {expected}")
            print(f"{file.name}: {len(told)} events of level {level}, and no other")
        first = next(line for line in tickets.read_text().splitlines() if "task.escalated" in line)
        if not all(part in first for part in ("workspace=a workspace.id", "integration=a integration.id", "action.id")):
            sys.exit(f"an alert does not say about what it is: {first}")


main(Path(sys.argv[1]), Path(sys.argv[2]))
