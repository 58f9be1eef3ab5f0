"""The sentences of findings, in English and in Greek."""

from collections.abc import Sequence
from typing import Any

from kalathi.marketplace.sandbox.checkup_report import Text


def webhook_answered(event: str, *, exactly: bool) -> Text:
    """Return the expectation of an answered webhook: with exactly 200, or with any success."""
    status = Text("exactly 200", "ακριβώς 200") if exactly else Text("success", "επιτυχία")
    return Text(
        f"{event} is answered with {status.en} within the time limit",
        f"η διασύνδεση απαντά στο {event} με {status.el} μέσα στο χρονικό όριο",
    )


def webhook_in_time(event: str, seconds: float) -> Text:
    """Return the expectation of a quick answer."""
    return Text(
        f"{event} is answered within {seconds:g} s, well before the limit",
        f"η διασύνδεση απαντά στο {event} μέσα σε {seconds:g} s, αρκετά πριν από το όριο",
    )


def time_seen(seconds: float) -> Text:
    """Return the time of an answer."""
    return Text(f"it took {seconds:.1f} s", f"πήρε {seconds:.1f} s")


def webhook_seen(attempt: dict[str, Any] | None, attempts: int) -> Text:
    """Return the outcome of a webhook that was not accepted."""
    if attempt is None:
        return Text("it was not sent", "δεν στάλθηκε")
    times = Text(f" ({attempts} attempts)", f" ({attempts} προσπάθειες)") if attempts > 1 else Text("", "")
    if attempt["status"] is None:
        reason = attempt["explanation"] or attempt["error"]
        return Text(f"no answer: {reason}{times.en}", f"καμία απάντηση: {reason}{times.el}")
    status = attempt["status"]
    return Text(f"it was answered with {status}{times.en}", f"η απάντηση ήταν {status}{times.el}")


def state_reached(code: str, state: str) -> Text:
    """Return the expectation of a state."""
    return Text(f"{code} becomes {state}", f"η {code} γίνεται {state}")


def state_seen(state: str, waited_seconds: float) -> Text:
    """Return the state after the wait."""
    return Text(f"after {waited_seconds:.1f} s it is {state}", f"μετά από {waited_seconds:.1f} s είναι {state}")


def count_expected(call: str, least: int, most: int | None, status: str) -> Text:
    """Return the expectation of a number of calls."""
    answered = Text(f" answered with {status}", f" με απάντηση {status}") if status else Text("", "")
    if most is not None and 0 < least < most:
        calls = Text(f"{least} to {most} calls {call}", f"{least} έως {most} κλήσεις {call}")
        return Text(f"{calls.en}{answered.en}", f"{calls.el}{answered.el}")
    limit = Text("at least ", "τουλάχιστον ") if most is None else Text("at most ", "το πολύ ")
    if most in {0, least}:
        limit = Text("", "")
    calls = _count_calls(least if most is None else most, call)
    return Text(f"{limit.en}{calls.en}{answered.en}", f"{limit.el}{calls.el}{answered.el}")


def count_seen(call: str, count: int, statuses: Sequence[object]) -> Text:
    """Return the number of calls, with the statuses of all calls of this name."""
    calls, shown = _count_calls(count, call), _list_statuses(statuses)
    english = f" (all answers: {shown.en})" if statuses else ""
    greek = f" (όλες οι απαντήσεις: {shown.el})" if statuses else ""
    return Text(f"{calls.en}{english}", f"{calls.el}{greek}")


def pause_expected(call: str, seconds: float) -> Text:
    """Return the expectation of a pause between calls."""
    return Text(f"{seconds:g} s or more between two calls {call}", f"{seconds:g} s ή περισσότερο ανάμεσα σε δύο {call}")


def pause_seen(seconds: float) -> Text:
    """Return the shortest pause."""
    return Text(f"{seconds:.2f} s", f"{seconds:.2f} s")


def member_expected(call: str, path: str, value: object) -> Text:
    """Return the expectation of a value in the body of a call."""
    return Text(f"the call {call} has {path} = {value}", f"η κλήση {call} έχει {path} = {value}")


