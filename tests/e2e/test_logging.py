"""Logs: one JSON object a line, or short lines for people, from a level on."""

import json
import re
import subprocess
import sys

import pytest

_SCRIPT = """
import structlog
from kalathi.serving import start_logging
start_logging({level!r}, {form!r})
log = structlog.get_logger("kalathi.test")
log.info("delivered", shop_id="s1", text="a\\nb\\x1b[31m", nothing=None)
log.warning("slow", seconds=3)
try:
    1 / 0
except ZeroDivisionError:
    log.exception("broken")
"""


def _run(level: str, form: str, **variables: str) -> list[str]:
    script = _SCRIPT.format(level=level, form=form)
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=variables)
    assert result.stdout == ""
    return result.stderr.splitlines()


def test_json_is_one_object_a_line_outside_of_a_terminal() -> None:
    lines = [json.loads(line) for line in _run("", "")]
    assert [(line["level"], line["event"]) for line in lines] == [
        ("info", "delivered"),
        ("warning", "slow"),
        ("error", "broken"),
    ]
    assert "ZeroDivisionError" in lines[2]["exception"]


def test_short_lines_have_time_event_and_facts_and_no_control_characters() -> None:
    lines = _run("info", "short")
    assert re.fullmatch(r"\d\d:\d\d:\d\d delivered shop_id=s1 text=a\?b\?\[31m", lines[0])
    assert re.fullmatch(r"\d\d:\d\d:\d\d WARNING slow seconds=3", lines[1])
    assert re.fullmatch(r"\d\d:\d\d:\d\d ERROR broken", lines[2])
    assert lines[-1] == "ZeroDivisionError: division by zero"


@pytest.mark.parametrize(("level", "events"), [("warning", ["slow", "broken"]), ("error", ["broken"])])
def test_lower_levels_are_left_out(level: str, events: list[str]) -> None:
    assert [json.loads(line)["event"] for line in _run(level, "json")] == events


def test_the_variables_choose_for_the_connector() -> None:
    lines = _run("", "", KALATHI_LOG_FORMAT="short", KALATHI_LOG_LEVEL="error")
    assert lines[0].endswith("ERROR broken")
