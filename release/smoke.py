"""Accept one order with the SDK against a marketplace, both from the installed package. Prints the voucher's size.

    python smoke.py

It needs the extra `server`. The release and the workflow of a forge run it in an empty environment, outside of the
checkout, on every system.
"""

from kalathi.merchant import Client
from kalathi.testing import Kalathi


def main() -> None:
    """Place an order, accept it, and download its voucher."""
    with Kalathi.start() as kalathi, Client(kalathi.url, kalathi.token) as client:
        kalathi.add_listing("BOOK-1", quantity=10, unit_price=14.90)
        placed = kalathi.place({"BOOK-1": 2})
        options = client.order(placed.code).accept_options
        if not options:
            raise SystemExit("The order has no accept_options.")
        client.accept(placed.code, options.pickup_location[0].id, options.pickup_window[0].id)
        kalathi.clock.advance(seconds=5)
        voucher = client.download(client.order(placed.code).courier_voucher or "")
        if not voucher.startswith(b"%PDF"):
            raise SystemExit("The voucher is no PDF.")
        print(f"Order {placed.code}: {placed.state()}, a voucher of {len(voucher)} bytes.")


if __name__ == "__main__":
    main()
