"""The sentences of the preflight, in English and in Greek. Each names a mistake in the set-up and its correction."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from kalathi.marketplace.panel.languages import Language, words_of
from kalathi.marketplace.sandbox.checkup_report import Text

WANTED_ACCEPT: Final = "application/vnd.skroutz+json; version=3.0"
CLOCKS_AGREE: Final = Text("The clocks agree.", "Τα ρολόγια συμφωνούν.")
FAULTS_ARE_ON: Final = Text(
    "The marketplace injects faults of its own rules, so a check can fail because of them. Run: kalathi faults clear",
    "Το marketplace προκαλεί βλάβες με δικούς του κανόνες, και ένας έλεγχος μπορεί να αποτύχει γι' αυτό. Τρέξτε:"
    " kalathi faults clear",
)
OWN_TOKEN: Final = Text("the one that the first line of this run names", "αυτό που γράφει η πρώτη γραμμή της εκτέλεσης")
_PEOPLE: Final = Text(
    "If people answer the orders, give --claims none, or the other claims without orders.",
    "Αν στις παραγγελίες απαντούν άνθρωποι, δώστε --claims none, ή τις άλλες δυνατότητες χωρίς orders.",
)
_LONGER: Final = Text(
    "If it needs longer, give --patience SECONDS.", "Αν θέλει περισσότερο χρόνο, δώστε --patience SECONDS."
)
_PRODUCTS: Final = Text(
    "If it must know the products: import those of kalathi checkup --products - --seed SEED, and give the same --seed.",
    "Αν πρέπει να ξέρει τα προϊόντα: περάστε αυτά του kalathi checkup --products - --seed SEED, με το ίδιο --seed.",
)
NO_RETURNS_URL: Final = Text(
    "The claim `returns` needs a URL for return webhooks: give --returns-url.",
    "Για το `returns` χρειάζεται URL για τα webhooks επιστροφών: δώστε --returns-url.",
)


def probe_finds_everything(code: str) -> Text:
    """Return the finding about a probe that shows an order that does not exist."""
    return Text(
        f"The probe shows an order with the code {code}, which does not exist. It must look for the code.",
        f"Το probe δείχνει παραγγελία με κωδικό {code}, που δεν υπάρχει. Πρέπει να ψάχνει τον κωδικό.",
    )


def probe_answers(missing: Sequence[str]) -> Text:
    """Return the finding about a probe that answers, with the products whose stock it does not show."""
    names = ", ".join(missing)
    english = f" It does not show the stock of {names}." if missing else ""
    greek = f" Δεν δείχνει το απόθεμα του {names}." if missing else ""
    return Text(f"The probe answers.{english}", f"Το probe απαντά.{greek}")


def clock_is_ahead(hours: float) -> Text:
    """Return the finding about a marketplace whose clock was moved."""
    return Text(
        f"The marketplace's clock is {hours:.1f} hours ahead of this machine's clock. An integration that compares"
        " deadlines with its own clock sees orders of the future. A fresh marketplace has no difference.",
        f"Το ρολόι του marketplace είναι {hours:.1f} ώρες μπροστά από αυτού του υπολογιστή. Όποια διασύνδεση συγκρίνει"
        " προθεσμίες με το δικό της ρολόι βλέπει παραγγελίες του μέλλοντος. Ένα νέο marketplace δεν έχει διαφορά.",
    )


def answer_refused(url: str, status: int) -> Text:
    """Return the finding about a receiver that answers 401 or 403."""
    return Text(
        f"{url} answered with {status}. Does the URL lack its secret? Or does the receiver accept only the"
        " marketplace's published addresses? For a test, allow 127.0.0.1 and the address of this machine.",
        f"Το {url} απάντησε με {status}. Μήπως λείπει το μυστικό από το URL; Ή δέχεται μόνο τις δημοσιευμένες"
        " διευθύνσεις του marketplace; Για τη δοκιμή επιτρέψτε το 127.0.0.1 και τη διεύθυνση αυτού του υπολογιστή.",
    )


def answer_not_found(url: str, status: int, option: str) -> Text:
    """Return the finding about a path without a handler."""
    return Text(
        f"{url} answered with {status}: no program handles POST at this path. Check {option}.",
        f"Το {url} απάντησε με {status}: κανένα πρόγραμμα δεν δέχεται POST σε αυτό το path. Ελέγξτε το {option}.",
    )


def answer_accepted(url: str, millis: int, *, is_return: bool) -> Text:
    """Return the finding about a receiver that answers 200."""
    subject = Text("return", "επιστροφής") if is_return else Text("order", "παραγγελίας")
    return Text(
        f"{url} answered the webhook of a demo {subject.en} with 200 in {millis} ms.",
        f"Το {url} απάντησε στο webhook μιας δοκιμαστικής {subject.el} με 200 σε {millis} ms.",
    )


def answer_unusual(url: str, status: int, answer: str) -> Text:
    """Return the finding about another status."""
    english, greek = (repr(answer), repr(answer)) if answer else ("an empty answer", "κενή απάντηση")
    return Text(
        f"{url} answered a demo webhook with {status} and {english}. Only 200 is a success.",
        f"Το {url} απάντησε σε δοκιμαστικό webhook με {status} και {greek}. Μόνο το 200 είναι επιτυχία.",
    )


def no_answer(url: str, reason: str, *, is_local: bool) -> Text:
    """Return the finding about a receiver that cannot be reached. The reason is a sentence of the delivery log."""
    greek = words_of(Language.GREEK).text(reason)
    lines = [Text("Is the integration running?", "Τρέχει η διασύνδεση;")]
    if is_local:
        lines += [
            Text("If it runs in a container, publish its port.", "Αν τρέχει σε container, δημοσιεύστε τη θύρα της."),
            Text(
                "If the marketplace runs in a container, use host.docker.internal instead of 127.0.0.1.",
                "Αν το marketplace τρέχει σε container, γράψτε host.docker.internal αντί για 127.0.0.1.",
            ),
        ]
    return _join(Text(f"{url} cannot be reached: {reason}.", f"Το {url} δεν απαντά: {greek}."), lines)


def first_call(base: str, accept: str, seconds: float) -> Text:
    """Return the finding about an integration that accepted the first order."""
    return Text(
        f"The integration calls {base} with `Accept: {accept}` and the shop's token. It accepted the first order in"
        f" {seconds:.2f} s.",
        f"Η διασύνδεση καλεί το {base} με `Accept: {accept}` και το token του καταστήματος. Αποδέχτηκε την πρώτη"
        f" παραγγελία σε {seconds:.2f} s.",
    )


def first_order_rejected(code: str, uids: Sequence[str]) -> Text:
    """Return the finding about an integration that does not know the products."""
    names = ", ".join(uids)
    first = Text(
        f"The integration rejected the first order, {code}. Does its system know the product {names}?",
        f"Η διασύνδεση απέρριψε την πρώτη παραγγελία, {code}. Ξέρει το σύστημά της το προϊόν {names};",
    )
    return _join(first, [_PRODUCTS])


def wrong_accept(accept: str) -> Text:
    """Return the finding about a wrong Accept header."""
    return Text(
        f"The integration calls with `Accept: {accept}`. It must send `Accept: {WANTED_ACCEPT}`.",
        f"Η διασύνδεση καλεί με `Accept: {accept}`. Πρέπει να στέλνει `Accept: {WANTED_ACCEPT}`.",
    )


def first_order_unanswered(code: str, seconds: float, last: Mapping[str, Any]) -> Text:
    """Return the finding about an integration that calls, but does not answer the order."""
    shown = f"{last['method']} {last['path']} → {last['status']}"
    first = Text(
        f"The integration called, but did not answer the order {code} within {seconds:g} s. Its last call: {shown}.",
        f"Η διασύνδεση κάλεσε, αλλά δεν απάντησε στην {code} μέσα σε {seconds:g} s. Τελευταία κλήση: {shown}.",
    )
    return _join(first, [_PEOPLE, _LONGER, _PRODUCTS])


def wrong_token(last: Mapping[str, Any], token: Text) -> Text:
    """Return the finding about calls without a valid token. `token` names the right one."""
    has_none = last["no_shop"] == "no_token"
    english = "without a token" if has_none else "with a token that this marketplace does not know"
    greek = "χωρίς token" if has_none else "με token που αυτό το marketplace δεν ξέρει"
    return Text(
        f"Calls arrive ({last['method']} {last['path']}), but {english}. Set the integration's token to {token.en}.",
        f"Φτάνουν κλήσεις ({last['method']} {last['path']}), αλλά {greek}. Βάλτε στη διασύνδεση {token.el}.",
    )


def no_call(base: str, seconds: float, token: Text) -> Text:
    """Return the finding about an integration that never calls. `token` names the token that it must use."""
    lines = [
        Text(
            f"Set the integration's base URL to {base}, or to {base}/merchants/ecommerce if it needs the whole path.",
            f"Βάλτε στη διασύνδεση base URL {base}, ή {base}/merchants/ecommerce αν θέλει ολόκληρο το path.",
        ),
        Text(f"Set its token to {token.en}.", f"Βάλτε token {token.el}."),
        Text(
            "Inside a container, 127.0.0.1 is the container itself: use host.docker.internal.",
            "Μέσα από container, το 127.0.0.1 είναι το ίδιο το container: γράψτε host.docker.internal.",
        ),
        Text(
            "On another machine: start the marketplace with --host 0.0.0.0, and open its port in the firewall.",
            "Από άλλον υπολογιστή: ξεκινήστε το marketplace με --host 0.0.0.0 και ανοίξτε τη θύρα του στο firewall.",
        ),
        _PEOPLE,
        _LONGER,
    ]
    first = Text(
        f"No call arrived at {base} within {seconds:g} s.", f"Καμία κλήση δεν έφτασε στο {base} μέσα σε {seconds:g} s."
    )
    return _join(first, lines)


def no_webhook_url(shop_id: str) -> Text:
    """Return the finding about a shop without a URL for webhooks, or with its switch off."""
    command = f"kalathi shop edit {shop_id} --webhook-url URL"
    return Text(
        f"Shop {shop_id} has no webhook URL, or its switch is off. Give --webhook-url, or run: {command}",
        f"Το κατάστημα {shop_id} δεν έχει webhook URL, ή είναι κλειστό. Δώστε --webhook-url, ή τρέξτε: {command}",
    )


def token_of_shop(shop_id: str) -> Text:
    """Return the name of the token of a shop."""
    return Text(f"that of shop {shop_id}", f"το token του καταστήματος {shop_id}")


def _join(first: Text, lines: Sequence[Text]) -> Text:
    """Return a sentence, and one line for each thing to check."""
    whole = [first, *lines]
    return Text("\n".join(line.en for line in whole), "\n".join(line.el for line in whole))
