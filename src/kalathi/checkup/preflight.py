"""The preflight of a checkup: is everything set up? Its findings are never failures of the integration."""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from kalathi.checkup import setup_sentences as sentences
from kalathi.checkup.cast import Terms
from kalathi.checkup.probes import ProbeError
from kalathi.checkup.products import overrides_of, products_of
from kalathi.checkup.stage import Stage
from kalathi.marketplace.sandbox.checks import Claim
from kalathi.marketplace.sandbox.checkup_report import Notice, NoticeKind, Text, Topic
from kalathi.marketplace.sandbox.scenario import Scenario

_LOCAL_HOSTS: Final = frozenset({"127.0.0.1", "localhost", "::1"})
# A code that no order has.
_NO_ORDER: Final = "000000-0000000"
_MOST_DRIFT_SECONDS: Final = 60
_SHOWN_CHARACTERS: Final = 200
_REFUSED: Final = frozenset({401, 406})


class Preflight:
    """Checks the set-up for one shop. `notices` grows; a `wrong` one stops the run."""

    def __init__(self, stage: Stage, terms: Terms, first_order: Scenario) -> None:
        """`first_order` is the scenario of the order for which the shop's call is awaited."""
        self._stage = stage
        self._terms = terms
        self._first_order = first_order
        self._uids = [product.uid for product in products_of(first_order, terms.seed)]
        self.notices: list[Notice] = []

    async def run(self) -> None:
        """Run the checks, and stop at the first one that is wrong."""
        steps = (
            self._check_probe,
            self._check_clock,
            self._check_faults,
            self._check_receiver,
            self._check_returns,
            self._check_calls,
        )
        for step in steps:
            await step()
            if any(notice.kind is NoticeKind.WRONG for notice in self.notices):
                return

    def _note(
        self,
        kind: NoticeKind,
        topic: Topic,
        text: Text,
    ) -> None:
        self.notices.append(Notice(kind=kind, topic=topic, text=text))

    async def _check_probe(self) -> None:
        if self._terms.probe is None:
            return
        try:
            answer = await self._terms.probe.ask(_NO_ORDER, self._uids)
        except ProbeError as error:
            self._note(NoticeKind.WRONG, "probe", Text(str(error), str(error)))
            return
        missing = [uid for uid in self._uids if uid not in answer.stock]
        missing += ["`orders`"] if answer.orders is None else []
        if answer.orders:
            self._note(NoticeKind.WRONG, "probe", sentences.probe_finds_everything(_NO_ORDER))
        else:
            kind = NoticeKind.WARNING if missing else NoticeKind.OK
            self._note(kind, "probe", sentences.probe_answers(missing))

    async def _check_clock(self) -> None:
        moment = datetime.fromisoformat(await self._stage.now())
        drift_seconds = (moment - datetime.now(UTC)).total_seconds()
        if drift_seconds <= _MOST_DRIFT_SECONDS:
            self._note(NoticeKind.OK, "clock", sentences.CLOCKS_AGREE)
        else:
            self._note(NoticeKind.WARNING, "clock", sentences.clock_is_ahead(drift_seconds / 3600))

    async def _check_faults(self) -> None:
        faults = await self._stage.operator.faults()
        if faults["rules"] or faults["rough"]:
            self._note(NoticeKind.WARNING, "faults", sentences.FAULTS_ARE_ON)

    async def _check_receiver(self) -> None:
        shop = await self._stage.show_shop()
        if not shop["webhook_url"] or not shop["webhook_enabled"]:
            self._note(NoticeKind.WRONG, "receiver", sentences.no_webhook_url(self._stage.shop_id))
        else:
            self._judge_answer(await self._stage.try_webhook(), "receiver")

    async def _check_returns(self) -> None:
        if Claim.RETURNS not in self._terms.claims:
            return
        shop = await self._stage.show_shop()
        if shop["returns_webhook_url"] and shop["returns_webhook_enabled"]:
            self._judge_answer(await self._stage.try_webhook(returns=True), "returns")
        else:
            self._note(NoticeKind.WRONG, "returns", sentences.NO_RETURNS_URL)

    def _name_token(self) -> Text:
        """Return the name of the token that the integration must use."""
        return sentences.OWN_TOKEN if self._stage.is_own else sentences.token_of_shop(self._stage.shop_id)

    def _judge_answer(self, tried: Mapping[str, Any], topic: Literal["receiver", "returns"]) -> None:
        """Judge the answer to a harmless event: that of a demo order or of the demo return."""
        url, status = tried["url"], tried["status"]
        if status is None:
            is_local = (urlsplit(url).hostname or "") in _LOCAL_HOSTS
            reason = tried["explanation"] or tried["error"]
            self._note(NoticeKind.WRONG, topic, sentences.no_answer(url, reason, is_local=is_local))
        elif status in {401, 403}:
            self._note(NoticeKind.WRONG, topic, sentences.answer_refused(url, status))
        elif status in {404, 405}:
            option = "--returns-url" if topic == "returns" else "--webhook-url"
            self._note(NoticeKind.WRONG, topic, sentences.answer_not_found(url, status, option))
        elif status == 200:
            text = sentences.answer_accepted(url, tried["duration_millis"], is_return=topic == "returns")
            self._note(NoticeKind.OK, topic, text)
        else:
            text = sentences.answer_unusual(url, status, tried["answer"][:_SHOWN_CHARACTERS])
            self._note(NoticeKind.WARNING, topic, text)

    async def _check_calls(self) -> None:
        """Place an order, and wait for the shop's answer and its calls."""
        if Claim.ORDERS not in self._terms.claims:
            return
        since, values = await self._stage.now(), overrides_of(self._first_order, self._terms.seed)
        played = await self._stage.play(self._first_order.name, values, 0, 0)
        code, began = played["orders"][0]["code"], time.monotonic()

        async def look() -> str:
            return str((await self._stage.operator.order(code))["order"]["state"])

        state = await self._stage.wait_until(look, lambda state: state != "open", seconds=self._stage.patience_seconds)
        seconds = time.monotonic() - began
        await self._stage.tidy([code])
        self._judge_calls(code, state, seconds, await self._stage.list_calls(since))

    def _judge_calls(self, code: str, state: str, seconds: float, calls: Sequence[Mapping[str, Any]]) -> None:
        base, shop_id = self._stage.operator.url, self._stage.shop_id
        own = [call for call in calls if call["shop_id"] == shop_id]
        refused = [call for call in calls if call["status"] in _REFUSED]
        if state == "accepted":
            self._stage.note_reaction(seconds)
            text = sentences.first_call(base, own[-1]["headers"].get("accept", "") if own else "", seconds)
            self._note(NoticeKind.OK, "callback", text)
        elif state == "rejected":
            self._note(NoticeKind.WRONG, "products", sentences.first_order_rejected(code, self._uids))
        elif refused and refused[-1]["status"] == 406:
            accept = refused[-1]["headers"].get("accept", "")
            self._note(NoticeKind.WRONG, "callback", sentences.wrong_accept(accept))
        elif own:
            text = sentences.first_order_unanswered(code, self._stage.patience_seconds, own[-1])
            self._note(NoticeKind.WRONG, "callback", text)
        elif refused:
            self._note(NoticeKind.WRONG, "callback", sentences.wrong_token(refused[-1], self._name_token()))
        else:
            text = sentences.no_call(base, self._stage.patience_seconds, self._name_token())
            self._note(NoticeKind.WRONG, "callback", text)
