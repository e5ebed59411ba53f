"""Lets `migrate` run through PgBouncer: in transaction mode it refuses and changes nothing, in session mode it works.

    DATABASE_URL=postgres://... python3 pooler.py FOLDER PROGRAM

DATABASE_URL names the superuser of a database without the schema. PgBouncer is Debian's package, unpacked in FOLDER.
"""

import contextlib
import glob
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse

PACKAGES = ["pgbouncer", "libevent-2.1-7", "libc-ares2"]


def unpacked(folder):
    """The folder that has PgBouncer and its libraries."""
    root = folder / "root"
    if not (root / "usr/sbin/pgbouncer").exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", "--quiet", *PACKAGES], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        for package in folder.glob("*.deb"):
            subprocess.run(["dpkg", "-x", package, root], check=True)
    return root


def is_open(port):
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def pooler(root, url, mode):
    """PgBouncer before the server of this URL; the URL that goes through it."""
    with socket.socket() as free, tempfile.TemporaryDirectory() as name:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        # PgBouncer does not run as root.
        os.chmod(name, 0o755)
        folder = pathlib.Path(name)
        (folder / "users.txt").write_text(f'"{url.username}" "{url.password or ""}"\n')
        (folder / "pgbouncer.ini").write_text(
            f"[databases]\n* = host={url.hostname} port={url.port}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = trust\nauth_file = {folder}/users.txt\npool_mode = {mode}\n"
            "ignore_startup_parameters = options,extra_float_digits\n"
        )
        libraries = ":".join(glob.glob(f"{root}/usr/lib/*-linux-gnu"))
        as_nobody = ["-u", "nobody"] if os.geteuid() == 0 else []
        process = subprocess.Popen(
            [root / "usr/sbin/pgbouncer", "-q", *as_nobody, folder / "pgbouncer.ini"],
            env={**os.environ, "LD_LIBRARY_PATH": libraries},
        )
        try:
            until = time.monotonic() + 10
            while not is_open(port):
                assert process.poll() is None and time.monotonic() < until, "PgBouncer does not start"
                time.sleep(0.05)
            login = url.netloc.rpartition("@")[0]
            yield url._replace(netloc=f"{login}@127.0.0.1:{port}").geturl()
        finally:
            process.terminate()
            process.wait()


def migrate(program, url):
    settings = {
        "RECONCILER__DATABASE__URL": url,
        "RECONCILER__BACKEND__BASE_URL": "http://127.0.0.1:1/api/v1",
        "RECONCILER__BACKEND__API_KEY": "unused",
    }
    ended = subprocess.run([program, "migrate"], env=settings, capture_output=True, text=True, timeout=60)
    return ended.returncode, ended.stdout + ended.stderr


def main(folder, program):
    url = urllib.parse.urlsplit(os.environ["DATABASE_URL"])
    root = unpacked(pathlib.Path(folder))
    with pooler(root, url, "transaction") as through:
        # The second run meets what the first one left in the pooler's sessions.
        for _ in range(2):
            code, told = migrate(program, through)
            print(told.strip())
            assert code == 1 and "pooler in transaction mode" in told, told
    with pooler(root, url, "session") as through:
        code, told = migrate(program, through)
        assert code == 0, told
        # The refused runs had not migrated anything.
        assert told.count(" ms\n") > 50, told
    print("refused in transaction mode, accepted in session mode")


main(*sys.argv[1:])
