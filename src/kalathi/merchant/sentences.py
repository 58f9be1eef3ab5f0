"""The lines that the connector prints for a person."""

from kalathi.contract.orders import Order
from kalathi.merchant.decisions import Accept, Decision, LeaveToPerson, Nothing, Reject
from kalathi.merchant.return_decisions import ReturnDecision, Review, WaitForPerson


def describe_answer(order: Order, decision: Decision) -> str:
    """Describe the answer that was sent."""
    if isinstance(decision, Accept):
        window = "" if decision.pickup_window is None else f", window {_window(order, decision.pickup_window)}"
        return f"accepted {order.code}: all in stock{window}, {decision.number_of_parcels} parcel"
    lines = decision.lines if isinstance(decision, Reject) else ()
    return f"rejected {order.code}: {', '.join(_show_line(order, line.id, line.available_quantity) for line in lines)}"


def would_answer(order: Order, decision: Decision) -> str:
    """Describe the answer that a dry run would send, and the reason."""
    match decision:
        case LeaveToPerson(reason):
            return f"leave {order.code} to a person: {reason}"
        case Nothing():
            return f"leave {order.code} alone"
    return describe_answer(order, decision).replace("accepted", "accept", 1).replace("rejected", "reject", 1)


def would_review(return_code: str, decision: ReturnDecision) -> str:
    """Describe the review that a dry run would send, and the reason."""
    match decision:
        case WaitForPerson(reason):
            return f"leave {return_code} to a person: {reason}"
        case Review(option):
            return f"review {return_code}: {option}"
    return f"leave {return_code} alone"


def _window(order: Order, window_id: int) -> str:
    """Return the label of a window on offer, such as `15:00 - 18:00, Τρί 03/12/19`, or its number without a label."""
    offered = order.accept_options.pickup_window if order.accept_options else []
    return next((window.label for window in offered if window.id == window_id and window.label), str(window_id))


def _show_line(order: Order, line_id: str | int, available: int | str | None) -> str:
    line = next(line for line in order.line_items if line.id == line_id)
    return f"{line.product_name}: {available or 0} of {line.quantity} available"
