"""Tracking codes: a prefix of the courier, ten digits from the order's own code, and the parcel's place.

Derived, not drawn: an order's code is unique over the marketplace, so its tracking codes are too, and a voucher that
is made twice after a crash carries the same codes.
"""

from typing import Final

from kalathi.contract.words import Courier

_PREFIXES: Final[dict[str, str]] = {
    Courier.SKROUTZ_LAST_MILE: "SLM",
    Courier.ACS: "ACS",
    Courier.SPEEDEX: "SPX",
    Courier.ELTA: "ELT",
    Courier.EASY_MAIL: "EZM",
    Courier.DHL: "DHL",
    Courier.DPD: "DPD",
    Courier.DIAKINISIS: "DKN",
    Courier.DELATOLAS: "DLT",
    Courier.OB_STREEM: "OBS",
    Courier.GENIKI_TAXYDROMIKI: "GTX",
}


def tracking_codes(courier: str, order_code: str, number_of_parcels: int, issued: int = 0) -> tuple[str, ...]:
    """Return one code for each parcel, such as `SLM261124513047401`. A courier that the documentation does not name,
    for example of a shop that ships by itself, gets the first three characters of its own name as prefix. `issued` is
    the number of codes of earlier vouchers; the numbering continues after them."""
    digits = order_code.replace("-", "")
    prefix = _PREFIXES.get(courier) or "".join(filter(str.isalnum, courier))[:3].upper()
    return tuple(f"{prefix}{digits}{parcel:02d}" for parcel in range(issued + 1, issued + number_of_parcels + 1))
