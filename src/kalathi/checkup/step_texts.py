"""The usual sentences of a recipe's steps, in English and in Greek. A recipe can have other sentences for its steps."""

from collections.abc import Mapping
from typing import Any, Final

from kalathi.marketplace.sandbox.checks import (
    Answered,
    AnyExpectation,
    Called,
    InShop,
    Published,
    Reached,
    Sent,
    is_expectation,
    is_waited_for,
    read_expectation,
)
from kalathi.marketplace.sandbox.checkup_report import Text
from kalathi.marketplace.sandbox.recipes import Turn
from kalathi.marketplace.sandbox.scenario import Recipe

PLACED: Final = Text(
    "A customer buys, and the marketplace sends you new_order.",
    "Ένας πελάτης αγοράζει, και το marketplace στέλνει new_order.",
)
_STEPS: Final[Mapping[str, Text]] = {
    "accept": Text("Accept the order.", "Αποδεχτείτε την παραγγελία."),
    "reject": Text("Reject the lines that you cannot send.", "Απορρίψτε τις γραμμές που δεν μπορείτε να στείλετε."),
    "review": Text("Review the return request.", "Ελέγξτε το αίτημα επιστροφής."),
    "set_as_ready": Text("Mark the parcel as ready.", "Δηλώστε ότι το δέμα είναι έτοιμο."),
    "tracking_details": Text("Send the tracking details.", "Στείλτε τα στοιχεία αποστολής."),
    "advance": Text("Time passes.", "Περνάει λίγη ώρα."),
    "hand_over": Text("The courier collects the parcel.", "Ο courier παραλαμβάνει το δέμα."),
    "deliver": Text("The customer receives the parcel.", "Ο πελάτης παραλαμβάνει το δέμα."),
    "collect": Text("The customer collects the order from the store.", "Ο πελάτης παραλαμβάνει από το κατάστημα."),
    "cancel": Text("The customer cancels the order.", "Ο πελάτης ακυρώνει την παραγγελία."),
    "set_stock": Text("The feed sets an old number of pieces.", "Το XML δίνει έναν παλιό αριθμό τεμαχίων."),
    "scan": Text("The marketplace begins to read your XML feed.", "Το marketplace αρχίζει να διαβάζει το XML σας."),
    "end_scan": Text("The marketplace has read your XML feed.", "Το marketplace διάβασε το XML σας."),
    "end_faults": Text("The fault is over.", "Η βλάβη τελείωσε."),
    "ask_return": Text("The customer asks to return a product.", "Ο πελάτης ζητά να επιστρέψει ένα προϊόν."),
    "arrive": Text("The parcel arrives at your store.", "Το δέμα φτάνει στο κατάστημα."),
    "inspect": Text("Your store inspects the product.", "Το κατάστημα ελέγχει το προϊόν."),
}
_BY_HAND: Final = Text(
    "An employee accepts the order by hand, on the marketplace's pages.",
    "Ένας υπάλληλος αποδέχεται την παραγγελία με το χέρι, στις σελίδες του marketplace.",
)
_ON_RETURN: Final = Text("The courier collects the returned parcel.", "Ο courier παραλαμβάνει το δέμα της επιστροφής.")


def turn_of(step: Mapping[str, Any]) -> Turn:
    """Return whose turn a step is."""
    if is_expectation(step):
        return Turn.CHECK
    return Turn.SHOP if is_waited_for(step) or step.get("do") == "confirm" else Turn.MARKETPLACE


def say_step(recipe: Recipe, number: int, step: Mapping[str, Any]) -> Text:
    """Return the sentence of a step. Numbers are from 0 here."""
    own = str(number + 1)
    if own in recipe.say:
        return Text(recipe.say[own], recipe.say_el[own])
    if is_expectation(step):
        return _say_expectation(read_expectation(step))
    word = str(step.get("do"))
    if word == "accept" and "by" in step:
        return _BY_HAND
    if word == "hand_over" and step.get("on") == "return":
        return _ON_RETURN
    return _STEPS.get(word, Text(f"The marketplace runs {word}.", f"Το marketplace εκτελεί {word}."))


def _say_expectation(expectation: AnyExpectation) -> Text:
    match expectation:
        case Answered():
            return Text("You answered every webhook with 200.", "Απαντήσατε σε κάθε webhook με 200.")
        case Reached():
            return Text(f"The order is {expectation.state}.", f"Η παραγγελία είναι {expectation.state}.")
        case Called():
            return _say_calls(expectation)
        case Sent():
            return Text(
                f"Your call {expectation.call} named the right values.",
                f"Η κλήση {expectation.call} έχει τις σωστές τιμές.",
            )
        case InShop():
            return _say_shop(expectation)
        case Published():
            return Text(
                "You published the stock and the price of the product.",
                "Ενημερώσατε το απόθεμα και την τιμή του προϊόντος.",
            )


def _say_calls(expectation: Called) -> Text:
    call = expectation.call
    if expectation.most == 0:
        return Text(f"You did not call {call}.", f"Δεν καλέσατε {call}.")
    if expectation.least and expectation.most is None:
        return Text(f"You called {call}.", f"Καλέσατε {call}.")
    if not expectation.least:
        return Text(f"You called {call} at most once.", f"Καλέσατε {call} το πολύ μία φορά.")
    return Text(f"You called {call} once.", f"Καλέσατε {call} μία φορά.")


def _say_shop(expectation: InShop) -> Text:
    english, greek = ["Your system shows the order correctly:"], ["Το σύστημά σας δείχνει σωστά την παραγγελία:"]
    if expectation.orders is not None:
        english.append(f"{expectation.orders} order")
        greek.append(f"{expectation.orders} παραγγελία")
    if expectation.state:
        english.append(f"state {' or '.join(expectation.state)}")
        greek.append(f"κατάσταση {' ή '.join(expectation.state)}")
    if expectation.total is not None:
        english.append(f"total {expectation.total:.2f} €")
        greek.append(f"σύνολο {expectation.total:.2f} €")
    for moved in (expectation.stock or {}).values():
        english.append(f"stock changed by {moved}")
        greek.append(f"μεταβολή αποθέματος {moved}")
    return Text(f"{english[0]} {', '.join(english[1:])}.", f"{greek[0]} {', '.join(greek[1:])}.")
