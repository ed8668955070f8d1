from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from inferometer.cli.sidecar import command
from inferometer.sidecar.counters import HELP, PREFIX


def printed(*words: str) -> dict[str, object]:
    """Return the settings that a command line makes, as the sidecar prints them."""
    result = CliRunner().invoke(command, [*words, "--print-config"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return tomllib.loads(result.output)


def test_the_example_configuration_is_understood(repository: Path) -> None:
    settings = printed("--config", str(repository / "deploy" / "sidecar.toml"))
    assert settings["keep_s"] == 30 * 86400
    assert [budget["name"] for budget in settings["budget"]] == ["all agents", "search team"]  # type: ignore[attr-defined]


def test_what_is_printed_can_be_read_back(repository: Path, tmp_path: Path) -> None:
    example = ("--config", str(repository / "deploy" / "sidecar.toml"), "--forward", "grpc://collector:4317")
    first = CliRunner().invoke(command, [*example, "--print-config"]).output
    (tmp_path / "again.toml").write_text(first)
    assert CliRunner().invoke(command, ["--config", str(tmp_path / "again.toml"), "--print-config"]).output == first


def test_the_unit_starts_a_command_that_exists(repository: Path) -> None:
    unit = repository / "deploy" / "inferometer-sidecar.service"
    start = re.search(r"^ExecStart=\S+/inferometer sidecar (.+)$", unit.read_text(), re.MULTILINE)
    assert start
    words = start[1].replace("/etc/inferometer", str(repository / "deploy"))
    assert printed(*shlex.split(words))["store"] == "/var/lib/inferometer/store.sqlite"
    # without a home the key of hashes would be another after every start
    assert "StateDirectory=inferometer\n" in unit.read_text()
    assert "Environment=XDG_DATA_HOME=/var/lib " in unit.read_text()
    if shutil.which("systemd-analyze"):
        done = subprocess.run(
            ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60, check=False
        )
        complaints = [line for line in done.stderr.splitlines() if "not executable" not in line and unit.name in line]
        assert complaints == []


def test_the_image_and_the_pod_pass_flags_that_exist(repository: Path) -> None:
    dockerfile = (repository / "deploy" / "Dockerfile").read_text()
    flags = json.loads(dockerfile.rpartition("CMD ")[2])
    assert printed(*flags, "--token", "long-enough")["http"] == "0.0.0.0:4318"
    result = CliRunner().invoke(command, [*flags, "--print-config"])
    assert "--insecure" in str(result.exception)
    deployment, claim = yaml.safe_load_all((repository / "deploy" / "kubernetes.yaml").read_text())
    pod = deployment["spec"]["template"]["spec"]
    (sidecar,) = pod["initContainers"]
    assert sidecar["restartPolicy"] == "Always"
    assert printed(*sidecar["args"])["keep_s"] == 30 * 86400
    assert sidecar["securityContext"]["runAsNonRoot"]
    assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]


def test_the_collector_sends_where_the_sidecar_listens_when_the_ports_are_taken(repository: Path) -> None:
    text = (repository / "deploy" / "collector.yaml").read_text()
    configuration = yaml.safe_load(text)
    flags = re.search(r"inferometer sidecar (--grpc \S+ --http \S+)", text)
    assert flags
    settings = printed(*flags[1].split())
    assert configuration["exporters"]["otlp/inferometer"]["endpoint"] == settings["grpc"]
    assert configuration["receivers"]["otlp"]["protocols"]["http"]["endpoint"] == printed()["http"]
    for pipeline in configuration["service"]["pipelines"].values():
        assert pipeline == {"receivers": ["otlp"], "exporters": ["otlp/inferometer"]}


def test_the_dashboard_asks_only_for_metrics_that_exist(repository: Path) -> None:
    dashboard = json.loads((repository / "deploy" / "grafana-dashboard.json").read_text())
    asked = set(re.findall(rf"{PREFIX}(\w+)", json.dumps([panel["targets"] for panel in dashboard["panels"]])))
    assert len(asked) > 10
    assert asked <= set(HELP)


@pytest.mark.parametrize("name", sorted(HELP))
def test_every_metric_is_documented(repository: Path, name: str) -> None:
    assert f"`{name}`" in (repository / "docs" / "sidecar.md").read_text()
