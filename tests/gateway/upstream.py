"""A gRPC server that speaks the contract with fixed answers, as a process of its own that tests can kill.

What it does is chosen by the release that is asked for: `echo` shows the metadata that arrived, `slow-2` takes two seconds, and
the names in REFUSALS are refused. Arguments: the address, how long it drains, and a file in which deletions are noted.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
from google.api import httpbody_pb2
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from ani.catalog.v1 import catalog_admin_service_pb2 as admin_pb
from ani.catalog.v1 import catalog_service_pb2 as pb
from ani.catalog.v1 import release_list_pb2, release_pb2
from ani.media.v1 import upload_service_pb2 as media
from ani.system.v1 import system_service_pb2 as system

CATALOG = "/ani.catalog.v1.CatalogService/"
ADMIN = "/ani.catalog.v1.CatalogAdminService/"
MEDIA = "/ani.media.v1.UploadService/"
SYSTEM = "/ani.system.v1.SystemService/"
REFUSALS = {
    "missing": (grpc.StatusCode.NOT_FOUND, "There is no release 'missing'."),
    "taken": (grpc.StatusCode.ALREADY_EXISTS, "The alias is taken."),
    "invalid": (grpc.StatusCode.INVALID_ARGUMENT, "The request is invalid."),
    "early": (grpc.StatusCode.FAILED_PRECONDITION, "Not yet."),
    "changed": (grpc.StatusCode.ABORTED, "Another change came between."),
    "forbidden": (grpc.StatusCode.PERMISSION_DENIED, "This call needs the role EDITOR."),
    "unknown": (grpc.StatusCode.UNAUTHENTICATED, "This call needs an access token."),
    "exhausted": (grpc.StatusCode.RESOURCE_EXHAUSTED, "The allowance is used up."),
    "down": (grpc.StatusCode.UNAVAILABLE, "The database is out of reach."),
    "overdue": (grpc.StatusCode.DEADLINE_EXCEEDED, "The call took longer than it may take."),
    "broken": (grpc.StatusCode.INTERNAL, "Something went wrong on the server."),
}
CALLS = {"count": 0}
JOURNAL = Path(sys.argv[3])


async def refuse(context: Any, name: str) -> None:
    """Answer the way the pipeline does: a status with details and metadata, and no message."""
    code, message = REFUSALS[name]
    status = status_pb2.Status(code=code.value[0], message=message)
    for detail in (
        error_details_pb2.ErrorInfo(reason=name.upper(), domain="ani", metadata={"release": name}),
        error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=2)),
    ):
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    trailing = (
        ("x-request-id", request_id(context)),
        ("retry-after", "2"),
        ("x-ratelimit-remaining", "59"),
        ("grpc-status-details-bin", status.SerializeToString()),
    )
    await context.abort(code, message, trailing)


def request_id(context: Any) -> str:
    return str(dict(context.invocation_metadata()).get("x-request-id", ""))


async def get_release(data: bytes, context: Any) -> bytes:
    CALLS["count"] += 1
    name = pb.GetReleaseRequest.FromString(data).release
    if name in REFUSALS:
        await refuse(context, name)
    if name.startswith("slow-"):
        await asyncio.sleep(float(name.removeprefix("slow-").replace("-", ".")))
    release = release_pb2.Release(alias=name, synopsis=f"{os.getpid()}/{CALLS['count']}", version=9007199254740993)
    release.titles.add(language="en", text="A title")
    if name.startswith("big"):
        release.synopsis = "wide " * 20_000
    if name.startswith("echo"):
        pairs = context.invocation_metadata()
        release.synopsis = json.dumps({key: value for key, value in pairs if isinstance(value, str)})
    seconds = 1 if name.startswith("short") else 600
    reuse = ("no-store", "") if name.startswith("private") else (f"public, max-age={seconds}", '"strong-0123"')
    context.set_trailing_metadata(
        (
            ("x-request-id", request_id(context)),
            ("x-ratelimit-limit", "60"),
            ("set-cookie", "session=mine"),
            ("cache-control", reuse[0]),
            *((("etag", reuse[1]),) if reuse[1] else ()),
            ("vary", "accept-language" if name.startswith("odd") else "authorization, x-ani-country, x-revision"),
        )
    )
    return pb.GetReleaseResponse(release=release).SerializeToString()


async def list_releases(data: bytes, context: Any) -> bytes:
    CALLS["count"] += 1
    request = release_list_pb2.ListReleasesRequest.FromString(data)
    told = f"{request.page_size}/{request.kind}/{','.join(request.genres)}"
    response = release_list_pb2.ListReleasesResponse(next_page_token=told)
    response.releases.add(alias=f"{os.getpid()}-{CALLS['count']}")
    context.set_trailing_metadata((("cache-control", "public, max-age=600"), ("etag", '"list"')))
    return response.SerializeToString()


async def create_release(data: bytes, context: Any) -> bytes:
    request = admin_pb.CreateReleaseRequest.FromString(data)
    if request.release.alias in REFUSALS:
        await refuse(context, request.release.alias)
    context.set_trailing_metadata((("cache-control", "no-store"), ("x-revision", "1f")))
    return admin_pb.CreateReleaseResponse(release=request.release).SerializeToString()


async def update_release(data: bytes, context: Any) -> bytes:
    request = admin_pb.UpdateReleaseRequest.FromString(data)
    return admin_pb.UpdateReleaseResponse(release=request.release, changed_fields=request.update_mask).SerializeToString()


def note_first() -> bool:
    """Note a call in the journal, and tell whether it is the first."""
    first = not JOURNAL.exists()
    with JOURNAL.open("a") as journal:
        journal.write(f"{os.getpid()}\n")
    return first


async def delete_release(data: bytes, context: Any) -> bytes:
    """Die in the middle of the first call of all."""
    if note_first():
        os._exit(1)
    return admin_pb.DeleteReleaseResponse().SerializeToString()


async def list_genres(data: bytes, context: Any) -> bytes:
    response = pb.ListGenresResponse()
    response.genres.add(genre_id="drama", name="Drama")
    return response.SerializeToString()


async def watch_releases(data: bytes, context: Any) -> AsyncIterator[bytes]:
    start = pb.WatchReleasesRequest.FromString(data).cursor
    if start in REFUSALS:
        await refuse(context, start)
    await context.send_initial_metadata((("x-request-id", request_id(context)), ("cache-control", "no-store")))
    for number in range(3):
        message = pb.WatchReleasesResponse(cursor=f"{start}{number}")
        message.change.release_id = f"release-{number}"
        yield message.SerializeToString()
    if start == "stay":
        await asyncio.sleep(3600)


async def get_caller(data: bytes, context: Any) -> bytes:
    metadata = dict(context.invocation_metadata())
    return system.GetCallerResponse(country=str(metadata.get("x-ani-country", ""))).SerializeToString()


async def get_image(data: bytes, context: Any) -> bytes:
    CALLS["count"] += 1
    image = httpbody_pb2.HttpBody(content_type="image/webp", data=b"\x00RIFF\xff" + str(CALLS["count"]).encode())
    reuse = (("cache-control", "public, max-age=600"), ("etag", '"image"'), ("x-ratelimit-limit", "60"))
    context.set_trailing_metadata((*reuse, ("vary", "authorization, x-ani-country, x-revision")))
    return media.GetImageResponse(image=image).SerializeToString()


async def upload_file(messages: AsyncIterator[bytes], context: Any) -> bytes:
    """Take a file, and tell by its fields what arrived; a file that begins with "no" is refused at once."""
    response = media.UploadFileResponse()
    pieces: list[int] = []
    async for data in messages:
        request = media.UploadFileRequest.FromString(data)
        if not pieces:
            response.file.file_id = request.file_id
            response.file.language = f"{request.language}/{request.content.content_type}"
            if request.content.data.startswith(b"no"):
                await refuse(context, "invalid")
        pieces.append(len(request.content.data))
    response.file.size = sum(pieces)
    context.set_trailing_metadata((("x-pieces", str(len(pieces))), ("x-largest", str(max(pieces)))))
    return response.SerializeToString()


async def check_liveness(data: bytes, context: Any) -> bytes:
    return b""


UNARY: dict[str, Callable[[bytes, Any], Any]] = {
    f"{CATALOG}GetRelease": get_release,
    f"{CATALOG}ListReleases": list_releases,
    f"{ADMIN}CreateRelease": create_release,
    f"{ADMIN}UpdateRelease": update_release,
    f"{ADMIN}DeleteRelease": delete_release,
    f"{CATALOG}ListGenres": list_genres,
    f"{SYSTEM}GetCaller": get_caller,
    f"{SYSTEM}CheckLiveness": check_liveness,
    f"{MEDIA}GetImage": get_image,
}


class Handlers(grpc.GenericRpcHandler):
    def __init__(self) -> None:
        self._handlers: dict[str, Any] = {name: grpc.unary_unary_rpc_method_handler(call) for name, call in UNARY.items()}
        self._handlers[f"{MEDIA}UploadFile"] = grpc.stream_unary_rpc_method_handler(upload_file)
        self._handlers[f"{CATALOG}WatchReleases"] = grpc.unary_stream_rpc_method_handler(watch_releases)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return self._handlers.get(handler_call_details.method)


async def serve(address: str, drain: float) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0), ("grpc.max_metadata_size", 16 * 1024)])
    server.add_generic_rpc_handlers((Handlers(),))
    healthy = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    names = [pb.DESCRIPTOR.services_by_name["CatalogService"].full_name, reflection.SERVICE_NAME]
    reflection.enable_server_reflection(names, server)
    server.add_insecure_port(address)
    await healthy.set("", health_pb2.HealthCheckResponse.SERVING)
    await server.start()
    print("serving", flush=True)
    await stopping.wait()
    await healthy.enter_graceful_shutdown()
    await asyncio.sleep(drain)
    await server.stop(10)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], float(sys.argv[2])))
