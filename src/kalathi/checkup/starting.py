"""Start checkups from the marketplace's own page, in the background of its process."""

import asyncio

import structlog

from kalathi.checkup.cast import Terms
from kalathi.checkup.products import new_seed
from kalathi.checkup.running import Run, choose_checks
from kalathi.checkup.stage import Stage, check_sandbox
from kalathi.marketplace.sandbox.checks import Claim
from kalathi.operator_calls import OperatorError
from kalathi.simulation.operator import OperatorClient

_log = structlog.get_logger("kalathi")
_PATIENCE_SECONDS = 5.0


class CheckupStarter:
    """Runs one checkup at a time for each shop in this process, over HTTP as `kalathi checkup` does. The report is
    stored after each check, so the page shows the run while it goes on."""

    def __init__(self, url: str, operator_token: str) -> None:
        self._url = url
        self._token = operator_token
        self._running: dict[str, asyncio.Task[None]] = {}

    async def start(self, shop_id: str) -> None:
        """Start a checkup of the shop, unless one is running. Returns are claimed if the shop has a URL for them."""
        if shop_id not in self._running:
            task = asyncio.create_task(self._run(shop_id))
            self._running[shop_id] = task
            task.add_done_callback(lambda _: self._running.pop(shop_id))

    async def _run(self, shop_id: str) -> None:
        try:
            async with OperatorClient(self._url, self._token) as operator:
                await check_sandbox(operator)
                stage = Stage(operator, shop_id, patience_seconds=_PATIENCE_SECONDS)
                shop = await stage.show_shop()
                has_returns = shop["returns_webhook_url"] and shop["returns_webhook_enabled"]
                claims = {Claim.ORDERS, *([Claim.RETURNS] if has_returns else [])}
                await Run(stage, Terms(frozenset(claims), new_seed(), has_products=False), choose_checks(())).run()
        except OperatorError as error:
            _log.warning("checkup_failed", shop=shop_id, error=str(error))

    async def close(self) -> None:
        """End the running checkups."""
        for task in list(self._running.values()):
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
