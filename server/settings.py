"""What can be set from outside, read once at start; an unknown or malformed variable is refused by name."""

from __future__ import annotations

import ipaddress
import os
import pwd
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from server.issuers import KnownIssuer, issuer_secrets, known_issuers

ADDRESS = re.compile(r"unix:/?[^\0,]+|(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):[0-9]{1,5}")
ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.-]*://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(:[0-9]{1,5})?")
SENDER = re.compile(r"[^<>@\"\r\n,;:]{1,64} <[\w.+-]+@[\w.-]+>|[\w.+-]+@[\w.-]+", re.ASCII)
HEADER = re.compile(r"[A-Za-z0-9-]{1,64}")


class SettingsRefused(ValueError):
    """Raised when the environment cannot be used; the message names each variable and what it should hold."""


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            raise ValueError
        return value

    parse.__doc__ = f"a whole number from {least} to {most}"
    return parse


def _switch(text: str) -> bool:
    """on or off"""
    return {"on": True, "true": True, "1": True, "off": False, "false": False, "0": False}[text.lower()]


def _choice(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError
        return text

    parse.__doc__ = "one of " + ", ".join(words)
    return parse


def _url(*schemes: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text and (urlsplit(text).scheme not in schemes or not text.partition("://")[2]):
            raise ValueError
        return text

    parse.__doc__ = " or ".join(f"{scheme}://…" for scheme in schemes)
    return parse


def _bucket(text: str) -> str:
    """file:///FOLDER, or s3://BUCKET/PREFIX with ?endpoint=URL and &region=NAME where they are needed"""
    parts = urlsplit(text)
    options = parse_qs(parts.query, keep_blank_values=True).keys()
    folder = parts.scheme == "file" and not parts.netloc and parts.path.startswith("/") and not parts.query
    bucket = parts.scheme == "s3" and parts.hostname and not parts.username and options <= {"endpoint", "region"}
    if text and not (folder or bucket):
        raise ValueError
    return text


def _mail(text: str) -> str:
    """smtp://USER@HOST:PORT with STARTTLS, smtps://USER@HOST:PORT, smtp://HOST:PORT?starttls=off, or file:///FOLDER"""
    parts = urlsplit(text)
    folder = parts.scheme == "file" and not parts.netloc and parts.path.startswith("/") and not parts.query
    server = parts.scheme in {"smtp", "smtps"} and parts.hostname and parts.port != 0 and not (parts.password or parts.path)
    if text and not (folder or (server and parts.query in {"", "starttls=off"})):
        raise ValueError
    return text


def _sender(text: str) -> str:
    """an address such as Ani <no-reply@example.org>"""
    if not SENDER.fullmatch(text):
        raise ValueError
    return text


def _site(text: str) -> str:
    """https://HOST or http://HOST, with a path if need be"""
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ValueError
    return text.rstrip("/")


def _words(text: str) -> tuple[str, ...]:
    """words with commas between"""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _addresses(text: str) -> tuple[str, ...]:
    """addresses with commas between, each host:port or unix:/path"""
    return tuple(_address(word) for word in _words(text))


def _address(text: str) -> str:
    """host:port or unix:/path"""
    if not ADDRESS.fullmatch(text):
        raise ValueError
    return text


def _origins(text: str) -> tuple[str, ...]:
    """origins with commas between, each such as https://example.org, or *"""
    origins = _words(text)
    if not all(ORIGIN.fullmatch(origin) for origin in origins):
        raise ValueError
    return origins


def _networks(text: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    """networks with commas between, each such as 192.0.2.0/24 or 2001:db8::/32"""
    return tuple(map(ipaddress.ip_network, _words(text)))


def _header(text: str) -> str:
    """the name of a header, such as cf-ipcountry"""
    if not HEADER.fullmatch(text):
        raise ValueError
    return text.lower()


def _path(text: str) -> Path:
    """a path"""
    return Path(text).expanduser()


def _text(text: str) -> str:
    """a text"""
    return text


def _setting(variable: str, default: Any, parse: Callable[[str], Any], about: str) -> Any:
    return field(default=default, metadata={"variable": variable, "parse": parse, "about": about})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting, its variable, its default and what it is for."""

    environment: str = _setting(
        "ANI_ENVIRONMENT",
        "development",
        _choice("development", "production"),
        "production refuses settings that are only safe on a developer's machine",
    )
    data: Path = _setting("ANI_DATA", Path(".ani"), _path, "folder of the embedded stack: database, keys, logs, sockets")
    host: str = _setting("ANI_HOST", "127.0.0.1", _text, "address the gateway listens on; 0.0.0.0 opens it to the network")
    port: int = _setting("ANI_PORT", 8080, _whole(1, 65535), "port of the gateway: gRPC, gRPC-Web and JSON alike")
    metrics_port: int = _setting("ANI_METRICS_PORT", 9464, _whole(1, 65535), "port of /metrics, on loopback")
    metrics_host: str = _setting("ANI_METRICS_HOST", "127.0.0.1", _text, "address /metrics listens on")
    database_url: str = _setting(
        "DATABASE_URL", "", _url("postgresql", "postgres"), "PostgreSQL 15 or newer; empty means the embedded one"
    )
    redis_url: str = _setting(
        "REDIS_URL", "", _url("redis", "rediss", "unix"), "Valkey or Redis for cache and quotas; empty means the embedded one"
    )
    broker_url: str = _setting(
        "BROKER_URL", "", _url("redis", "rediss", "unix"), "Valkey or Redis for jobs; empty means the embedded one"
    )
    storage_url: str = _setting(
        "ANI_STORAGE_URL",
        "",
        _bucket,
        "where uploaded files lie: file:///FOLDER or s3://BUCKET/PREFIX?endpoint=URL with keys in AWS_ variables; "
        "empty means files/ in ANI_DATA",
    )
    promo_hosts: tuple[str, ...] = _setting(
        "ANI_PROMO_HOSTS", (), _words, "hosts that promos and ad tags may lead to, and all below them; empty means none"
    )
    vast: bool = _setting("ANI_VAST", False, _switch, "whether ad tags are served to players")
    servers: int = _setting("ANI_SERVERS", 2, _whole(1, 64), "gRPC server processes of `ani up` and `ani serve`")
    listen: str = _setting(
        "ANI_LISTEN", "127.0.0.1:50051", _address, "first address of `ani serve`; each further process takes the next port"
    )
    upstreams: tuple[str, ...] = _setting(
        "ANI_UPSTREAMS",
        (),
        _addresses,
        "addresses of the servers for `ani gateway`, host:port or unix:/path; empty means those of ANI_LISTEN",
    )
    drain_seconds: int = _setting(
        "ANI_DRAIN_SECONDS", 3, _whole(0, 300), "how long a stopping server says NOT_SERVING before it refuses calls"
    )
    database_pool: int = _setting("ANI_DATABASE_POOL", 8, _whole(1, 200), "database connections of each process")
    cache: bool = _setting("ANI_CACHE", True, _switch, "whether answers are cached")
    cache_megabytes: int = _setting("ANI_CACHE_MB", 24, _whole(1, 65536), "memory for cached answers in each process")
    quota_per_minute: int = _setting(
        "ANI_QUOTA_PER_MINUTE", 60, _whole(0, 1_000_000_000), "calls a minute of each caller; 0 switches this allowance off"
    )
    concurrency: int = _setting("ANI_CONCURRENCY", 0, _whole(0, 100_000), "calls at work at once in each process; 0 lets it adapt")
    reflection: bool = _setting("ANI_REFLECTION", True, _switch, "whether gRPC reflection answers")
    token_keys: Path = _setting(
        "ANI_TOKEN_KEYS", Path(""), _path, "folder of Ed25519 keys for access tokens; empty means keys/ in ANI_DATA"
    )
    video_hosts: tuple[str, ...] = _setting(
        "ANI_VIDEO_HOSTS", (), _words, "hosts that videos may be played from, and all below them; empty means none"
    )
    video_local_hosts: tuple[str, ...] = _setting(
        "ANI_VIDEO_LOCAL_HOSTS", (), _words, "hosts of a developer's machine that videos may be played from, as name=address"
    )
    streams_per_account: int = _setting(
        "ANI_STREAMS_PER_ACCOUNT", 2, _whole(1, 100), "how many devices of an account may play at once"
    )
    playback_seconds: int = _setting("ANI_PLAYBACK_SECONDS", 300, _whole(1, 86400), "how long a playback address is good")
    token_issuer: str = _setting("ANI_TOKEN_ISSUER", "ani", _text, "issuer that access tokens must name")
    token_audience: str = _setting("ANI_TOKEN_AUDIENCE", "ani", _text, "audience that access tokens must name")
    mail_url: str = _setting(
        "ANI_MAIL_URL",
        "",
        _mail,
        "where letters go: smtp://USER@HOST:PORT (STARTTLS; ?starttls=off for none), smtps://USER@HOST:PORT or file:///FOLDER; "
        "empty means mail/ in ANI_DATA",
    )
    mail_password: str = _setting("ANI_MAIL_PASSWORD", "", _text, "password for the mail server")
    mail_from: str = _setting("ANI_MAIL_FROM", "Ani <no-reply@localhost>", _sender, "whom letters come from")
    site_url: str = _setting("ANI_SITE_URL", "http://localhost:3000", _site, "where the site is that letters lead to")
    passkey_domain: str = _setting(
        "ANI_PASSKEY_DOMAIN",
        "",
        _text,
        "domain that passkeys are made for, which cannot change once there are some; empty means the host of ANI_SITE_URL",
    )
    passkey_origins: tuple[str, ...] = _setting(
        "ANI_PASSKEY_ORIGINS",
        (),
        _origins,
        "origins of pages and apps that may ask for passkeys, with commas between; empty means that of ANI_SITE_URL",
    )
    issuers: tuple[KnownIssuer, ...] = _setting(
        "ANI_ISSUERS", (), known_issuers, "other issuers that people may sign in with, by OpenID Connect; empty means none"
    )
    issuer_secrets: tuple[tuple[str, str], ...] = _setting(
        "ANI_ISSUER_SECRETS", (), issuer_secrets, "client secrets at those issuers, for those that gave one"
    )
    country_header: str = _setting(
        "ANI_COUNTRY_HEADER", "", _header, "header in which a trusted CDN names the caller's country, such as cf-ipcountry"
    )
    trusted_hops: int = _setting(
        "ANI_TRUSTED_HOPS", 0, _whole(0, 10), "proxies in front of the gateway whose x-forwarded-for is believed"
    )
    staff_networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = _setting(
        "ANI_STAFF_NETWORKS",
        (),
        _networks,
        "networks, such as 192.0.2.0/24, outside of which tokens and API keys of staff are refused; empty means that none are",
    )
    cors_origins: tuple[str, ...] = _setting(
        "ANI_CORS_ORIGINS", (), _origins, "origins whose pages may call the API, with commas between; empty means none"
    )
    http_cache_megabytes: int = _setting(
        "ANI_HTTP_CACHE_MB", 64, _whole(0, 65536), "disk for the gateway's cache of public answers; 0 switches it off"
    )
    worker_threads: int = _setting("ANI_WORKER_THREADS", 4, _whole(1, 256), "jobs at work at once in a worker")
    import_folder: Path = _setting(
        "ANI_IMPORT_FOLDER", Path(""), _path, "folder of files that editors may import by name; empty means import/ in ANI_DATA"
    )
    kodik_token: str = _setting(
        "ANI_KODIK_TOKEN", "", _text, "token for Kodik's service; empty means that nothing is imported from it"
    )
    kodik_url: str = _setting("ANI_KODIK_URL", "https://kodik-api.com", _url("http", "https"), "where Kodik's service answers")
    kodik_every_hours: int = _setting(
        "ANI_KODIK_EVERY_HOURS", 0, _whole(0, 8760), "hours between imports from Kodik by themselves; 0 means none"
    )
    log_level: str = _setting(
        "ANI_LOG_LEVEL", "info", _choice("debug", "info", "warning", "error"), "least severity that is logged"
    )
    log_file: Path = _setting("ANI_LOG_FILE", Path(""), _path, "file for the log, turned over at 10 MB; empty means standard error")
    otlp_endpoint: str = _setting(
        "ANI_OTLP_ENDPOINT", "", _url("http", "https"), "OpenTelemetry collector for traces; empty means none"
    )

    @property
    def key_folder(self) -> Path:
        """The folder of the platform's keys and secrets."""
        return self.token_keys if self.token_keys.parts else self.data / "keys"

    @property
    def mail_folder(self) -> Path | None:
        """The folder that letters are kept in, where no mail server takes them."""
        if not self.mail_url:
            return self.data / "mail"
        return Path(unquote(urlsplit(self.mail_url).path)) if self.mail_url.startswith("file:") else None

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ, *, stores: bool = True) -> Settings:
        """Read the environment; raise SettingsRefused with every fault at once.

        `stores` tells whether this part opens the database and knows callers, as all do but the gateway.
        """
        known = {f.metadata["variable"]: f for f in fields(cls)}
        faults = [f"{name} is not a setting of Ani" for name in environment if name.startswith("ANI_") and name not in known]
        values: dict[str, Any] = {}
        for variable, setting in known.items():
            if environment.get(variable):
                try:
                    values[setting.name] = setting.metadata["parse"](environment[variable])
                except (ValueError, KeyError):
                    faults.append(f"{variable} must be {setting.metadata['parse'].__doc__}")
        settings = cls(**values)
        faults += settings._unsafe(stores=stores)
        if _lacks_user(settings.database_url, environment):
            faults.append("DATABASE_URL must name a user, since this one has no name on this machine")
        if faults:
            raise SettingsRefused("\n".join(sorted(faults)))
        return settings

    def _unsafe(self, *, stores: bool) -> list[str]:
        """List what production must not run with."""
        if self.environment != "production":
            return []
        needed = {
            "DATABASE_URL must be set in production": stores and not self.database_url,
            "ANI_TOKEN_KEYS must be set in production": stores and self.token_keys == Path(""),
            # What is only in a container's own folder is gone with the container.
            "ANI_STORAGE_URL must be set in production": stores and not self.storage_url,
            # Letters in a folder are read by nobody.
            "ANI_MAIL_URL must be set in production": stores and not self.mail_url,
            "ANI_SITE_URL must be https://… in production": stores and not self.site_url.startswith("https:"),
            "ANI_REFLECTION must be off in production": self.reflection,
            "ANI_VIDEO_LOCAL_HOSTS must be empty in production": bool(self.video_local_hosts),
            "ANI_ISSUERS must be reached by https in production": any(issuer.is_local for issuer in self.issuers),
            "ANI_CORS_ORIGINS must not be * in production": "*" in self.cors_origins,
        }
        return [fault for fault, holds in needed.items() if holds]


def _lacks_user(url: str, environment: Mapping[str, str]) -> bool:
    """Tell whether nobody knows as whom to sign in to a database: containers may run as a number without a name."""
    if not url or urlsplit(url).username or "user" in parse_qs(urlsplit(url).query) or environment.get("PGUSER"):
        return False
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        return True
    return False


def example() -> str:
    """Return the text of .env.example, which names every setting with its default."""
    lines = ["# Every setting of Ani, with its default. Secrets belong into the environment, not into a file in version control."]
    for setting in fields(Settings):
        default = setting.default
        shown = {True: "on", False: "off"}[default] if isinstance(default, bool) else default
        shown = ",".join(shown) if isinstance(shown, tuple) else shown
        shown = "" if shown == Path("") else shown
        lines += ["", f"# {setting.metadata['about']}", f"# {setting.metadata['variable']}={shown}"]
    return "\n".join(lines) + "\n"