def member_seen(value: object) -> Text:
    """Return the value in the body of a call."""
    if value is None:
        return Text("it is missing", "λείπει")
    return Text(f"it is {value}", f"είναι {value}")


def in_shop(name: str, value: object) -> Text:
    """Return the expectation of a value in the shop's own system. The stock has its product after the name."""
    kind, _, product = name.partition(" ")
    of_product = f" {product}" if product else ""
    return Text(
        f"in the shop: {_NAMES[kind].en}{of_product} {value}", f"στο κατάστημα: {_NAMES[kind].el}{of_product} {value}"
    )


def seen_in_shop(value: str) -> Text:
    """Return the value in the shop's own system."""
    return Text(f"the probe shows {value or 'nothing'}", f"το probe δείχνει {value or 'τίποτα'}")


_NAMES = {
    "orders": Text("orders with this code:", "παραγγελίες με αυτόν τον κωδικό:"),
    "state": Text("the order is", "η παραγγελία είναι"),
    "total": Text("the total is", "το σύνολο είναι"),
    "stock": Text("change of the pieces of", "μεταβολή τεμαχίων του"),
    "tracking_codes": Text("tracking codes", "κωδικοί αποστολής"),
    "customer": Text("the customer is", "ο πελάτης είναι"),
}


def shop_did_not(call: str, seconds: float, statuses: Sequence[object]) -> Text:
    """Return the finding that the shop did not act in time, with the answers to the calls that it made."""
    if not statuses:
        return Text(f"no call {call} within {seconds:.0f} s", f"καμία κλήση {call} μέσα σε {seconds:.0f} s")
    shown = _list_statuses(statuses)
    return Text(
        f"{call} was answered with {shown.en}, and no further call succeeded within {seconds:.0f} s",
        f"το {call} πήρε απάντηση {shown.el}, και καμία άλλη κλήση δεν πέτυχε μέσα σε {seconds:.0f} s",
    )


def shop_acts(action: str) -> Text:
    """Return the expectation that the shop acts."""
    return Text(f"the shop's call {action} succeeds", f"η κλήση {action} του καταστήματος πετυχαίνει")


def shop_answered_otherwise(state: str, reason: str, scarce: Sequence[str]) -> Text:
    """Return the finding that the shop gave another answer than expected. `scarce` are the products of which it should
    have few pieces."""
    shown = f" ({reason})" if reason else ""
    names = ", ".join(scarce)
    english = f", although the shop has few pieces of {names}" if scarce else ""
    greek = f", αν και το κατάστημα έχει λίγα τεμάχια από το {names}" if scarce else ""
    return Text(f"the order is {state}{shown}{english}", f"η παραγγελία είναι {state}{shown}{greek}")


def price_expected(product: str, cents: int) -> Text:
    """Return the expectation of a published product."""
    return Text(
        f"a batch with {product} and the price {cents} (whole cents) is accepted",
        f"γίνεται δεκτή ενημέρωση με το {product} και τιμή {cents} (ακέραια λεπτά)",
    )


def price_seen(price: object, cents: int) -> Text:
    """Return the price of an accepted batch."""
    if price == cents // 100:
        return Text(f"the price is {price}, which is in euros", f"η τιμή είναι {price}, δηλαδή σε ευρώ")
    return Text(f"the price is {price}", f"η τιμή είναι {price}")


def product_not_named(batches: int) -> Text:
    """Return the finding that no batch has the product."""
    if not batches:
        return Text("no batch was sent", "δεν στάλθηκε καμία ενημέρωση")
    return Text(f"none of the {batches} batches names it", f"καμία από τις {batches} ενημερώσεις δεν το περιέχει")


def batch_refused(status: object, messages: Sequence[str]) -> Text:
    """Return the answer to the last batch with the product."""
    reason = f": {'; '.join(messages[:3])}" if messages else ""
    return Text(f"the batch was answered with {status}{reason}", f"η ενημέρωση πήρε απάντηση {status}{reason}")


def repeats_expected(most: int) -> Text:
    """Return the expectation of few equal batches."""
    return Text(
        f"at most {most} batches repeat the one before them",
        f"το πολύ {most} ενημερώσεις επαναλαμβάνουν την προηγούμενη",
    )


