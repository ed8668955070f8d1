"""The sidecar as a whole: what is opened in which order, and how it stops."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import logging
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from inferometer.schema.errors import StoreError, UserError
from inferometer.sidecar.committer import Committer
from inferometer.sidecar.connections import limited_protocol, make_room, open_connections
from inferometer.sidecar.counters import Counters
from inferometer.sidecar.forwarder import Forwarder, register_forwards
from inferometer.sidecar.http_receiver import HttpReceiver
from inferometer.sidecar.intake import Intake
from inferometer.sidecar.logs import configure_logging
from inferometer.sidecar.normaliser_settings import NormaliserSettings
from inferometer.sidecar.observer import Observer
from inferometer.sidecar.operations import Operations
from inferometer.sidecar.pages import Pages
from inferometer.sidecar.security import Guard, check_certificates, server_context
from inferometer.sidecar.sender import open_sender
from inferometer.sidecar.settings import Address, Settings, in_use
from inferometer.sidecar.supervisor import Supervisor
from inferometer.store import Store, open_store
from inferometer.store.journal import STORE_CONSUMER, Journal
from inferometer.store.journal_lock import JournalLock
from inferometer.store.location import locate, user_data_directory
from inferometer.tokens.key import load_key

GAUGE_INTERVAL_S = 1.0
GRPC_GRACE_S = 5.0

log = logging.getLogger("inferometer.sidecar")


def journal_path(settings: Settings) -> Path:
    """Return where the journal lies: beside an SQLite store, else in the user's data directory."""
    if settings.journal:
        return Path(settings.journal).expanduser().absolute()
    url = locate(settings.store)
    if url.get_backend_name() == "sqlite":
        return Path(f"{url.database}.journal")
    name = hashlib.sha256(url.render_as_string(hide_password=True).encode()).hexdigest()[:16]
    return user_data_directory() / f"journal-{name}.sqlite"


def run_sidecar(settings: Settings, announce: Callable[[str], None]) -> None:
    """Run until SIGTERM, SIGINT or SIGHUP.

    Args:
        settings: checked already.
        announce: called once with one line, when requests are taken.

    Raises:
        UserError: a port, certificate, journal or store cannot be used; nothing was written then.
    """
    configure_logging(settings.log_format, settings.log_level)
    check_certificates(settings)
    for forward in settings.forward:
        open_sender(forward).close()
    with (
        _listening(settings) as http_socket,
        _opened(settings) as (store, journal, lock),
        asyncio.Runner(loop_factory=_loop_factory()) as runner,
    ):
        runner.run(Sidecar(settings, store, journal, lock).serve(http_socket, announce))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ModuleNotFoundError:
        return None
    return uvloop.new_event_loop


@contextmanager
def _listening(settings: Settings) -> Iterator[socket.socket | None]:
    address = settings.http_address
    for wanted, option in ((settings.grpc_address, "--grpc"), (address, "--http")):
        if wanted is not None and wanted.port:
            _bind(wanted, option).close()
    if address is None:
        yield None
        return
    with contextlib.closing(_bind(address, "--http")) as bound:
        yield bound


def _bind(address: Address, option: str) -> socket.socket:
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UserError(f"{option} {address}: {(error.strerror or str(error)).lower()}") from error
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(where)
    except OSError as error:
        bound.close()
        if error.errno in (errno.EADDRINUSE, errno.EADDRNOTAVAIL):
            raise in_use(address, option) from error
        raise UserError(f"{option} {address}: {(error.strerror or str(error)).lower()}") from error
    bound.set_inheritable(False)
    return bound


@contextmanager
def _opened(settings: Settings) -> Iterator[tuple[Store, Journal, JournalLock]]:
    path = journal_path(settings)
    if path.parent == user_data_directory():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.parent.is_dir():
        raise StoreError(str(path), "the journal's folder does not exist")
    new = [file for suffix in ("", "-wal", "-shm", ".lock") if not (file := Path(f"{path}{suffix}")).exists()]
    lock = JournalLock(path)
    try:
        with contextlib.closing(Journal(path)) as journal, open_store(settings.store) as store:
            new.clear()
            yield store, journal, lock
    finally:
        # a start that failed leaves nothing behind
        for file in new:
            file.unlink(missing_ok=True)
        lock.release()


