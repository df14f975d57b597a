"""`ani`: every way to run and look after the platform, as sub-commands that import only what they need."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import NoReturn

from server.settings import Settings, SettingsRefused

LONGEST_TOKEN_HOURS = 24 * 366
LONGEST_DELAY_MINUTES = 60 * 24 * 30
ROLES = ("user", "moderator", "editor", "admin")

FILE_SOURCES = ("bangumi", "mal-genres", "offline-database", "relations")

ABOUT = """\
Ani is the backend of an anime streaming platform. `ani up` runs all of it on this machine; the other commands run
its parts one by one, as in production, and look after it.
"""
SETTINGS = """\
Settings are environment variables: ANI_*, DATABASE_URL, REDIS_URL, BROKER_URL. `.env.example` lists each of them with
its default and what it is for. A variable that is unknown or malformed is refused by name.
"""
UP = """\
Starts PostgreSQL and Valkey from their wheels, brings the database up to date, puts a small demo catalog into an
empty one, and starts gRPC servers, worker and gateway. A part that crashes is started again. Ctrl-C ends all of it in
order, a second Ctrl-C at once.

The data is kept in ANI_DATA (.ani where you stand), with a log of each part in logs/. DATABASE_URL, REDIS_URL and
BROKER_URL name outside services instead of the embedded ones.

  ani up                            everything
  ani up --without worker,metrics   all but these
"""
SERVE = """\
Runs ANI_SERVERS gRPC server processes, each on an address of its own: the first on ANI_LISTEN, the others on the next
ports. They are meant for the gateway alone, which shares calls between them. SIGTERM drains them: no call fails.
"""
WORKER = """\
Runs jobs: hands recorded events to those who react to them, starts what is due by the clock, and does the work in
ANI_WORKER_THREADS threads. Several workers may run at once, on several machines.
"""
GATEWAY = """\
Writes Envoy's configuration from the contract and becomes Envoy, the only public door: gRPC, gRPC-Web and JSON on
ANI_HOST:ANI_PORT, sent on to ANI_UPSTREAMS.

  ani gateway --print    shows the configuration and ends
"""
MIGRATE = """\
Changes the database's schema in small steps that run beside the release before.

  ani migrate up         to the newest schema
  ani migrate down       one step back
  ani migrate status     where it is, and what is to come
"""
TOKEN = """\
Prints an access token signed with the private key in ANI_TOKEN_KEYS (keys/ in ANI_DATA; made if there is none).

  curl -H "authorization: Bearer $(ani token --role editor)" ...

Without --account it belongs to no account: it opens what its role opens, but not what works on an account of one's own,
such as profiles or founding a team. For these, register an account and sign in.
"""
KEYS = """\
Access tokens are signed with the newest key in ANI_TOKEN_KEYS (keys/ in ANI_DATA) whose time has come, and verified with all of
them. Servers notice by themselves what is added to the folder and removed from it.

  ani keys list       the keys, and what each is for
  ani keys rotate     add a key, which signs in ten minutes: by then it is known everywhere
  ani keys prune      remove private keys that were succeeded, and public ones whose tokens have all expired
"""
DOCTOR = """\
Checks settings, folders, ports, programs, keys, database, Valkey, jobs and mail, and says how to mend what is wrong.
Ends with status 1 when something is. Safe to run at any time: it changes nothing.
"""
IMPORT = """\
Imports into the catalog of a running stack, showing how far it is. Run again, it changes nothing; killed, it goes on
where it was when it is run again. Ctrl-C ends it after the batch it is at. Rows that cannot be used are counted, named
and skipped.

  ani import bangumi FILE             bangumi-data, a title in each line (.jsonl, .gz, .zst)
  ani import mal-genres FILE          genres and ratings by MyAnimeList's ids (.csv, .gz, .zst)
  ani import offline-database FILE    anime-offline-database (.json, .jsonl, .gz, .zst)
  ani import relations FILE           rules of episode numbers (anime_relations.txt)
  ani import kodik --token-env NAME   Kodik, with the token in this environment variable
"""
EVENTS = """\
Events that could not be delivered, after all their tries, are kept for ever: look at them, mend the cause, replay them.

  ani events list              the newest, with their numbers
  ani events show NUMBER       one, with the fault and the payload
  ani events replay NUMBER…    deliver these again; `all` for every one
"""

ACCOUNTS = """\
Makes an administrator, the first of whom nobody else can make. Whoever has an account with this address becomes one and
keeps the password; otherwise an account is made, with a password that is asked for, read from what is piped in, or taken
from an environment variable. There is none that it starts with.

  ani accounts create-admin me@example.org
