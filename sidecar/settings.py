"""Everything that can be set, with its default, its bounds and how it prints."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

from inferometer.schema.errors import UserError

MIB = 1024 * 1024
DEFAULT_GRPC = "127.0.0.1:4317"
DEFAULT_HTTP = "127.0.0.1:4318"
CONTENT_CHOICES = ("drop", "drop-before-journal", "keep")
SECRETS = frozenset({"token", "headers", "webhook"})
MASK = "********"


@dataclass(slots=True, frozen=True)
class Address:
    """Where to listen; port 0 takes a free one."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        return self.host == "localhost" or self.host == "::1" or self.host.startswith("127.")

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str, option: str) -> Address | None:
        """Return the address of ``HOST:PORT``; None for ``off``.

        Raises:
            UserError: the text is neither.
        """
        if text == "off":
            return None
        host, colon, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not colon or not host or not port.isdecimal() or int(port) > 65535:
            raise UserError(f"{option} {text!r} is not HOST:PORT, such as {DEFAULT_HTTP}, nor off")
        return cls(host, int(port))


@dataclass(slots=True, frozen=True)
class Forward:
    """One destination that everything received is passed on to.

    Args:
        url: ``http://`` or ``https://`` for OTLP/HTTP, ``grpc://`` or ``grpcs://`` for OTLP/gRPC.
        headers: sent along; secrets, masked where settings are printed.
        ca: file of certificates to trust in place of the system's.
        max_backlog_bytes: what may wait for this destination; beyond it the oldest is dropped and counted.
    """

    url: str
    headers: tuple[tuple[str, str], ...] = ()
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    max_backlog_bytes: int = 2048 * MIB
    timeout_s: float = 10.0

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https", "grpc", "grpcs"} or not parts.hostname:
            raise UserError(
                f"forward URL {self.url!r} needs a scheme and a host, such as http://collector:4318 or grpc://collector:4317"
            )

    @property
    def consumer(self) -> str:
        """The name of this destination's cursor; the same after a restart."""
        parts = urlsplit(self.url)
        port = f":{parts.port}" if parts.port else ""
        return f"forward:{parts.scheme}://{parts.hostname}{port}{parts.path.rstrip('/')}"


def in_use(address: Address, option: str) -> UserError:
    """Return the error of an address that cannot be bound; another Collector is the usual reason."""
    free = {4317: 14317, 4318: 14318}.get(address.port, 0)
    return UserError(
        f"{option} {address}: the port is in use, or the address is not of this machine;"
        f" stop what listens there, or use {option} {Address(address.host, free)}"
    )


@dataclass(slots=True, frozen=True)
class Budget:
    """What may be spent in a day (UTC), and who is told when it is more."""

    name: str
    usd_per_day: Decimal
    where: tuple[tuple[str, str], ...] = ()
    webhook: str | None = None

    def __post_init__(self) -> None:
        if self.webhook is not None and not self.webhook.startswith(("http://", "https://")):
            raise UserError(f"budget {self.name!r}: its webhook needs http:// or https://")


@dataclass(slots=True, frozen=True)
class Settings:
    """The sidecar's configuration."""

    store: str | None = None
    journal: str | None = None
    grpc: str = DEFAULT_GRPC
    http: str = DEFAULT_HTTP
    content: str = "drop"
    token: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    tls_client_ca: str | None = None
    insecure: bool = False
    cors_origins: tuple[str, ...] = ()
    max_request_bytes: int = 64 * MIB
    max_in_flight_bytes: int = 128 * MIB
    max_journal_bytes: int = 4096 * MIB
    min_free_disk_bytes: int = 512 * MIB
    max_connections: int = 1024
    idle_timeout_s: float = 60.0
    read_timeout_s: float = 30.0
    drain_timeout_s: float = 20.0
    forward: tuple[Forward, ...] = ()
    forward_content: str = "keep"
    sample: float = 1.0
    sample_keep_usd: Decimal = Decimal("0.50")
    keep_s: int | None = None
    keep_quarantine_s: int = 7 * 86400
    budget: tuple[Budget, ...] = ()
    log_format: str = "json"
    log_level: str = "info"

    def __post_init__(self) -> None:
        for address, option in ((self.grpc_address, "--grpc"), (self.http_address, "--http")):
            if address is not None and not (address.is_loopback or self.is_guarded or self.insecure):
                raise UserError(
                    f"{option} {address} can be reached from other machines: set --token, or --tls-client-ca for mutual"
                    " TLS, or --insecure to accept everyone"
                )
        if self.grpc_address is None and self.http_address is None:
            raise UserError("--grpc and --http are both off; nothing would be received")
        if bool(self.tls_cert) != bool(self.tls_key):
            raise UserError("--tls-cert and --tls-key go together")
        if self.tls_client_ca and not self.tls_cert:
            raise UserError("--tls-client-ca needs --tls-cert and --tls-key as well")
        for option, path in (
            ("tls-cert", self.tls_cert),
            ("tls-key", self.tls_key),
            ("tls-client-ca", self.tls_client_ca),
        ):
            if path and not Path(path).is_file():
                raise UserError(f"--{option} {path}: no such file")
        if self.token is not None and len(self.token) < 8:
            raise UserError("--token has fewer than 8 characters; make one with: openssl rand -hex 32")
        if not 0 < self.sample <= 1:
            raise UserError(f"--sample {self.sample} is not a share between 0 and 1")
        own = {(one.host, one.port) for one in (self.grpc_address, self.http_address) if one is not None}
        for one in self.forward:
            parts = urlsplit(one.url)
            if ("127.0.0.1" if parts.hostname == "localhost" else parts.hostname, parts.port) in own:
                raise UserError(f"forward {one.url} is this sidecar itself; everything would go round for ever")
        names = [one.consumer for one in self.forward]
        if len(set(names)) != len(names):
            raise UserError("two forwards have the same URL")

    @property
    def grpc_address(self) -> Address | None:
        """Where gRPC listens; None where it is off."""
        return Address.parse(self.grpc, "--grpc")

    @property
    def http_address(self) -> Address | None:
        """Where HTTP listens; None where it is off."""
        return Address.parse(self.http, "--http")

    @property
    def is_guarded(self) -> bool:
        """Whether every sender has to prove who it is."""
        return self.token is not None or self.tls_client_ca is not None

    def as_toml(self) -> str:
        """Return the settings as a configuration file, secrets masked."""
        lines = []
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name in {"forward", "budget"}:
                continue
            text = _toml_value(one.name, value)
            lines.append(f"# {one.name} =" if text is None else f"{one.name} = {text}")
        for forward in self.forward:
            lines += ["", "[[forward]]", *_toml_table(forward)]
        for budget in self.budget:
            lines += ["", "[[budget]]", *_toml_table(budget)]
        return "\n".join(lines) + "\n"


def _toml_table(record: Forward | Budget) -> list[str]:
    pairs = ((one.name, _toml_value(one.name, getattr(record, one.name))) for one in fields(record))
    return [f"{name} = {text}" for name, text in pairs if text is not None]


def _toml_value(name: str, value: object) -> str | None:
    if value is None or value == ():
        return None
    if name in SECRETS:
        return json.dumps(MASK)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, tuple):
        if all(isinstance(one, tuple) for one in value):
            return "{ " + ", ".join(f"{json.dumps(key)} = {json.dumps(text)}" for key, text in value) + " }"
        return json.dumps(list(value))
    return json.dumps(str(value))
