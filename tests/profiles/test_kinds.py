"""Every folder of profiles is a kind, and every file says by its keys which one."""

from __future__ import annotations

from importlib.resources import files

import pytest

from inferometer.profiles.documents import read_documents
from inferometer.profiles.engines import CALIBRATION
from inferometer.profiles.kinds import KINDS, kind_of


def test_every_folder_of_profiles_is_a_kind() -> None:
    folders = [entry for entry in files("inferometer.profiles").iterdir() if entry.is_dir()]
    holding = {entry.name for entry in folders if any(file.name.endswith(".toml") for file in entry.iterdir())}
    assert set(KINDS) == holding


@pytest.mark.parametrize("name", KINDS)
def test_the_keys_of_every_shipped_file_tell_its_kind(name: str) -> None:
    for document in read_documents(name):
        if not document.stem.endswith(CALIBRATION):
            assert kind_of(document) == name, document.path


@pytest.mark.parametrize("name", KINDS)
def test_every_shipped_file_is_read_by_its_kind(name: str) -> None:
    documents = read_documents(name)
    assert documents
    for document in documents:
        KINDS[name].read(document)
