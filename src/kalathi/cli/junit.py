"""JUnit XML of the results of scenarios and checks, as CI systems read it."""

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Final, NamedTuple
from xml.etree.ElementTree import Element, SubElement, indent, tostring

SCENARIOS: Final = "kalathi scenarios"
# XML 1.0 has no form for these characters.
_IMPOSSIBLE: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Result(StrEnum):
    """The result of a test case."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


class Case(NamedTuple):
    """A scenario or a check as a test case. `reason` says why it failed or was skipped, `webhooks` has a line for each
    webhook."""

    name: str
    result: Result
    reason: str = ""
    webhooks: tuple[str, ...] = ()
    duration_seconds: float = 0.0


def render_junit(cases: Sequence[Case], suite: str = SCENARIOS) -> str:
    """Render the results as one test suite with this name."""
    counts = {
        "tests": str(len(cases)),
        "failures": str(sum(case.result is Result.FAILED for case in cases)),
        "errors": "0",
        "skipped": str(sum(case.result is Result.SKIPPED for case in cases)),
        "time": f"{sum(case.duration_seconds for case in cases):.3f}",
    }
    suites = Element("testsuites", {"name": suite, **counts})
    element = SubElement(suites, "testsuite", {"name": suite, **counts})
    for case in cases:
        _add_case(element, suite, case)
    indent(suites)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(suites, encoding="unicode")}'


def _add_case(parent: Element, suite: str, case: Case) -> None:
    seconds, name = f"{case.duration_seconds:.3f}", suite.replace(" ", ".")
    element = SubElement(parent, "testcase", {"classname": name, "name": case.name, "time": seconds})
    reason = _IMPOSSIBLE.sub("?", case.reason)
    if case.result is Result.FAILED:
        SubElement(element, "failure", {"message": reason}).text = reason
    elif case.result is Result.SKIPPED:
        SubElement(element, "skipped", {"message": reason})
    if case.webhooks:
        SubElement(element, "system-out").text = _IMPOSSIBLE.sub("?", "\n".join(case.webhooks))
