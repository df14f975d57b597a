"""An issuer on this machine: OpenID Connect as large ones speak it, and wrongly when it is told to."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, parse_qsl, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

REDIRECT = "http://localhost:3000/signed-in"
CLIENT, SECRET = "ani@example", "s3cret & more"


@dataclass
class LocalIssuer:
    """Gives codes to whoever comes with a good address, and tokens for them once."""

    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    kid: str = "first"
    claims: dict[str, Any] = field(default_factory=dict)
    person: dict[str, Any] = field(
        default_factory=lambda: {"sub": "1001", "email": "mio@example.org", "email_verified": True, "name": "Mio Elsewhere"}
    )
    # What it says of itself beyond what is true.
    about: dict[str, Any] = field(default_factory=dict)
    # Makes the token from its claims, when it is to be another one than a good one.
    forge: Callable[[dict[str, Any]], str] | None = None
    answers: Callable[[str], tuple[int, bytes] | None] = lambda _path: None
    asked: list[str] = field(default_factory=list)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    port: int = 0

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def visit(self, url: str) -> str:
        """Do what a person does there who agrees; return what they come back with."""
        asked = dict(parse_qsl(urlsplit(url).query))
        assert ("code", "S256", CLIENT, REDIRECT) == tuple(
            asked[name] for name in ("response_type", "code_challenge_method", "client_id", "redirect_uri")
        )
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked
        return json.dumps({"code": code, "state": asked["state"]})

    def answer(self, path: str, body: str, headers: Any) -> tuple[int, bytes]:
        self.asked.append(path)
        if (given := self.answers(path)) is not None:
            return given
        if path == "/.well-known/openid-configuration":
            return _json(self._itself())
        if path == "/keys":
            public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self.key.public_key()))
            return _json({"keys": [{"kty": "oct", "k": "AAAA", "kid": "symmetric"}, public | {"kid": self.kid, "use": "sig"}]})
        if path == "/token":
            return self._exchange({name: values[0] for name, values in parse_qs(body).items()}, headers)
        if path == "/me":
            return _json(self.person) if headers["authorization"] == "Bearer access" else (401, b"{}")
        return 404, b""

    def _itself(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize?tenant=1",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "id_token_signing_alg_values_supported": ["ES256", "HS256", "none"],
            **self.about,
        }

    def _exchange(self, form: dict[str, str], headers: Any) -> tuple[int, bytes]:
        asked = self.codes.pop(form["code"], None)
        if asked is None:
            return 400, b'{"error": "invalid_grant"}'
        challenge = _base64(hashlib.sha256(form["code_verifier"].encode()).digest())
        basic = base64.b64encode(b"ani%40example:s3cret%20%26%20more").decode()
        assert headers["authorization"] == f"Basic {basic}"
        assert (asked["code_challenge"], REDIRECT) == (challenge, form["redirect_uri"])
        now = int(time.time())
        usual = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": asked["nonce"], **self.person}
        claims = {name: value for name, value in (usual | self.claims).items() if value is not None}
        token = self.forge(claims) if self.forge else jwt.encode(claims, self.key, algorithm="ES256", headers={"kid": self.kid})
        return _json({"id_token": token, "access_token": "access", "token_type": "Bearer"})

    def __enter__(self) -> Self:
        own = self

        class Handler(BaseHTTPRequestHandler):
            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
                status, data = own.answer(self.path, body, self.headers)
                self.send_response(status)
                if status == 302:
                    self.send_header("location", "/keys")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = _serve  # noqa: N815 - as the library calls them

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, *fault: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def symmetric(claims: dict[str, Any], key: bytes, kid: str) -> str:
    """Return a token signed with what is no secret: no library makes one."""
    parts = ({"alg": "HS256", "typ": "JWT", "kid": kid}, claims)
    signed = ".".join(_base64(json.dumps(part).encode()) for part in parts)
    return f"{signed}.{_base64(hmac.digest(key, signed.encode(), 'sha256'))}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _json(value: Any) -> tuple[int, bytes]:
    return 200, json.dumps(value).encode()
