"""Small questions to a process: does it answer, and with what."""

from __future__ import annotations

import http.client
import socket

# RFC 9113: the connection preface and an empty SETTINGS frame, which every HTTP/2 server answers with its own.
HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"
SETTINGS_FRAME = 4
SECONDS = 2.0


def connect(address: str) -> socket.socket:
    """Connect to host:port or unix:/path; raises OSError."""
    if address.startswith("unix:"):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(SECONDS)
        try:
            connection.connect(address.removeprefix("unix:"))
        except OSError:
            connection.close()
            raise
        return connection
    host, _, port = address.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), SECONDS)


def speaks_http2(address: str) -> bool:
    """Tell whether a gRPC server answers there."""
    try:
        with connect(address) as connection:
            connection.sendall(HTTP2_PREFACE)
            head = connection.recv(9, socket.MSG_WAITALL)
            return len(head) == 9 and head[3] == SETTINGS_FRAME
    except OSError:
        return False


def http_status(host: str, port: int, path: str) -> int:
    """Return the status of a page, or 0 when nobody answers."""
    connection = http.client.HTTPConnection(host, port, timeout=SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def is_free(host: str, port: int) -> bool:
    """Tell whether an address can be listened on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind((host, port))
        except OSError:
            return False
        return True