def repeats_seen(count: int) -> Text:
    """Return the number of equal batches."""
    return Text(f"{count} did", f"την επανέλαβαν {count}")


def results_not_read(batch_id: str) -> Text:
    """Return the finding that the status of a batch was not read."""
    return Text(
        f"the status of batch {batch_id} was never read", f"κανείς δεν διάβασε το αποτέλεσμα της ενημέρωσης {batch_id}"
    )


def batch_may_follow(seconds: float) -> Text:
    """Return the reason why a check after a scan cannot be judged yet."""
    return Text(
        f"No batch has followed the scan yet. It may come later: repeat with --patience {seconds:g}.",
        f"Μετά την ανάγνωση του XML δεν ήρθε ακόμη ενημέρωση. Μπορεί να έρθει αργότερα: επαναλάβετε με --patience"
        f" {seconds:g}.",
    )


RESULTS_READ = Text("the status of each batch is read", "το σύστημα διαβάζει το αποτέλεσμα κάθε ενημέρωσης")
BATCH_FOLLOWS = Text(
    "after the scan, a batch with the newest number is accepted",
    "μετά την ανάγνωση του XML γίνεται δεκτή ενημέρωση με τον νεότερο αριθμό",
)
NO_BATCH_FOLLOWED = Text("none was sent", "δεν στάλθηκε καμία")
NO_BATCH_DURING_SCAN = Text(
    "No batch was sent while the feed was scanned.", "Δεν στάλθηκε ενημέρωση όσο διαβαζόταν το XML."
)
NO_PROBE = Text(
    "Only the shop's own system shows this: give a probe (--probe).",
    "Αυτό φαίνεται μόνο στο σύστημα του καταστήματος: δώστε ένα probe (--probe).",
)
NOT_CLAIMED = Text("This ability is not claimed.", "Αυτή η δυνατότητα δεν δηλώθηκε.")


def needs_other(check: str) -> Text:
    """Return the reason of a check that needs another one."""
    return Text(f"It needs {check}, which did not pass.", f"Προϋποθέτει το {check}, που δεν πέρασε.")


def probe_lacks(name: str) -> Text:
    """Return the reason of an expectation whose value the probe does not show."""
    return Text(f"The probe does not show `{name}`.", f"Το probe δεν δείχνει το `{name}`.")


STOPPED = Text(
    "The integration was silent in three checks in a row, so the checkup stopped.",
    "Η διασύνδεση δεν απάντησε σε τρεις ελέγχους στη σειρά, οπότε ο έλεγχος σταμάτησε.",
)
INTERRUPTED = Text("The checkup was interrupted.", "Ο έλεγχος διακόπηκε.")
STEP_POSSIBLE = Text("the next step of the check is possible", "το επόμενο βήμα του ελέγχου είναι δυνατό")


def marketplace_left(sentence: str) -> Text:
    """Return the reason of a run whose marketplace stopped answering."""
    return Text(f"The checkup stopped: {sentence}", f"Ο έλεγχος σταμάτησε: {sentence}")


def products_unknown(uids: Sequence[str], seed: str) -> Text:
    """Return the reason of a check that needs a product with few pieces."""
    names = ", ".join(uids)
    command = f"kalathi checkup --products - --seed {seed}"
    return Text(
        f"The shop accepted the order, so it does not know how few pieces it has of {names}. Import the products of"
        f" {command}, and repeat with --seed {seed}.",
        f"Το κατάστημα αποδέχτηκε την παραγγελία, άρα δεν ξέρει πόσο λίγα τεμάχια έχει από το {names}. Περάστε τα"
        f" προϊόντα του {command} και επαναλάβετε με --seed {seed}.",
    )


def _list_statuses(statuses: Sequence[object]) -> Text:
    shown = list(statuses[:8])
    return Text(
        ", ".join(str(status or "no answer") for status in shown),
        ", ".join(str(status or "καμία απάντηση") for status in shown),
    )


def _count_calls(count: int, call: str) -> Text:
    if count == 0:
        return Text(f"no call {call}", f"καμία κλήση {call}")
    if count == 1:
        return Text(f"one call {call}", f"μία κλήση {call}")
    return Text(f"{count} calls {call}", f"{count} κλήσεις {call}")