"""
AUDIT = """\
What staff did and tried to do, and what happened to accounts, is kept for ever, each entry chained to the one before.

  ani audit verify                     prove that no entry was changed, removed or inserted
  ani audit verify --head NUMBER:HASH  and that none is missing after a head seen earlier, in a log or in an answer
  ani audit show --account ID          read the newest entries
"""


class Help(argparse.RawDescriptionHelpFormatter):
    """Keeps line breaks, and gives the names of commands room."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=100)


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(prog="ani", description=ABOUT, epilog=SETTINGS, formatter_class=Help)
    commands = root.add_subparsers(dest="command", metavar="COMMAND", required=True, title="commands")

    def command(name: str, run: Callable[[argparse.Namespace], int], summary: str, about: str = "") -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=summary, description=about or summary, formatter_class=Help)
        added.set_defaults(run=run)
        return added

    added = command("up", up, "run everything on this machine", UP)
    parts = "postgres, valkey, servers, worker, gateway, metrics"
    added.add_argument("--without", metavar="PARTS", default="", help=f"leave out parts: {parts}")
    added = command("serve", serve, "run gRPC servers", SERVE)
    added.add_argument("--index", type=int, help=argparse.SUPPRESS)
    added.add_argument("--listen", metavar="ADDRESS", help="host:port or unix:/path of the first server, instead of ANI_LISTEN")
    command("worker", worker, "run jobs, events and schedules", WORKER)
    added = command("gateway", gateway, "run Envoy, the public door", GATEWAY)
    added.add_argument("--print", action="store_true", help="print the configuration and end")
    added = command("migrate", migrate, "bring the database up to date, or back", MIGRATE)
    added.add_argument("action", choices=("up", "down", "status"), nargs="?", default="status", help="what to do (default: status)")
    added.add_argument("--demo", action="store_true", help="put the demo catalog into an empty database")
    add_looking_after(command)
    return root


def hours(text: str) -> float:
    """Read how long a token is good for."""
    number = float(text)
    if not 0 < number <= LONGEST_TOKEN_HOURS:
        raise argparse.ArgumentTypeError(f"more than 0, and at most {LONGEST_TOKEN_HOURS} hours")
    return number


def minutes(text: str) -> float:
    """Read how long something waits."""
    number = float(text)
    if not 0 <= number <= LONGEST_DELAY_MINUTES:
        raise argparse.ArgumentTypeError(f"from 0 to {LONGEST_DELAY_MINUTES} minutes")
    return number


