"""The operator's calls of the clock and the sandbox: faults, checkups, recipes, scenarios."""

from typing import Final

from kalathi.marketplace.api import checkups, operator, sandbox
from kalathi.marketplace.api.checkups import TriedWebhook, TryWebhook
from kalathi.marketplace.api.route import Route, operator_route
from kalathi.marketplace.kernel.errors import ErrorCode
from kalathi.marketplace.sandbox.checkup_report import Report
from kalathi.marketplace.sandbox.faults import Faults
from kalathi.marketplace.sandbox.player import Played
from kalathi.marketplace.sandbox.recipes import Progress
from kalathi.marketplace.sandbox.scenario import ScenarioDocument

_SHOP: Final = "/marketplace/shops/{shop_id}"
_E = ErrorCode

# The errors of a scenario's steps.
_E_OF_STEPS: Final = (
    _E.NOT_FOUND,
    _E.ORDER_STATUS,
    _E.ORDER_NOT_ELIGIBLE,
    _E.RESCHEDULE_DATE,
    _E.PICKUP_LOCATION,
    _E.CONFLICT,
    _E.UNAVAILABLE,
)

SANDBOX_ROUTES: Final[tuple[Route, ...]] = (
    operator_route("GET", "/marketplace/clock", operator.show_clock, None, operator.ClockShown),
    operator_route(
        "POST",
        "/marketplace/clock",
        operator.move_clock,
        operator.ClockMove,
        operator.ClockShown,
        _E.UNAVAILABLE,
        sandbox_only=True,
    ),
    operator_route("GET", "/marketplace/faults", sandbox.show_faults, None, sandbox.FaultsShown, sandbox_only=True),
    operator_route("PUT", "/marketplace/faults", sandbox.put_faults, Faults, sandbox.FaultsShown, sandbox_only=True),
    operator_route("GET", f"{_SHOP}/faults", sandbox.show_shop_faults, None, Faults, sandbox_only=True),
    operator_route("PUT", f"{_SHOP}/faults", sandbox.put_shop_faults, Faults, Faults, sandbox_only=True),
    operator_route("DELETE", f"{_SHOP}/faults", sandbox.remove_shop_faults, None, Faults, sandbox_only=True),
    operator_route("POST", f"{_SHOP}/try_webhook", checkups.try_webhook, TryWebhook, TriedWebhook, sandbox_only=True),
    operator_route("GET", f"{_SHOP}/checkup", checkups.show_checkup, None, Report, sandbox_only=True),
    operator_route("PUT", f"{_SHOP}/checkup", checkups.put_checkup, Report, Report, _E.CONFLICT, sandbox_only=True),
    operator_route("GET", f"{_SHOP}/recipes/{{name}}", checkups.show_recipe, None, Progress, sandbox_only=True),
    operator_route(
        "PUT", f"{_SHOP}/recipes/{{name}}", checkups.put_recipe, Progress, Progress, _E.CONFLICT, sandbox_only=True
    ),
    operator_route(
        "GET", "/marketplace/scenarios", sandbox.list_scenarios, None, sandbox.ScenarioList, sandbox_only=True
    ),
    operator_route(
        "GET", "/marketplace/scenarios/{name}", sandbox.show_scenario, None, ScenarioDocument, sandbox_only=True
    ),
    operator_route(
        "POST",
        "/marketplace/scenarios/{name}",
        sandbox.play_scenario,
        sandbox.PlayScenario,
        Played,
        *_E_OF_STEPS,
        status=201,
        sandbox_only=True,
    ),
)
