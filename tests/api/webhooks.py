"""Signs webhooks with a second implementation, as Cerby's documentation describes it, and sends them to PROGRAM."""

import base64
import datetime
import hashlib
import hmac
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid

import psycopg
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def encoded(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Ed25519:
    name = "ed25519"

    def __init__(self):
        self.id, self.private = str(uuid.uuid4()), Ed25519PrivateKey.generate()

    def public(self):
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.private.public_key().public_bytes(serialization.Encoding.DER, form)

    def sign(self, message):
        return self.private.sign(message)


class Hmac:
    name = "hmac-sha256"

    def __init__(self):
        self.id, self.secret = str(uuid.uuid4()), secrets.token_bytes(32)

    def public(self):
        return self.secret

    def sign(self, message):
        return hmac.new(self.secret, message, hashlib.sha256).digest()


def entry(key):
    return f"acme/{key.id}={key.name}:{encoded(key.public())}"


def event(event_id):
    # Blanks and an escape show that the bytes are signed as they are sent.
    body = {"envelope_version": "1.0", "event_id": event_id, "event_type": "automation.failed",
            "occurred_at": stamp(0), "workspace_id": str(uuid.uuid4()), "note": "Zoë \u2028",
            "data": {"automation_job_id": f"job-of-{event_id}"}, "error": {"code": "NotEnoughSeats"}}
    return json.dumps(body, indent=1).encode()


def stamp(seconds):
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Sender:
    def __init__(self, port):
        self.port = port

    def send(self, keys, body, seconds=0, signed=None):
        """The status of a delivery; the headers are repeated for each key."""
        timestamp = stamp(seconds)
        message = timestamp.encode() + b"." + (body if signed is None else signed)
        head = ["POST /v1/intake/cerby HTTP/1.1", "Host: localhost", "Connection: close",
                "Content-Type: application/json", f"Content-Length: {len(body)}",
                f"X-Cerby-Signature-Timestamp: {timestamp}", f"X-Cerby-Delivery: {uuid.uuid4()}",
                "X-Cerby-Attempt: 1"]
        for key in keys:
            head.append(f"X-Cerby-Signature: {key.name}={encoded(key.sign(message))}")
            head.append(f"X-Cerby-Signature-Key-Id: {key.id}")
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            connection.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + body)
            return int(connection.makefile("rb").readline().split()[1])


def wait_for(url):
    for _ in range(300):
        try:
            return urllib.request.urlopen(url, timeout=1)
        except OSError:
            time.sleep(0.1)
    sys.exit("the API did not answer within 30 s")


def check(what, got, expected):
    if got != expected:
        sys.exit(f"{what}: {got}, not {expected}")
    print(f"{what}: {got}")


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def deliver(sender, old, new, secret, put_keys):
    """Every case, and the ids that have to be stored afterwards."""
    check("ed25519", sender.send([old], event("e-1")), 204)
    check("hmac-sha256", sender.send([secret], event("e-2")), 204)
    check("a redelivery", sender.send([old], event("e-1")), 204)
    check("a rotation that has begun", sender.send([new, old], event("e-3")), 204)
    check("an unknown key", sender.send([new], event("e-4")), 503)
    put_keys([new, secret])
    check("the new key in the file", sender.send([new], event("e-4")), 204)
    check("the old key, gone from the file", sender.send([old], event("e-5")), 503)
    check("another body", sender.send([new], event("e-5"), signed=event("e-6")), 401)
    check("six minutes old", sender.send([new], event("e-5"), seconds=-360), 401)
    check("six minutes ahead", sender.send([secret], event("e-5"), seconds=360), 401)
    check("not signed", sender.send([], event("e-5")), 401)
    return ["e-1", "e-2", "e-3", "e-4"]


def main(program):
    old, new, secret = Ed25519(), Ed25519(), Hmac()
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "keys")

        def put_keys(keys):
            with open(file, "w", encoding="ascii") as out:
                out.write(", ".join(map(entry, keys)) + "\n")

        put_keys([old, secret])
        environment = {**os.environ, "RECONCILER__INTAKE__WEBHOOK_KEYS_FILE": file,
                       "RECONCILER__OPERATORS__LISTEN": f"127.0.0.1:{port}"}
        with open(os.path.join(folder, "log"), "w+", encoding="utf-8") as log:
            daemon = subprocess.Popen([program, "serve"], env=environment, stdout=log)
            try:
                wait_for(f"http://127.0.0.1:{port}/v1/openapi.json")
                expected = deliver(Sender(port), old, new, secret, put_keys)
            finally:
                daemon.terminate()
                daemon.wait()
            log.seek(0)
            lines = log.read()
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        query = "select event_id from reconciler.webhook_events where event_id like 'e-%' order by 1"
        stored = connection.execute(query).fetchall()
    check("stored", [row[0] for row in stored], expected)
    check("words of a body in the log", "NotEnoughSeats" in lines or "Zo" in lines, False)
    check("secrets in the log", encoded(secret.secret) in lines, False)


main(sys.argv[1])
