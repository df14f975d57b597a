"""Which call goes where, and for how long: one route for all methods that behave alike."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

from gateway.clusters import INSIDE, SERVERS
from gateway.contract import Method
from gateway.filters import CACHE, JSON, LARGEST_GRPC_REQUEST, PROMOTE, SHARE, TRANSCODER, WHOLE, switched, whole
from gateway.paths import MARGIN_SECONDS, Address, Behavior, addresses, behavior, either
from gateway.settings import Gateway
from gateway.xds import Config, header, typed

# A stream speaks at least every 15 seconds.
STREAM_IDLE = "60s"
# What makes an answer depend on more than its URL and the caller's country.
PERSONAL = ("authorization", "cookie", "x-api-key", "x-revision")
IS_GRPC = {"name": "content-type", "string_match": {"prefix": "application/grpc"}}
# Not its Watch: a stream that costs nothing to open and never ends is for those behind the gateway.
HEALTH = ("/grpc.health.v1.Health/Check",)
# Reflection is asked a few questions in one stream.
INFRASTRUCTURE_SECONDS = 30.0
REFLECTION = ("/grpc.reflection.v1.ServerReflection/", "/grpc.reflection.v1alpha.ServerReflection/")


def public(gateway: Gateway, methods: Iterable[Method], pages: list[Config]) -> list[Config]:
    """Return the routes of the public listener; the first that fits is taken."""
    methods = tuple(methods)
    found = tuple(addresses(methods))
    return [
        *_preflight(gateway.cors_origins),
        *pages,
        *_grpc(methods),
        *_infrastructure((*HEALTH, *REFLECTION) if gateway.reflection else HEALTH),
        answer("no such method", {"prefix": "/", "headers": [IS_GRPC]}, 404),
        *(_shared(found) if gateway.cache_megabytes else ()),
        *_json(found, JSON, WHOLE),
        *_other_verbs(found),
        answer("nothing here", {"prefix": "/"}, 404),
    ]


def inner(methods: Iterable[Method]) -> list[Config]:
    """Return the routes of the inner listener: only what may be shared."""
    return list(_json(tuple(one for one in addresses(methods) if one.shareable)))


def answer(name: str, match: Config, status: int) -> Config:
    """Return a route on which the gateway answers by itself."""
    return {
        "name": name,
        "match": match,
        "direct_response": {"status": status},
        "typed_per_filter_config": switched(off=[TRANSCODER]),
    }


def _preflight(origins: tuple[str, ...]) -> Iterator[Config]:
    """Lead the questions of allowed origins to the filter that answers them, which looks only at routes to servers."""
    if origins:
        asking = {"safe_regex": {"regex": either(".*" if origin == "*" else re.escape(origin) for origin in origins)}}
        yield {
            "name": "preflight",
            "match": {
                "prefix": "/",
                "headers": [
                    _verb("OPTIONS"),
                    {"name": "origin", "string_match": asking},
                    {"name": "access-control-request-method", "present_match": True},
                ],
            },
            "route": {"cluster": SERVERS},
            "typed_per_filter_config": switched(off=[TRANSCODER]),
        }


def _grpc(methods: Iterable[Method]) -> Iterator[Config]:
    alike: defaultdict[Behavior, list[str]] = defaultdict(list)
    for method in methods:
        alike[behavior(method)].append(re.escape(method.full_name))
    for kind, names in alike.items():
        yield {
            "name": f"grpc, {kind.name}",
            "match": {"safe_regex": {"regex": either(names)}, "headers": [IS_GRPC]},
            "route": _to_servers(kind),
            # Of many requests that were begun and never ended, none may hold a place at a server.
            "typed_per_filter_config": switched(off=[TRANSCODER]) | ({} if kind.streaming else whole(LARGEST_GRPC_REQUEST)),
        }


def _infrastructure(prefixes: Iterable[str]) -> Iterator[Config]:
    for prefix in prefixes:
        yield {
            "name": prefix,
            "match": {"prefix": prefix, "headers": [IS_GRPC]},
            "route": _to_servers(Behavior(streaming=True, repeatable=True, seconds=INFRASTRUCTURE_SECONDS, critical=True)),
            "typed_per_filter_config": switched(off=[TRANSCODER]),
        }


def _shared(found: tuple[Address, ...]) -> Iterator[Config]:
    """Send public reads of callers whom nothing tells apart through the cache to the inner listener."""
    shareable = [address for address in found if address.shareable]
    if not shareable:
        return
    absent = [{"name": name, "present_match": True, "invert_match": True} for name in PERSONAL]
    seconds = max(address.behavior.seconds for address in shareable) + MARGIN_SECONDS
    yield {
        "name": "json, shared",
        "match": {"safe_regex": {"regex": either(one.pattern for one in shareable)}, "headers": [_verb("GET"), *absent]},
        "route": {"cluster": INSIDE, "timeout": f"{seconds:g}s", "idle_timeout": f"{seconds:g}s"},
        "typed_per_filter_config": switched(on=[SHARE, CACHE], off=[TRANSCODER]),
    }


def _json(found: tuple[Address, ...], *filters: str) -> Iterator[Config]:
    alike: defaultdict[tuple[str, Behavior], list[str]] = defaultdict(list)
    for address in found:
        alike[address.verb, address.behavior].append(address.pattern)
    for (verb, kind), patterns in alike.items():
        yield {
            "name": f"json, {verb} {kind.name}",
            "match": {"safe_regex": {"regex": either(patterns)}, "headers": [_verb(verb)]},
            "route": _to_servers(kind),
            "typed_per_filter_config": switched(on=_needed(kind, filters)),
        }


def _needed(kind: Behavior, filters: Iterable[str]) -> list[str]:
    """Return the filters of a route: an upload is passed on piece by piece, and an answer that is no stream has headers."""
    passed = [name for name in filters if name != WHOLE or not kind.upload]
    return passed if kind.streaming and not kind.upload else [*passed, PROMOTE]


def _other_verbs(found: tuple[Address, ...]) -> Iterator[Config]:
    verbs: defaultdict[str, set[str]] = defaultdict(set)
    for address in found:
        verbs[address.pattern].add(address.verb)
    alike: defaultdict[str, list[str]] = defaultdict(list)
    for pattern, allowed in verbs.items():
        alike[", ".join(sorted(allowed))].append(pattern)
    for allow, patterns in alike.items():
        route = answer(f"only {allow}", {"safe_regex": {"regex": either(patterns)}}, 405)
        yield route | {"response_headers_to_add": [header("allow", allow)]}


def _verb(verb: str) -> Config:
    return {"name": ":method", "string_match": {"exact": verb}}


def _to_servers(kind: Behavior) -> Config:
    """Send a call to a server. No max_stream_duration: where that is set, Envoy forgets the timeout."""
    return {
        "cluster": SERVERS,
        # Bounded by itself, so that a flood leaves room for it; streams would fill the bound of calls by just being open.
        "priority": "HIGH" if kind.streaming or kind.critical else "DEFAULT",
        "timeout": f"{kind.seconds:g}s",
        "idle_timeout": STREAM_IDLE if kind.streaming else f"{kind.seconds:g}s",
        "retry_policy": _retries(kind),
    }


def _retries(kind: Behavior) -> Config:
    """Repeat what a dead server left undone; an UNAVAILABLE that a server itself gives is an answer, and is passed on."""
    causes = ["connect-failure", "refused-stream"]
    if kind.repeatable:
        causes += ["reset-before-request", "reset"]
    previous = "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
    return {
        "retry_on": ",".join(causes),
        "num_retries": 3,
        "retry_host_predicate": [{"name": "envoy.retry_host_predicates.previous_hosts", "typed_config": typed(previous)}],
        # Whoever is dead has no calls under way, and so is chosen three times out of four: it must be passed over often enough.
        "host_selection_retry_max_attempts": 30,
        "retry_back_off": {"base_interval": "0.01s", "max_interval": "0.1s"},
    }
