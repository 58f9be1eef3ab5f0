"""The deployment files fit the software: metrics exist, units are valid, compose files give every setting that
production mode needs."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from kalathi.cli import main
from kalathi.marketplace.kernel.metrics import Metrics
from kalathi.marketplace.kernel.settings import setting_fields

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))


def _existing_metrics() -> set[str]:
    text = Metrics().text(0, 0, {"open": 1}).decode()
    kinds = dict(re.findall(r"^# TYPE (\w+) (\w+)", text, re.MULTILINE))
    names = set(kinds)
    return names | {f"{name}_bucket" for name, kind in kinds.items() if kind == "histogram"}


def _named_metrics(text: str) -> set[str]:
    return set(re.findall(r"\bkalathi_[a-z_]+", text))


def test_alert_rules_name_existing_metrics_and_say_what_to_do() -> None:
    text = (DEPLOY / "prometheus/alerts.yml").read_text("utf-8")
    rules = yaml.safe_load(text)["groups"][0]["rules"]
    assert _named_metrics(text) <= _existing_metrics()
    assert len(rules) >= 6
    for rule in rules:
        assert set(rule["annotations"]) == {"summary", "description"}, rule["alert"]
        assert rule["labels"]["severity"] in {"page", "ticket"}


def test_the_dashboard_names_existing_metrics() -> None:
    dashboard = json.loads((DEPLOY / "grafana/kalathi.json").read_text("utf-8"))
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert _named_metrics(" ".join(expressions)) <= _existing_metrics()
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"]) >= 10


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="this machine has no systemd to check units with")
@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_units_are_valid_and_hardened(unit: Path, tmp_path: Path) -> None:
    # The program of the unit need not be installed here.
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text("utf-8").replace("/opt/kalathi/bin/kalathi", shutil.which("true") or "/bin/true"))
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False
    )
    problems = [line for line in checked.stderr.splitlines() if unit.name in line]
    assert not problems, problems
    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=25", str(copy)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert rated.returncode == 0, rated.stdout[-2000:] + rated.stderr


def test_units_run_commands_that_exist_with_flags_that_exist() -> None:
    flags = {field.flag for field in setting_fields()} | {"--watch-port", "--config", "--data"}
    for unit in UNITS:
        [command] = re.findall(r"^ExecStart=(.*)$", unit.read_text("utf-8"), re.MULTILINE)
        assert set(re.findall(r"--[a-z-]+", command)) <= flags, command
        assert re.search(r" (serve|worker|merchant) ", command), command


def test_the_compose_file_of_production_gives_what_production_needs() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.production.yaml").read_text("utf-8"))
    known = {f"KALATHI_{field.name.upper()}" for field in setting_fields()}
    for name in ("market", "worker"):
        service = compose["services"][name]
        environment = service["environment"]
        assert environment["KALATHI_MODE"] == "production"
        assert {variable for variable in environment if variable.startswith("KALATHI_")} <= known
        assert {"KALATHI_IP_RANGES", "KALATHI_IP_RANGES_MODIFIED", "KALATHI_PUBLIC_URL"} <= set(environment)
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
    # Only the proxy has ports of the machine.
    assert [name for name, service in compose["services"].items() if "ports" in service] == ["proxy"]
    images = [service.get("image", "") for service in compose["services"].values()]
    assert not [image for image in images if image and not re.search(r":\d", image)]


def test_the_compose_file_of_a_cluster_spreads_the_database_before_it_is_served() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.cluster.yaml").read_text("utf-8"))
    services = compose["services"]
    known = {f"KALATHI_{field.name.upper()}" for field in setting_fields()}
    ours = {name: service for name, service in services.items() if "build" in service}
    for service in ours.values():
        assert set(service["environment"]) <= known
        assert service["command"][0] in main.commands
        assert set(re.findall(r"--[a-z-]+", " ".join(service["command"]))) <= {"--no-worker", "--watch-port"}
    order = ["market", *_waits_for(services, "market")]
    assert order == ["market", "spread", "tables", "cluster", "coordinator", "node1", "node2"]
    known_nodes = re.findall(r"citus_add_node\('(\w+)', 5432\)", " ".join(services["cluster"]["command"]))
    assert known_nodes == ["node1", "node2"]
    # Nothing is published beyond this machine.
    assert {name: service["ports"] for name, service in services.items() if "ports" in service} == {
        "market": ["127.0.0.1:8090:8090"]
    }
    assert not [one["image"] for one in services.values() if "image" in one and not re.search(r":\d", one["image"])]


def _waits_for(services: dict[str, Any], name: str) -> list[str]:
    """The services that a service waits for, the nearest first."""
    before = list(services[name].get("depends_on", {}))
    return [*before, *(other for one in before for other in _waits_for(services, one))]
