"""What one gateway is to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gateway.contract import GEN

STDOUT = "/dev/stdout"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """One gateway: where it listens, whom it sends calls to, whom it believes."""

    host: str
    port: int
    # Addresses of the servers: host:port or unix:/path.
    upstreams: tuple[str, ...]
    # The socket of Envoy's admin page, which must not be reachable by anyone else.
    admin: Path
    # Cached answers; emptied at each start.
    cache_folder: Path
    # Disk for cached answers; without any, nothing is cached.
    cache_megabytes: int = 0
    # Proxies in front whose x-forwarded-for is believed.
    trusted_hops: int = 0
    # The header in which a trusted proxy names the caller's country.
    country_header: str = ""
    cors_origins: tuple[str, ...] = ()
    reflection: bool = True
    access_log: str = STDOUT
    # The folder with the contract's descriptor sets.
    contract: Path = GEN

    @property
    def descriptor(self) -> bytes:
        return (self.contract / "descriptor.binpb").read_bytes()

    @property
    def image(self) -> bytes:
        return (self.contract / "image.binpb").read_bytes()
