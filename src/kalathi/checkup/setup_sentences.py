"""The sentences of the preflight, in English and in Greek: what is wrong with the set-up, and what to change."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from kalathi.marketplace.sandbox.checkup_report import Text

WANTED_ACCEPT: Final = "application/vnd.skroutz+json; version=3.0"
CLOCKS_AGREE: Final = Text("The clocks agree.", "Τα ρολόγια συμφωνούν.")
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
        f"Το ρολόι του marketplace είναι {hours:.1f} ώρες μπροστά από αυτού του υπολογιστή. Όποια σύνδεση συγκρίνει"
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


def answer_not_found(url: str, status: int) -> Text:
    """Return the finding about a path without a handler."""
    return Text(
        f"{url} answered with {status}: no program handles POST at this path. Check --webhook-url.",
        f"Το {url} απάντησε με {status}: κανένα πρόγραμμα δεν δέχεται POST σε αυτό το path. Ελέγξτε το --webhook-url.",
    )


def answer_accepted(url: str, millis: int) -> Text:
    """Return the finding about a receiver that answers 200."""
    return Text(
        f"{url} answered a demo order's webhook with 200 in {millis} ms.",
        f"Το {url} απάντησε στο webhook μιας παραγγελίας demo με 200 σε {millis} ms.",
    )


def answer_unusual(url: str, status: int, answer: str) -> Text:
    """Return the finding about another status."""
    return Text(
        f"{url} answered a demo order's webhook with {status}: {answer!r}. Only 200 is a success.",
        f"Το {url} απάντησε στο webhook μιας παραγγελίας demo με {status}: {answer!r}. Μόνο το 200 είναι επιτυχία.",
    )


def no_answer(url: str, reason: str, *, is_local: bool) -> Text:
    """Return the finding about a receiver that cannot be reached."""
    hint = Text("Is the integration running?", "Τρέχει η σύνδεση;")
    if is_local:
        hint = Text(
            "Is the integration running on this machine? If it runs in a container, publish its port. If the"
            " marketplace runs in a container, use host.docker.internal instead of 127.0.0.1.",
            "Τρέχει η σύνδεση σε αυτόν τον υπολογιστή; Αν τρέχει σε container, δημοσιεύστε τη θύρα της. Αν το"
            " marketplace τρέχει σε container, γράψτε host.docker.internal αντί για 127.0.0.1.",
        )
    return Text(f"{url} cannot be reached: {reason}. {hint.en}", f"Το {url} δεν απαντά: {reason}. {hint.el}")


def first_call(base: str, accept: str, seconds: float) -> Text:
    """Return the finding about an integration that accepted the first order."""
    return Text(
        f"The integration calls {base} with `Accept: {accept}` and the shop's token. It accepted the first order in"
        f" {seconds:.2f} s.",
        f"Η σύνδεση καλεί το {base} με `Accept: {accept}` και το token του καταστήματος. Αποδέχτηκε την πρώτη"
        f" παραγγελία σε {seconds:.2f} s.",
    )


def first_order_rejected(code: str, uids: Sequence[str]) -> Text:
    """Return the finding about an integration that does not know the products."""
    names = ", ".join(uids)
    return Text(
        f"The integration rejected the first order, {code}. Does its system know the product {names}? Write the"
        " products of this run with --products FILE, import them, and give the same --seed.",
        f"Η σύνδεση απέρριψε την πρώτη παραγγελία, {code}. Ξέρει το σύστημά της το προϊόν {names}; Γράψτε τα προϊόντα"
        " της εκτέλεσης με --products FILE, περάστε τα στο κατάστημα και δώστε το ίδιο --seed.",
    )


def wrong_accept(accept: str) -> Text:
    """Return the finding about a wrong Accept header."""
    return Text(
        f"The integration calls with `Accept: {accept}`. It must send `Accept: {WANTED_ACCEPT}`.",
        f"Η σύνδεση καλεί με `Accept: {accept}`. Πρέπει να στέλνει `Accept: {WANTED_ACCEPT}`.",
    )


def first_order_unanswered(code: str, seconds: float, last: Mapping[str, Any]) -> Text:
    """Return the finding about an integration that calls, but does not answer the order."""
    shown = f"{last['method']} {last['path']} → {last['status']}"
    return Text(
        f"The integration called, but did not answer the order {code} within {seconds:g} s. Its last call: {shown}. If"
        " people answer the orders, leave `orders` out of --claims. If it needs longer, give --patience SECONDS. If it"
        " does not know the products, see --products.",
        f"Η σύνδεση κάλεσε, αλλά δεν απάντησε στην παραγγελία {code} μέσα σε {seconds:g} s. Η τελευταία κλήση: {shown}."
        " Αν στις παραγγελίες απαντούν άνθρωποι, αφήστε το `orders` έξω από τα --claims. Αν θέλει περισσότερο χρόνο,"
        " δώστε --patience SECONDS. Αν δεν ξέρει τα προϊόντα, δείτε το --products.",
    )


def wrong_token(last: Mapping[str, Any], shop_id: str) -> Text:
    """Return the finding about calls without a valid token."""
    has_none = last["no_shop"] == "no_token"
    english = "without a token" if has_none else "with a token that this marketplace does not know"
    greek = "χωρίς token" if has_none else "με token που αυτό το marketplace δεν ξέρει"
    return Text(
        f"Calls arrive ({last['method']} {last['path']}), but {english}. Set the integration's token to that of shop"
        f" {shop_id}.",
        f"Φτάνουν κλήσεις ({last['method']} {last['path']}), αλλά {greek}. Βάλτε στη σύνδεση το token του καταστήματος"
        f" {shop_id}.",
    )


def no_call(base: str, seconds: float, shop_id: str) -> Text:
    """Return the finding about an integration that never calls."""
    return Text(
        f"No call arrived at {base} within {seconds:g} s. Set the integration's base URL to {base}, or to"
        f" {base}/merchants/ecommerce if it needs the whole path, and its token to that of shop {shop_id}. Inside a"
        " container, 127.0.0.1 is the container itself: use host.docker.internal. For another machine, start the"
        " marketplace with --host 0.0.0.0, and open its port in the firewall. If people answer the orders, leave"
        " `orders` out of --claims.",
        f"Καμία κλήση δεν έφτασε στο {base} μέσα σε {seconds:g} s. Βάλτε στη σύνδεση base URL {base}, ή"
        f" {base}/merchants/ecommerce αν θέλει ολόκληρο το path, και το token του καταστήματος {shop_id}. Μέσα από"
        " container, το 127.0.0.1 είναι το ίδιο το container: γράψτε host.docker.internal. Για άλλον υπολογιστή,"
        " ξεκινήστε το marketplace με --host 0.0.0.0 και ανοίξτε τη θύρα του στο firewall. Αν στις παραγγελίες απαντούν"
        " άνθρωποι, αφήστε το `orders` έξω από τα --claims.",
    )
