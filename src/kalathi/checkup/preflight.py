"""The preflight of a checkup: is everything set up? Its findings are never failures of the integration."""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from kalathi.checkup.checking import Terms
from kalathi.checkup.probes import ProbeError
from kalathi.checkup.products import overrides_of, products_of
from kalathi.checkup.stage import Stage
from kalathi.marketplace.sandbox.checks import Claim
from kalathi.marketplace.sandbox.checkup_report import Notice, NoticeKind, Text
from kalathi.marketplace.sandbox.scenario import Scenario

_LOCAL_HOSTS: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_MOST_DRIFT_SECONDS: Final = 60
_SLOW_MILLIS: Final = 10_000
_REFUSED: Final = frozenset({401, 406})


class Preflight:
    """Checks the set-up for one shop. `notices` grows; a `wrong` one stops the run."""

    def __init__(self, stage: Stage, terms: Terms, first_order: Scenario) -> None:
        """`first_order` is the scenario of the order for which the shop's call is awaited."""
        self._stage = stage
        self._terms = terms
        self._first_order = first_order
        self.notices: list[Notice] = []

    async def run(self) -> None:
        """Run the checks, and stop at the first one that is wrong."""
        for step in (
            self._check_probe,
            self._check_clock,
            self._check_receiver,
            self._check_returns,
            self._check_calls,
        ):
            await step()
            if any(notice.kind is NoticeKind.WRONG for notice in self.notices):
                return

    def _note(self, kind: NoticeKind, topic: Any, en: str, el: str) -> None:
        self.notices.append(Notice(kind=kind, topic=topic, text=Text(en, el)))

    async def _check_probe(self) -> None:
        probe = self._terms.probe
        if probe is None:
            return
        uids = [product.uid for product in products_of(self._first_order, self._terms.seed)]
        try:
            answer = await probe.ask("000000-0000000", uids)
        except ProbeError as error:
            self._note(NoticeKind.WRONG, "probe", str(error), str(error))
            return
        if answer.orders:
            self._note(
                NoticeKind.WRONG,
                "probe",
                "The probe shows an order with the code 000000-0000000, which does not exist. It must look for the code.",
                "Το probe δείχνει παραγγελία με κωδικό 000000-0000000, που δεν υπάρχει. Πρέπει να ψάχνει τον κωδικό.",
            )
            return
        missing = [uid for uid in uids if uid not in answer.stock]
        kind = NoticeKind.WARNING if missing else NoticeKind.OK
        self._note(
            kind,
            "probe",
            "The probe answers." + (f" It does not show the stock of {', '.join(missing)}." if missing else ""),
            "Το probe απαντά." + (f" Δεν δείχνει το απόθεμα του {', '.join(missing)}." if missing else ""),
        )

    async def _check_clock(self) -> None:
        moment = datetime.fromisoformat(await self._stage.now())
        drift = (moment - datetime.now(UTC)).total_seconds()
        if abs(drift) <= _MOST_DRIFT_SECONDS:
            self._note(NoticeKind.OK, "clock", "The clocks agree.", "Τα ρολόγια συμφωνούν.")
            return
        hours = drift / 3600
        self._note(
            NoticeKind.WARNING,
            "clock",
            f"The marketplace's clock is {hours:.1f} hours ahead of this machine's. An integration that compares"
            " deadlines with its own clock sees orders of the future. Use a fresh marketplace if that matters.",
            f"Το ρολόι του marketplace είναι {hours:.1f} ώρες μπροστά από αυτού του υπολογιστή. Όποια σύνδεση συγκρίνει"
            " προθεσμίες με το δικό της ρολόι βλέπει παραγγελίες του μέλλοντος. Αν πειράζει, πάρτε νέο marketplace.",
        )

    async def _check_receiver(self) -> None:
        tried = await self._stage.try_webhook()
        self._judge_answer(tried, "receiver")

    async def _check_returns(self) -> None:
        if Claim.RETURNS not in self._terms.claims:
            return
        shop = await self._stage.show_shop()
        if not shop["returns_webhook_url"] or not shop["returns_webhook_enabled"]:
            self._note(
                NoticeKind.WRONG,
                "returns",
                "The claim `returns` needs a URL for return webhooks: give --returns-url.",
                "Για το `returns` χρειάζεται URL για τα webhooks επιστροφών: δώστε --returns-url.",
            )
            return
        self._judge_answer(await self._stage.try_webhook(returns=True), "returns")

    def _judge_answer(self, tried: Mapping[str, Any], topic: Any) -> None:
        """Judge the answer to a harmless event: that of a demo order."""
        url, status = tried["url"], tried["status"]
        if status is None:
            self._note_no_answer(tried, topic)
        elif status in {401, 403}:
            self._note(
                NoticeKind.WRONG,
                topic,
                f"{url} answered with {status}. Does the URL lack its secret, or does the receiver take webhooks only from"
                " the marketplace's published addresses? For a test, allow 127.0.0.1 and the address of this machine.",
                f"Το {url} απάντησε με {status}. Μήπως λείπει το μυστικό από το URL, ή δέχεται webhooks μόνο από τις"
                " δημοσιευμένες διευθύνσεις του marketplace; Για τη δοκιμή επιτρέψτε το 127.0.0.1 και αυτόν τον υπολογιστή.",
            )
        elif status in {404, 405}:
            self._note(
                NoticeKind.WRONG,
                topic,
                f"{url} answered with {status}: there is no handler of POST at this path. Check --webhook-url.",
                f"Το {url} απάντησε με {status}: δεν υπάρχει handler για POST σε αυτό το path. Ελέγξτε το --webhook-url.",
            )
        elif status == 200:
            millis = tried["duration_millis"]
            kind = NoticeKind.WARNING if millis > _SLOW_MILLIS else NoticeKind.OK
            self._note(
                kind,
                topic,
                f"{url} answered a demo order's webhook with 200 in {millis} ms.",
                f"Το {url} απάντησε στο webhook μιας παραγγελίας demo με 200 σε {millis} ms.",
            )
        else:
            self._note(
                NoticeKind.WARNING,
                topic,
                f"{url} answered a demo order's webhook with {status}: {tried['answer'][:200]!r}. Only 200 is a success.",
                f"Το {url} απάντησε στο webhook μιας παραγγελίας demo με {status}: {tried['answer'][:200]!r}. Μόνο το 200"
                " είναι επιτυχία.",
            )

    def _note_no_answer(self, tried: Mapping[str, Any], topic: Any) -> None:
        url, reason = tried["url"], tried["explanation"] or tried["error"]
        host = urlsplit(url).hostname or ""
        hint = Text("Is the integration running?", "Τρέχει η σύνδεση;")
        if host in _LOCAL_HOSTS:
            hint = Text(
                "Is the integration running on this machine? If it runs in a container, publish its port; if the"
                " marketplace runs in a container, use host.docker.internal instead of 127.0.0.1.",
                "Τρέχει η σύνδεση σε αυτόν τον υπολογιστή; Αν τρέχει σε container, δημοσιεύστε τη θύρα της· αν το"
                " marketplace τρέχει σε container, γράψτε host.docker.internal αντί για 127.0.0.1.",
            )
        self._note(
            NoticeKind.WRONG,
            topic,
            f"{url} cannot be reached: {reason}. {hint.en}",
            f"Το {url} δεν απαντά: {reason}. {hint.el}",
        )

    async def _check_calls(self) -> None:
        """Place an order, and wait for the first call of the shop's client."""
        since = await self._stage.now()
        values = overrides_of(self._first_order, self._terms.seed)
        played = await self._stage.play(self._first_order.name, values, 0, 0)
        code, began = played["orders"][0]["code"], time.monotonic()
        known: list[dict[str, Any]] = []

        async def look() -> tuple[Sequence[Mapping[str, Any]], str]:
            found = [call for call in await self._stage.calls_since(since) if call not in known]
            order = await self._stage.operator.order(code)
            return found, order["order"]["state"]

        calls, state = await self._stage.wait_until(
            look, lambda found: found[1] != "open", seconds=self._stage.patience_seconds
        )
        await self._stage.tidy([(code, False)])
        if Claim.ORDERS not in self._terms.claims:
            return
        own = [call for call in calls if call["shop_id"] == self._stage.shop_id]
        if own and state == "accepted":
            self._stage.note_reaction(time.monotonic() - began)
            self._note_first_call(own[-1], time.monotonic() - began)
        elif state == "rejected":
            self._note_rejected(code)
        elif own:
            self._note_unanswered(own, code)
        else:
            self._note_no_call(calls)

    def _note_first_call(self, call: Mapping[str, Any], seconds: float) -> None:
        base, accept = self._stage.operator.url, call["headers"].get("accept", "")
        self._note(
            NoticeKind.OK,
            "callback",
            f"The integration calls {base} with `Accept: {accept}` and the shop's token. It accepted the first order in"
            f" {seconds:.2f} s.",
            f"Η σύνδεση καλεί το {base} με `Accept: {accept}` και το token του καταστήματος. Αποδέχτηκε την πρώτη"
            f" παραγγελία σε {seconds:.2f} s.",
        )

    def _note_rejected(self, code: str) -> None:
        uids = ", ".join(product.uid for product in products_of(self._first_order, self._terms.seed))
        self._note(
            NoticeKind.WRONG,
            "products",
            f"The integration rejected the first order, {code}. Does its system know the product {uids}? Write the"
            " products of this run with --products FILE, import them, and give the same --seed.",
            f"Η σύνδεση απέρριψε την πρώτη παραγγελία, {code}. Ξέρει το σύστημά της το προϊόν {uids}; Γράψτε τα προϊόντα"
            " της εκτέλεσης με --products FILE, περάστε τα και δώστε το ίδιο --seed.",
        )

    def _note_unanswered(self, calls: Sequence[Mapping[str, Any]], code: str) -> None:
        last = calls[-1]
        shown = f"{last['method']} {last['path']} → {last['status']}"
        if last["status"] == 406:
            accept = last["headers"].get("accept", "")
            self._note(
                NoticeKind.WRONG,
                "callback",
                f"The integration calls with `Accept: {accept}`. It must send `application/vnd.skroutz+json; version=3.0`.",
                f"Η σύνδεση καλεί με `Accept: {accept}`. Πρέπει να στέλνει `application/vnd.skroutz+json; version=3.0`.",
            )
            return
        self._note(
            NoticeKind.WRONG,
            "callback",
            f"The integration called us, but did not answer the order {code} within {self._stage.patience_seconds:g} s."
            f" Its last call: {shown}. Does a person answer the orders? Then leave `orders` out of --claims. Does it need"
            " longer? Then give --patience SECONDS. Does it know the products? See --products.",
            f"Η σύνδεση μας κάλεσε, αλλά δεν απάντησε στην παραγγελία {code} μέσα σε {self._stage.patience_seconds:g} s."
            f" Η τελευταία κλήση: {shown}. Απαντάει άνθρωπος στις παραγγελίες; Τότε αφήστε το `orders` έξω από τα"
            " --claims. Θέλει περισσότερο χρόνο; Δώστε --patience SECONDS. Ξέρει τα προϊόντα; Δείτε το --products.",
        )

    def _note_no_call(self, calls: Sequence[Mapping[str, Any]]) -> None:
        base = self._stage.operator.url
        refused = [call for call in calls if call["status"] in _REFUSED]
        if refused:
            last = refused[-1]
            why = "no token" if last["no_shop"] == "no_token" else "a token that this marketplace does not know"
            self._note(
                NoticeKind.WRONG,
                "callback",
                f"Calls arrive ({last['method']} {last['path']}), but with {why}: set the integration's token to that of"
                f" shop {self._stage.shop_id}.",
                f"Κλήσεις φτάνουν ({last['method']} {last['path']}), αλλά χωρίς σωστό token: βάλτε στη σύνδεση το token"
                f" του καταστήματος {self._stage.shop_id}.",
            )
            return
        self._note(
            NoticeKind.WRONG,
            "callback",
            f"No call arrived at {base} within {self._stage.patience_seconds:g} s. Set the integration's base URL to"
            f" {base} (without /merchants/ecommerce if it adds that) and its token to that of shop {self._stage.shop_id}."
            " From a container, 127.0.0.1 is the container itself: use host.docker.internal. From another machine, start"
            " the marketplace with --host 0.0.0.0 and let the firewall pass its port. Does a person answer the orders?"
            " Then leave `orders` out of --claims.",
            f"Καμία κλήση δεν έφτασε στο {base} μέσα σε {self._stage.patience_seconds:g} s. Βάλτε στη σύνδεση base URL"
            f" {base} (χωρίς το /merchants/ecommerce αν το προσθέτει μόνη της) και το token του καταστήματος"
            f" {self._stage.shop_id}. Μέσα από container το 127.0.0.1 είναι το ίδιο το container: γράψτε"
            " host.docker.internal. Από άλλον υπολογιστή, ξεκινήστε το marketplace με --host 0.0.0.0 και ανοίξτε τη θύρα"
            " στο firewall. Απαντάει άνθρωπος στις παραγγελίες; Τότε αφήστε το `orders` έξω από τα --claims.",
        )
