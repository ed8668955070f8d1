from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from inferometer.cli.sidecar import command
from inferometer.schema.errors import UserError
from inferometer.sidecar.settings import Address, Budget, Forward, Settings


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("0:0:0:0:0:0:0:1", True),
        ("localhost", True),
        ("LOCALHOST", True),
        ("127.0.0.1.example.com", False),
        ("127.evil", False),
        ("localhost.example.com", False),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
    ],
)
def test_only_this_machines_own_addresses_are_loopback(host: str, is_loopback: bool) -> None:
    assert Address(host, 1).is_loopback is is_loopback


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"http": "127.0.0.1.example.com:4318"}, "--insecure"),
        ({"http": "127.0.0.1:4317"}, "a port of its own"),
        ({"http": "localhost:4317"}, "a port of its own"),
        ({"http": "0.0.0.0:4317", "insecure": True}, "a port of its own"),
        ({"http": "off", "grpc": "off"}, "nothing would be received"),
        *(
            ({"http": text}, "not HOST:PORT")
            for text in ("127.0.0.1:70000", "::1:4318", "[::1:4318", "[::1]", "[]:1", ":4318", "localhost")
        ),
        ({"token": "with a space"}, "no header carries"),
        ({"token": "with-a-line-end\n"}, "no header carries"),
        ({"token": "señor-token"}, "no header carries"),
        ({"idle_timeout_s": 0.0}, "--idle-timeout 0.0"),
        ({"idle_timeout_s": float("nan")}, "--idle-timeout nan"),
        ({"read_timeout_s": float("inf")}, "--read-timeout inf"),
        ({"read_timeout_s": -1.0}, "--read-timeout -1.0"),
        ({"drain_timeout_s": 1e9}, "--drain-timeout"),
        ({"keep_s": 0}, "delete everything"),
        ({"keep_quarantine_s": -5}, "delete everything"),
        ({"sample": float("nan")}, "--sample nan"),
        ({"max_request_bytes": 2**31}, "--max-request-bytes"),
        ({"cors_origins": ("*",)}, "is not an origin"),
        ({"cors_origins": ("https://app.example.com/",)}, "is not an origin"),
        ({"budget": (Budget("a", Decimal(1)), Budget("a", Decimal(2)))}, "the same name"),
        ({"forward": (Forward("http://a:1"), Forward("http://a:1/"))}, "the same URL"),
    ],
)
def test_settings_that_cannot_work_are_refused_with_their_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Settings(**changes)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("collector:4318", "needs a scheme and a host"),
        ("http://", "needs a scheme and a host"),
        ("ftp://collector", "needs a scheme and a host"),
        ("http://collector:port", "needs a scheme and a host"),
        ("http://collector:99999", "needs a scheme and a host"),
        ("http://[::1:4318", "needs a scheme and a host"),
        ("https://me:hidden@collector", "give secrets as headers"),
        ("https://collector/base?key=hidden", "give secrets as headers"),
        ("https://collector#hidden", "give secrets as headers"),
    ],
)
def test_a_forward_url_that_cannot_be_followed_is_refused_without_its_secrets(url: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        Forward(url)
    assert "hidden@" not in str(caught.value)
    assert "key=" not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"headers": (("x-key", "hidden\r\nx-other: 1"),)},
        {"headers": (("x-key", "hiddén"),)},
        {"headers": (("x key", "hidden"),)},
        {"timeout_s": 0.0},
        {"timeout_s": float("nan")},
    ],
)
def test_what_no_request_can_carry_is_refused_at_the_start(changes: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="forward") as caught:
        Forward("http://collector", **changes)
    assert "hidd" not in str(caught.value)


@pytest.mark.parametrize(
    ("own", "url", "is_itself"),
    [
        ({}, "http://localhost:4318", True),
        ({}, "http://127.0.0.1:4318/base", True),
        ({}, "grpc://localhost", True),
        ({}, "grpc://[::1]:4317", True),
        ({"http": "0.0.0.0:4318", "insecure": True}, "http://127.0.0.1:4318", True),
        ({"http": "[::]:4318", "insecure": True}, "http://localhost:4318", True),
        ({"http": "10.0.0.5:4318", "insecure": True}, "http://10.0.0.5:4318", True),
        ({"http": "127.0.0.1:80"}, "http://localhost", True),
        ({}, "http://localhost:14318", False),
        ({}, "grpc://collector", False),
        ({"http": "127.0.0.1:0", "grpc": "127.0.0.1:0"}, "http://localhost:4318", False),
    ],
)
def test_a_forward_to_the_sidecar_itself_is_seen_however_it_is_written(
    own: dict[str, Any], url: str, is_itself: bool
) -> None:
    if is_itself:
        with pytest.raises(UserError, match="this sidecar itself"):
            Settings(**own, forward=(Forward(url),))
    else:
        Settings(**own, forward=(Forward(url),))


@pytest.mark.parametrize("webhook", ["hooks.example.com", "ftp://hooks.example.com", "http://"])
def test_a_webhook_needs_a_scheme_and_a_host(webhook: str) -> None:
    with pytest.raises(UserError, match="webhook needs") as caught:
        Budget("all", Decimal(1), (), webhook)
    assert "hooks" not in str(caught.value)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("[[forward]]\nurl = 5", "url has to be text"),
        ('[[forward]]\nurl = "http://x"\nheaders = 5', "headers has to be a table"),
        ('[[forward]]\nurl = "http://x"\ntimeout_s = "5"', "timeout_s has to be a number"),
        ('[[forward]]\nurl = "http://x"\nca = 5', "ca has to be text"),
        ('[[forward]]\nurl = "http://x"\nurll = "y"', "nearest known: url"),
        ("[[budget]]\nusd_per_day = 5\nwhere = 5", "where has to be a table"),
        ("[[budget]]\nusd_per_day = 5\nwebhook = 5", "webhook has to be text"),
        ("[[budget]]\nusd_per_day = true", "usd_per_day has to be a number"),
        ("[[budget]]\nusd_per_day = 5\nwhere = { modle = 'x' }", "nearest known: model"),
        ("keep_s = true", "not a duration"),
        ('keep_s = "²d"', "not a duration"),
        ("keep_s = -5", "delete everything"),
        ("max_request_bytes = true", "not a size"),
        ("idle_timeout_s = inf", "--idle-timeout"),
        ('cors_origins = "https://app.example.com"', "iterable"),
    ],
)
def test_a_file_with_values_of_the_wrong_kind_is_a_users_mistake(tmp_path: Path, document: str, message: str) -> None:
    path = tmp_path / "sidecar.toml"
    path.write_text(document)
    result = CliRunner().invoke(command, ["--config", str(path), "--print-config"])
    assert isinstance(result.exception, (UserError, SystemExit)), result.exception
    assert message in result.output + str(result.exception)


def test_a_budget_for_what_cannot_be_selected_is_refused() -> None:
    with pytest.raises(UserError, match="modle"):
        Budget("team", Decimal(1), (("modle", "gpt-4o"),))
    Budget("team", Decimal(1), (("model", "gpt-4o"), ("tag.team", "search")))
