"""Who may send: bearer tokens and mutual TLS."""

from __future__ import annotations

import hmac
import ssl
from hashlib import sha256

from inferometer.schema.errors import UserError
from inferometer.sidecar.refusal import Refusal
from inferometer.sidecar.settings import Settings

_BEARER = b"bearer "


class Guard:
    """Compares bearer tokens in constant time; lets everyone in where no token is set.

    Args:
        token: what senders have to know; None where mutual TLS or loopback is the guard.
    """

    def __init__(self, token: str | None) -> None:
        self._digest = sha256(token.encode()).digest() if token is not None else None

    def check(self, authorization: bytes | None) -> None:
        """Return where the sender may send.

        Args:
            authorization: value of the header; None where there is none.

        Raises:
            Refusal: the token is missing or wrong.
        """
        if self._digest is None:
            return
        if authorization is None or authorization[: len(_BEARER)].lower() != _BEARER:
            raise Refusal.unauthenticated()
        self.check_token(authorization[len(_BEARER) :].strip())

    def check_token(self, token: bytes) -> None:
        """Return where the token is the right one; `Refusal` otherwise."""
        # digests have one length, so that the time to compare tells nothing about the token's
        if self._digest is not None and not hmac.compare_digest(sha256(token).digest(), self._digest):
            raise Refusal.unauthenticated()

    @property
    def is_set(self) -> bool:
        """Whether a token is needed."""
        return self._digest is not None


def check_certificates(settings: Settings) -> None:
    """Return where the TLS files can be used.

    Raises:
        UserError: a certificate or key is broken, or they do not belong together.
    """
    if settings.tls_cert:
        server_context(settings)


def server_context(settings: Settings) -> ssl.SSLContext:
    """Return the TLS context of the HTTP receiver, asking for client certificates where a CA for them is set.

    Raises:
        UserError: a certificate or key is broken, or they do not belong together.
    """
    assert settings.tls_cert is not None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # without a pass phrase OpenSSL asks for one on the terminal
        context.load_cert_chain(settings.tls_cert, settings.tls_key, password="")
    except (ssl.SSLError, OSError) as error:
        raise UserError(
            f"--tls-cert {settings.tls_cert} with --tls-key {settings.tls_key}: {_reason(error)}"
        ) from error
    if settings.tls_client_ca:
        try:
            context.load_verify_locations(settings.tls_client_ca)
        except (ssl.SSLError, OSError) as error:
            raise UserError(f"--tls-client-ca {settings.tls_client_ca}: {_reason(error)}") from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _reason(error: OSError) -> str:
    if "PEM lib" in str(error):
        return "not a certificate and its key, or a key with a pass phrase, which is not asked for"
    return (error.strerror or getattr(error, "reason", None) or str(error)).lower()
