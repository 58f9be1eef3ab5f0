"""A checkup finds every broken receiver, and names the right check and no other.

`make checkups` runs each broken receiver against every check, which takes ten minutes; `make test` runs it against its
own check.
"""

import importlib
import os
from pathlib import Path

import pytest

from kalathi.checkup.running import list_checks
from kalathi.marketplace.sandbox.checkup_report import Verdict
from kalathi.testing.server import Server
from tests.checkup.model_shop import ModelShop
from tests.checkup.running_checkups import Setting, describe, failed, run_checkup

FOLDER = Path(__file__).parent / "broken"
CHECKS = [planned.scenario.name for planned in list_checks()]
RUNS_EVERY_CHECK = os.environ.get("KALATHI_TEST_CHECKUPS") == "every"


def load_broken(name: str) -> type[ModelShop]:
    broken: type[ModelShop] = importlib.import_module(f"tests.checkup.broken.{name}").Broken
    return broken


def test_each_check_has_a_broken_receiver() -> None:
    assert sorted(path.stem for path in FOLDER.glob("[!_]*.py")) == sorted(CHECKS)
    assert len(CHECKS) >= 30


@pytest.mark.parametrize("name", CHECKS)
def test_a_checkup_names_the_check_that_a_broken_receiver_fails(marketplace: Server, name: str) -> None:
    only = () if RUNS_EVERY_CHECK else (name,)
    report = run_checkup(marketplace, load_broken(name), Setting(only=only, patience_seconds=0.8))
    assert failed(report) == [name], describe(report)
    found = next(result for result in report.results if result.id == name)
    assert found.findings
    assert report.exit_status == 1


@pytest.mark.parametrize("name", ["duplicate", "vies", "late_cancellation"])
def test_without_a_probe_a_fault_inside_the_shop_is_not_seen_and_never_passed(marketplace: Server, name: str) -> None:
    report = run_checkup(marketplace, load_broken(name), Setting(only=(name,), has_probe=False, patience_seconds=0.8))
    assert [result.verdict for result in report.results] == [Verdict.NOT_SEEN], describe(report)
    assert report.exit_status == 2
