"""Named scenarios as data. Each is a file in scenarios/ with its purpose in a sentence, the order that it places, and
the steps that follow. Overrides can change any value by its path. A file can also be a check and a recipe
(docs/checkup.md)."""

import re
import tomllib
from collections.abc import Iterator
from copy import deepcopy
from decimal import Decimal
from difflib import get_close_matches
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Any, Final

import msgspec
from msgspec import Struct, field, structs

from kalathi.marketplace.kernel.errors import invalid_parameter, refuse
from kalathi.marketplace.sandbox.checks import Check, is_expectation
from kalathi.marketplace.sandbox.faults import FaultRule
from kalathi.marketplace.sandbox.refusals import UnknownScenario

_PATH: Final = re.compile(r"(\w+)|\[(\d{1,4})\]")
_WHOLE_PATH: Final = re.compile(r"\w+(?:\.\w+|\[\d{1,4}\])*")
_COMMON: Final = "_common"
# The largest value of `times`, which repeats a line.
_MOST_TIMES: Final = 500


class Recipe(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table `[recipe]` of a scenario: its place in the list of recipes, and its texts in English and Greek. `say`
    and `say_el` have the sentences of steps by their numbers, from 1; other steps have usual ones."""

    place: int
    title: str
    title_el: str
    intro: str
    intro_el: str
    say: dict[str, str] = {}
    say_el: dict[str, str] = {}


class ScenarioGroup(StrEnum):
    """The subjects of scenarios, in the order of the console."""

    ORDERS = "orders"
    ANSWERS = "answers"
    DELIVERY = "delivery"
    DOCUMENTS = "documents"
    RETURNS = "returns"
    PRODUCTS = "products"
    WEBHOOKS = "webhooks"
    BODIES = "bodies"


class Scenario(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One scenario.

    `order` uses the names of the wire (customer, line_items, payment_method, ...). A line item also has the members of
    its listing and its cart item, and the day of a preorder as `preorder_ships_in_days`. Each step has its action as
    `do`, and further members. Texts that begin with @ are paths in the order at the time of the step. Steps with
    `expect` are judged by a check and skipped when the scenario is played. `requires` are the shop settings that the
    scenario needs. `faults` are rules of the shop from before the order is placed until the step `end_faults`.
    """

    name: str = ""
    sentence: str
    group: ScenarioGroup
    order: dict[str, Any]
    steps: list[dict[str, Any]] = field(default_factory=list)
    requires: dict[str, Any] = field(default_factory=dict)
    faults: tuple[FaultRule, ...] = ()
    check: Check | None = None
    recipe: Recipe | None = None


class ScenarioDocument(Scenario, frozen=True, kw_only=True):
    """A scenario with its values by path. Another value can be set at each of these paths."""

    values: dict[str, Any]


@cache
def scenarios() -> dict[str, Scenario]:
    """Return all scenarios by name, sorted by name."""
    folder = resources.files(__package__).joinpath("scenarios")
    files = {
        path.name.removesuffix(".toml"): tomllib.loads(path.read_text("utf-8"), parse_float=Decimal)
        for path in folder.iterdir()
        if path.name.endswith(".toml")
    }
    common = files.pop(_COMMON)
    return {
        name: msgspec.convert({**content, "name": name, "order": {**common, **content["order"]}}, Scenario)
        for name, content in sorted(files.items())
    }


def find_scenario(name: str) -> Scenario:
    """Return the scenario with this name. Raises NOT_FOUND with similar names or all names."""
    found = scenarios().get(name)
    if found is None:
        raise refuse(UnknownScenario(tuple(get_close_matches(name, scenarios(), n=3)), tuple(scenarios())))
    return found


def overridden(scenario: Scenario, values: dict[str, Any]) -> Scenario:
    """Return the scenario with these values at their paths, such as `order.line_items[0].quantity`.

    Raises INVALID_PARAMETER for a path that does not exist.
    """
    content: dict[str, Any] = {"order": deepcopy(scenario.order), "steps": deepcopy(scenario.steps)}
    wrong = [
        f"set.{path[:80]}: there is no such place; paths are such as {', '.join(_paths(scenario))}."
        for path, value in values.items()
        if not _set_value(content, path, value)
    ]
    if wrong:
        raise invalid_parameter(*wrong[:10])
    return msgspec.structs.replace(scenario, **content)


def describe_scenario(scenario: Scenario) -> ScenarioDocument:
    """Return the scenario's document, with the value at each path that can be overridden."""
    # Another value of an expectation would change nothing that is played.
    steps = [{} if is_expectation(step) else step for step in scenario.steps]
    content = {"order": scenario.order, "steps": steps}
    return ScenarioDocument(**structs.asdict(scenario), values=dict(_values_by_path(content)))


def _values_by_path(content: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each value that is not an object or a list, with its path."""
    if isinstance(content, dict):
        for name, entry in content.items():
            yield from _values_by_path(entry, f"{path}.{name}" if path else name)
    elif isinstance(content, list):
        for index, entry in enumerate(content):
            yield from _values_by_path(entry, f"{path}[{index}]")
    else:
        yield path, content


def _paths(scenario: Scenario) -> list[str]:
    """Return a few paths that the scenario has."""
    lines = scenario.order.get("line_items") or [{}]
    names = [name for name in lines[0] if isinstance(name, str)] if isinstance(lines[0], dict) else []
    steps = [f"steps[{index}].{name}" for index, step in enumerate(scenario.steps) for name in step if name != "do"]
    return ["order.comments", *(f"order.line_items[0].{name}" for name in names[:2]), *steps[:2]]


def value_at(content: Any, path: str) -> Any:
    """Return the value at a path. Raises INVALID_PARAMETER if there is none."""
    for name, place in _PATH.findall(path):
        try:
            content = content[int(place)] if place else content[name]
        except (KeyError, IndexError, TypeError):
            raise invalid_parameter(f"The order has nothing at {path}.") from None
    return content


def resolve(value: Any, order: Any) -> Any:
    """Replace each text that begins with @ with the order's value at that path."""
    if isinstance(value, str) and value.startswith("@"):
        return value_at(order, value[1:])
    if isinstance(value, dict):
        return {name: resolve(entry, order) for name, entry in value.items()}
    return [resolve(entry, order) for entry in value] if isinstance(value, list) else value


def read_as(value: Any, wanted: Any, where: str) -> Any:
    """Convert a member of a scenario to a type. Numbers can be given as texts, as on a command line."""
    try:
        return msgspec.convert(value, wanted, strict=False)
    except msgspec.ValidationError as error:
        raise invalid_parameter(f"{where}: {error}.") from None


def lines_of(scenario: Scenario) -> list[dict[str, Any]]:
    """Return the lines of the scenario's order, each repeated `times` times. Copies have their own `shop_uid`."""
    lines: list[dict[str, Any]] = []
    for line in scenario.order.get("line_items", []):
        if not isinstance(line, dict):
            raise invalid_parameter("order.line_items: each is an object.")
        try:
            times = msgspec.convert(line.get("times", 1), int, strict=False)
        except msgspec.ValidationError:
            times = 0
        if not 1 <= times <= _MOST_TIMES:
            raise invalid_parameter(f"order.line_items.times: give a whole number from 1 to {_MOST_TIMES}.")
        one = {name: value for name, value in line.items() if name != "times"}
        lines += [one] if times == 1 else [_copy(one, number) for number in range(1, times + 1)]
    return lines


def _copy(line: dict[str, Any], number: int) -> dict[str, Any]:
    return line | {
        "shop_uid": f"{line.get('shop_uid')}-{number}",
        "product_name": f"{line.get('product_name')} {number}",
    }


def _set_value(content: Any, path: str, value: Any) -> bool:
    """Set the value at a path, and return whether it exists. Objects accept any name, lists an existing index."""
    if not _WHOLE_PATH.fullmatch(path) or not path.startswith(("order.", "steps[")):
        return False
    steps = [int(place) if place else name for name, place in _PATH.findall(path)]
    for step in steps[:-1]:
        if isinstance(content, dict) and isinstance(step, str):
            content = content.setdefault(step, {})
        elif isinstance(content, list) and isinstance(step, int) and step < len(content):
            content = content[step]
        else:
            return False
    last = steps[-1]
    fits = isinstance(content, dict) and isinstance(last, str)
    if fits or (isinstance(content, list) and isinstance(last, int) and last < len(content)):
        content[last] = value
        return True
    return False
