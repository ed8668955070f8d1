"""Everything that can be set, with its default, its bounds and how it prints."""

from __future__ import annotations

import ipaddress
import json
import re
from dataclasses import dataclass, fields
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

from inferometer.schema.errors import UserError
from inferometer.schema.selection import Selection

MIB = 1024 * 1024
DEFAULT_GRPC = "127.0.0.1:4317"
DEFAULT_HTTP = "127.0.0.1:4318"
CONTENT_CHOICES = ("drop", "drop-before-journal", "keep")
SECRETS = frozenset({"token", "headers", "webhook"})
MASK = "********"
MAX_TIMEOUT_S = 86400
MAX_GRPC_BYTES = 2**31 - 1
"""gRPC counts the bytes of a message in 32 bits."""
_DEFAULT_PORTS = {"http": 80, "https": 443, "grpc": 4317, "grpcs": 4317}
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s*]+")


@dataclass(slots=True, frozen=True)
class Address:
    """Where to listen; port 0 takes a free one."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host.lower() == "localhost"  # another name, such as 127.example.com, may be anywhere

    def reaches(self, other: Address) -> bool:
        """Whether what is sent to another address comes to this one, as far as the two tell."""

        def hosts(address: Address) -> set[str]:
            return {"127.0.0.1", "::1", "localhost"} if address.is_loopback else {address.host.lower()}

        is_everywhere = self.host in {"0.0.0.0", "::"} and other.is_loopback
        return self.port == other.port and (is_everywhere or bool(hosts(self) & hosts(other)))

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
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host or "[" in host:
            host = ""  # an address of IPv6 needs its brackets
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
        # what may be a secret is not said
        shown = repr(self.url.partition("?")[0].rpartition("@")[2])
        try:
            parts = urlsplit(self.url)
            is_complete = parts.scheme in _DEFAULT_PORTS and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_complete = False
        if not is_complete:
            raise UserError(
                f"forward URL {shown} needs a scheme and a host, such as http://collector:4318 or grpc://collector:4317"
            )
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise UserError(f"forward URL {shown} has a user, a query or a fragment; give secrets as headers")
        for name, value in self.headers:
            if not _HEADER_NAME.fullmatch(name) or not (value.isascii() and value.isprintable()):
                raise UserError(f"forward {shown}: header {name!r} has characters that no header carries")
        if not 0 < self.timeout_s <= MAX_TIMEOUT_S:
            raise UserError(f"forward {shown}: timeout_s {self.timeout_s} is not between 0 and {MAX_TIMEOUT_S} seconds")

    @property
    def address(self) -> Address:
        """Where requests are sent."""
        parts = urlsplit(self.url)
        return Address(parts.hostname or "", parts.port or _DEFAULT_PORTS[parts.scheme])

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
        if self.webhook is not None and not re.match("https?://[^/]", self.webhook):
            raise UserError(f"budget {self.name!r}: its webhook needs http:// or https://, and a host")
        Selection(where=self.where)


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
        self._check_addresses()
        self._check_guards()
        self._check_numbers()
        names = [one.consumer for one in self.forward]
        if len(set(names)) != len(names):
            raise UserError("two forwards have the same URL")
        names = [one.name for one in self.budget]
        if len(set(names)) != len(names):
            raise UserError("two budgets have the same name")

    def _check_addresses(self) -> None:
        own = [(self.grpc_address, "--grpc"), (self.http_address, "--http")]
        for address, option in own:
            if address is not None and not (address.is_loopback or self.is_guarded or self.insecure):
                raise UserError(
                    f"{option} {address} can be reached from other machines: set --token, or --tls-client-ca for mutual"
                    " TLS, or --insecure to accept everyone"
                )
        used = [address for address, _ in own if address is not None]
        if not used:
            raise UserError("--grpc and --http are both off; nothing would be received")
        if len(used) == 2 and used[0].port and (used[0].reaches(used[1]) or used[1].reaches(used[0])):
            raise UserError(f"--grpc and --http are both {used[0]}; each needs a port of its own")
        for one in self.forward:
            if any(address.reaches(one.address) for address in used):
                raise UserError(f"forward {one.url} is this sidecar itself; everything would go round for ever")

    def _check_guards(self) -> None:
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
        if self.token is not None and not (self.token.isascii() and self.token.isprintable() and " " not in self.token):
            raise UserError("--token has spaces, line ends or other characters that no header carries")
        for origin in self.cors_origins:
            if not _ORIGIN.fullmatch(origin):
                raise UserError(f"--cors-origins {origin!r} is not an origin, such as https://app.example.com")

    def _check_numbers(self) -> None:
        if not 0 < self.sample <= 1:
            raise UserError(f"--sample {self.sample} is not a share between 0 and 1")
        for name, seconds in (
            ("idle-timeout", self.idle_timeout_s),
            ("read-timeout", self.read_timeout_s),
            ("drain-timeout", self.drain_timeout_s),
        ):
            if not 0 < seconds <= MAX_TIMEOUT_S:
                raise UserError(f"--{name} {seconds} is not between 0 and {MAX_TIMEOUT_S} seconds")
        for name, kept_s in (("keep", self.keep_s), ("keep-quarantine", self.keep_quarantine_s)):
            if kept_s is not None and kept_s < 1:
                raise UserError(f"--{name} {kept_s} would delete everything at once")
        if self.max_request_bytes > MAX_GRPC_BYTES:
            raise UserError(f"--max-request-bytes {self.max_request_bytes} is over {MAX_GRPC_BYTES}")

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
