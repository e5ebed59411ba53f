"""A backend for a first try: one app with three members, whom its automation cannot change.

It answers the requests of docs/backend-api.yaml that a business hub needs. `POST /by-hand/MEMBER` removes a member from
the app, as a person would do it there. usage: fake_backend.py PORT
"""

import json
import sys
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

members = ["u-1", "u-2", "u-3"]
jobs = {}


def member(name: str) -> dict:
    attributes = {"email": f"{name}@acme.example", "entitlements": [{"id": "VIEWER"}]}
    return {"id": name, "type": "user", "attributes": attributes}


def start(error: str | None) -> dict:
    """A job, which has ended when it is asked for."""
    now = datetime.now(timezone.utc).isoformat()
    details = {"errorType": error, "userRequired": True} if error else {}
    job = {"status": "error" if error else "finished", "canRetry": False, "errorDetails": details}
    name = f"job-{len(jobs) + 1}"
    jobs[name] = {"id": name, "type": "job", "attributes": {**job, "createdAt": now, "updatedAt": now}}
    return {"data": {"id": name, "type": "job", "attributes": {"status": "created"}}}


class Backend(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status: int, body: dict) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def handle_any(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        match [self.command, *urlsplit(self.path).path.removeprefix("/api/v1").strip("/").split("/")]:
            case ["POST", "by-hand", name] if name in members:
                members.remove(name)
                self.answer(200, {})
            case ["POST", "integrations", _, "sync"]:
                self.answer(200, start(None))
            case ["POST", "integrations", _, "users"] | ["PATCH" | "DELETE", "integrations", _, "users", _]:
                self.answer(200, start("UnderpermissionedAccount"))
            case ["GET", "jobs", name] if name in jobs:
                self.answer(200, {"data": jobs[name]})
            case ["GET", "integrations", name]:
                self.answer(200, {"data": {"id": name, "type": "account", "attributes": {}}})
            case ["GET", "integrations", _, "users"]:
                page = {"maxSize": 100, "total": len(members)}
                self.answer(200, {"data": [member(name) for name in members], "links": {}, "meta": {"page": page}})
            case ["GET", "integrations", _, "users", name] if name in members:
                self.answer(200, {"data": member(name)})
            case _:
                self.answer(404, {"errors": [{"code": "not_found", "status": 404}]})

    do_GET = do_POST = do_PATCH = do_DELETE = handle_any

    def log_message(self, *_: object) -> None:
        pass


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Backend).serve_forever()