def add_looking_after(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the commands that end by themselves."""
    added = command("token", token, "print an access token", TOKEN)
    added.add_argument("--role", choices=ROLES, default="user", help="what the holder may do (default: user)")
    added.add_argument("--account", metavar="ID", help="whom the token is for (default: a new id)")
    added.add_argument("--hours", type=hours, default=12.0, help="how long it is good for (default: 12)")
    added = command("keys", keys, "show the keys of access tokens, and turn them over", KEYS)
    added.add_argument("action", choices=("list", "rotate", "prune"), nargs="?", default="list", help="what to do (default: list)")
    added.add_argument("--delay", metavar="MINUTES", type=minutes, help="when a new key begins to sign (default: in 10 minutes)")
    command("doctor", doctor, "find out what is wrong, and how to mend it", DOCTOR)
    added = command("events", events, "look at events that could not be delivered, and replay them", EVENTS)
    added.add_argument("action", choices=("list", "show", "replay"), nargs="?", default="list", help="what to do (default: list)")
    added.add_argument("numbers", metavar="NUMBER", nargs="*", help="which events")
    added = command("accounts", accounts, "make an administrator", ACCOUNTS)
    added.add_argument("action", choices=("create-admin",), help="what to do")
    added.add_argument("email", metavar="EMAIL", help="the address of the account")
    added.add_argument("--name", metavar="NAME", default="", help="what it is called (default: what stands before the @)")
    added.add_argument("--password-env", metavar="NAME", default="", help="the environment variable that holds the password")
    added = command("audit", audit, "prove that the audit log is whole, and read it", AUDIT)
    added.add_argument("action", choices=("verify", "show"), nargs="?", default="verify", help="what to do (default: verify)")
    added.add_argument("--head", metavar="NUMBER:HASH", default="", help="a head that the chain must still hold")
    added.add_argument("--account", metavar="ID", default="", help="show what this account did")
    added.add_argument("--method", metavar="NAME", default="", help="show this call or happening alone")
    added.add_argument("--request", metavar="ID", default="", help="show what this request did")
    added.add_argument("--count", metavar="N", type=int, default=50, help="show so many (default: 50)")
    added = command("import", import_, "import into the catalog", IMPORT)
    added.add_argument("source", choices=(*FILE_SOURCES, "kodik"), help="what to import")
    added.add_argument("file", metavar="FILE", nargs="?", help="the file to import")
    added.add_argument("--drafts", action="store_true", help="leave releases that are added unpublished")
    added.add_argument("--token-env", metavar="NAME", default="", help="variable with Kodik's token (default: ANI_KODIK_TOKEN)")
    added.add_argument("--since", metavar="TIME", default="", help="only what changed at Kodik since then, as 2026-04-01T00:00:00Z")
    command("version", show_version, "print the version")


def up(arguments: argparse.Namespace) -> int:
    from server.stack.up import PARTS, up

    without = frozenset(word.strip() for word in arguments.without.split(",") if word.strip())
    if unknown := sorted(without - set(PARTS)):
        refuse(f"--without does not know {', '.join(unknown)}; the parts are {', '.join(PARTS)}")
    return up(settings(), without)


def serve(arguments: argparse.Namespace) -> int:
    chosen = settings({"ANI_LISTEN": arguments.listen} if arguments.listen else {})
    if arguments.index is None:
        from server.stack.servers import serve

        return serve(chosen)
    from server.serve import run

    return run(chosen, address=chosen.listen, index=arguments.index)


def worker(_: argparse.Namespace) -> int:
    from server.worker import run

    return run(settings())


def gateway(arguments: argparse.Namespace) -> int:
    from server.gateway import become_envoy, configuration

    chosen = settings(stores=False)
    if not arguments.print:
        become_envoy(chosen)
    sys.stdout.write(configuration(chosen))
    return 0


def migrate(arguments: argparse.Namespace) -> int:
    from server.commands import migrate

    return migrate(settings(), arguments.action, demo=arguments.demo)


def token(arguments: argparse.Namespace) -> int:
    from server.commands import token

    return token(settings(), role=arguments.role, account=arguments.account, hours=arguments.hours)


def keys(arguments: argparse.Namespace) -> int:
    from server.commands.keys import run

    if arguments.delay is not None and arguments.action != "rotate":
        refuse("--delay is for `ani keys rotate`")
    return run(settings(), arguments.action, delay=arguments.delay)


def events(arguments: argparse.Namespace) -> int:
    from server.commands import events

    if arguments.action != "list" and not arguments.numbers:
        refuse(f"ani events {arguments.action} needs the numbers of events; `ani events list` shows them")
    return events(settings(), arguments.action, arguments.numbers)


def accounts(arguments: argparse.Namespace) -> int:
    from server.commands.accounts import create_admin

    return create_admin(settings(), arguments.email, name=arguments.name, password_env=arguments.password_env)


def audit(arguments: argparse.Namespace) -> int:
    from domain.audit import Filter, Head
    from server.commands.audit import show, verify

    if arguments.action == "show":
        wanted = Filter(account_id=arguments.account, method=arguments.method, request_id=arguments.request)
        return show(settings(), wanted, count=max(1, arguments.count))
    try:
        expected = Head.parse(arguments.head) if arguments.head else None
    except ValueError:
        refuse("--head is a number, a colon and a hash, as `ani audit verify` prints them")
    return verify(settings(), expected=expected)


def doctor(_: argparse.Namespace) -> int:
    from server.commands.doctor import examine

    return examine(settings())


def import_(arguments: argparse.Namespace) -> int:
    from datetime import datetime
    from pathlib import Path

    if arguments.source in FILE_SOURCES and not arguments.file:
        refuse(f"import {arguments.source} needs a file")
    if arguments.source == "kodik" and arguments.file:
        refuse("import kodik takes no file")
    try:
        if arguments.since and datetime.fromisoformat(arguments.since).tzinfo is None:
            raise ValueError
    except ValueError:
        refuse("--since is a time with its zone, such as 2026-04-01T00:00:00Z")
    from server.imports import Command, run

    file = Path(arguments.file) if arguments.file else None
    return run(settings(), Command(arguments.source, file, arguments.token_env, arguments.since, not arguments.drafts))


def show_version(_: argparse.Namespace) -> int:
    try:
        print(f"ani {version('ani')}")
    except PackageNotFoundError:
        print("ani, not installed")
    return 0


def settings(given: dict[str, str] | None = None, *, stores: bool = True) -> Settings:
    """Read the settings; a command line option wins over its variable. Ends the process when they are refused."""
    try:
        return Settings.read({**os.environ, **(given or {})}, stores=stores)
    except SettingsRefused as refused:
        refuse(*str(refused).splitlines())


def refuse(*faults: str) -> NoReturn:
    """Print one line for each fault and end with the status of wrong usage."""
    for fault in faults:
        sys.stderr.write(f"ani: {fault}\n")
    sys.exit(2)


def main() -> int:
    arguments = parser().parse_args()
    status: int = arguments.run(arguments)
    return status


if __name__ == "__main__":
    sys.exit(main())
