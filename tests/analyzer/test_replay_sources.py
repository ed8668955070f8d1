"""What the C sources must keep to, told by reading them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def sources(repository: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (repository / "analyzer/csrc").glob("*.[ch]")}


def test_only_the_module_knows_python(sources: dict[str, str]) -> None:
    knowing = {name for name, text in sources.items() if "Python.h" in text or "PyObject" in text}
    assert knowing == {"module.c"}


def test_files_stay_short(sources: dict[str, str]) -> None:
    assert {name for name, text in sources.items() if text.count("\n") > 600} == set()


def test_what_is_opened_is_closed(sources: dict[str, str]) -> None:
    """Every struct with an `open` has a `close`, and the owner of a struct that is opened closes it."""
    opened = {match for text in sources.values() for match in re.findall(r"^bool (\w+)_open\(", text, re.MULTILINE)}
    closed = {match for text in sources.values() for match in re.findall(r"^void (\w+)_close\(", text, re.MULTILINE)}
    assert opened <= closed
    for name, text in sources.items():
        if name.endswith(".c"):
            for kind, owner in re.findall(r"\b(\w+)_open\(&(\w+)", text):
                assert f"{kind}_close(" in sources.get(f"{owner}.c", text), (name, kind)


def test_gil_and_buffers_are_given_back(sources: dict[str, str]) -> None:
    text = sources["module.c"]
    assert text.count("Py_BEGIN_ALLOW_THREADS") == text.count("Py_END_ALLOW_THREADS") > 0
    for function in re.split(r"^}$", text, flags=re.MULTILINE):
        if "= take(" in function or "!take(" in function:
            assert "PyBuffer_Release" in function
        inside = re.findall(r"Py_BEGIN_ALLOW_THREADS(.*?)Py_END_ALLOW_THREADS", function, re.DOTALL)
        assert not any("Py" in part for part in inside)


def test_nothing_is_kept_between_calls(sources: dict[str, str]) -> None:
    """No static variable but constant tables and what Python's module definition needs."""
    for name, text in sources.items():
        for line in re.findall(r"^static (?!const |inline )[^(\n]*(?:=|;)", text, re.MULTILINE):
            assert name == "module.c"
            assert re.match(r"static (?:PyMethodDef|PyModuleDef_Slot|struct PyModuleDef) ", line)