class Sidecar:
    """A running sidecar.

    Args:
        settings: checked already.
        store: read by the live page; the normaliser opens its own.
        journal: written here, by one thread.
        lock: on the journal, inherited by the normaliser.
    """

    def __init__(self, settings: Settings, store: Store, journal: Journal, lock: JournalLock) -> None:
        self.settings = settings
        self.counters = Counters()
        self._store = store
        self._journal = journal
        # a connection of its own: the event loop must never wait for the committer's flush
        self._watched = Journal(journal.path)
        self._supervisor = Supervisor(NormaliserSettings.of(settings, str(journal.path)), self.counters, lock.fd)
        self._stopping = asyncio.Event()
        self._max_connections = make_room(settings.max_connections)
        if self._max_connections < settings.max_connections:
            log.warning("few files may be open; fewer connections are taken", extra={"each": self._max_connections})
        if not load_key().kept:
            log.warning(
                "the key of hashes cannot be kept: after a restart users and prefixes have other hashes;"
                " set INFEROMETER_HASH_KEY, or XDG_DATA_HOME to a folder that can be written"
            )
        self._observer = Observer(store, journal, self.counters, settings.budget)
        self._forwarders = [Forwarder(one, settings, journal.path, self.counters) for one in settings.forward]

    async def serve(self, http_socket: socket.socket | None, announce: Callable[[str], None]) -> None:
        """Take requests until a signal asks to stop, then drain."""
        loop = asyncio.get_running_loop()
        # a terminal that is closed asks to stop as well
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._stopping.set)
        committer = Committer(self._journal, loop)
        try:
            intake = Intake(self.settings, self._watched, committer, self.counters, on_accept=self._supervisor.wake)
            await self._serve(intake, http_socket, announce)
        finally:
            committer.close()
            self._watched.close()
        await self._drain()
        self._journal.wipe()
        log.info("stopped", extra={"left_in_journal": self._journal.backlog(STORE_CONSUMER).entries})

    async def _drain(self) -> None:
        deadline = time.monotonic() + self.settings.drain_timeout_s
        for forwarder in self._forwarders:
            forwarder.stop()
        await self._supervisor.stop(self.settings.drain_timeout_s)
        for forwarder in self._forwarders:
            await asyncio.to_thread(forwarder.join, max(deadline - time.monotonic(), 0.1))

    async def _serve(self, intake: Intake, http_socket: socket.socket | None, announce: Callable[[str], None]) -> None:
        guard = Guard(self.settings.token)
        grpc_server, grpc_port = None, 0
        if self.settings.grpc_address is not None:
            from inferometer.sidecar.grpc_receiver import (
                build_server,
            )  # a tenth of the memory where it is not asked for

            grpc_server, grpc_port = build_server(self.settings, intake, guard, self._max_connections)
        http_server = self._http_server(intake, guard) if http_socket is not None else None
        register_forwards(self._journal, self.settings.forward)
        for forwarder in self._forwarders:
            forwarder.start()
        self._supervisor.start()
        self._observer.start()
        tasks = []
        try:
            if grpc_server is not None:
                await grpc_server.start()
            if http_server is not None:
                tasks.append(asyncio.create_task(http_server.serve(sockets=[http_socket] if http_socket else None)))
                while not http_server.started and not tasks[0].done():
                    await asyncio.sleep(0.01)
            announce(self._describe(grpc_port, http_socket))
            gauges = asyncio.create_task(self._keep_gauges(intake, http_server))
            await self._stopping.wait()
            log.info("stopping")
            gauges.cancel()
        finally:
            intake.is_closing = True
            if http_server is not None:
                http_server.should_exit = True
            if grpc_server is not None:
                await grpc_server.stop(GRPC_GRACE_S)
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.to_thread(self._observer.stop)

    def _http_server(self, intake: Intake, guard: Guard) -> _HttpServer:
        settings = self.settings
        operations = Operations(intake, self.counters, guard, Pages(settings, self._observer, intake, guard))
        config = uvicorn.Config(
            HttpReceiver(intake, guard, operations, settings.cors_origins),
            http=limited_protocol(self._max_connections, settings.read_timeout_s, settings.idle_timeout_s),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=int(settings.idle_timeout_s),
            timeout_graceful_shutdown=int(GRPC_GRACE_S),
            ssl_context_factory=(lambda _, __: server_context(settings)) if settings.tls_cert else None,
            ssl_certfile=settings.tls_cert,
            ssl_keyfile=settings.tls_key,
        )
        return _HttpServer(config)

    def _describe(self, grpc_port: int, http_socket: socket.socket | None) -> str:
        parts = []
        tls = "s" if self.settings.tls_cert else ""
        if self.settings.grpc_address is not None:
            parts.append(f"OTLP/gRPC on {Address(self.settings.grpc_address.host, grpc_port)}")
        if http_socket is not None:
            host, port = http_socket.getsockname()[:2]
            parts.append(f"OTLP/HTTP and live page on http{tls}://{Address(host, port)}")
        return f"{', '.join(parts)}; store {self._store.name}; journal {self._journal.path}"

    async def _keep_gauges(self, intake: Intake, http_server: _HttpServer | None) -> None:
        while True:
            with contextlib.suppress(StoreError):
                await asyncio.to_thread(self._measure_journal)
            self.counters.put("in_flight_bytes", intake.in_flight_bytes)
            if http_server is not None:
                self.counters.put("connections", open_connections(http_server.server_state))
            await asyncio.sleep(GAUGE_INTERVAL_S)

    def _measure_journal(self) -> None:
        backlog = self._watched.backlog(STORE_CONSUMER)
        age_ns = time.time_ns() - backlog.oldest_received_ns if backlog.oldest_received_ns else 0
        self.counters.put("journal_entries", backlog.entries)
        self.counters.put("journal_age_seconds", max(age_ns, 0) / 1e9)
        self.counters.put("journal_bytes", self._watched.backlog_bytes())
        quarantined = self._watched.count_quarantined()
        self.counters.replace("quarantine_requests", [({"consumer": name}, n) for name, n in quarantined.items()])


class _HttpServer(uvicorn.Server):
    """uvicorn without its signal handlers: the sidecar decides when it stops."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
