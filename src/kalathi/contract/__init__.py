"""The wire format between the marketplace and a shop: structs, word lists and one codec. This package does no I/O.

Both sides import it. Struct fields are in the contract's order. A field that is always sent has a plain default, which
a reader uses if an older body lacks the field. A field that is omitted when it does not apply defaults to
`msgspec.UNSET`.
"""
