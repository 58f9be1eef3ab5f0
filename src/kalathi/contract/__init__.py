"""The wire between the marketplace and a shop: structs, word lists and one codec. No input or output happens here.

Both ends import this package. Struct fields stand in the contract's own order. A field that is always sent has a plain
default, which a reader assumes if an older body lacks it; a field that is omitted when it does not apply defaults to
`msgspec.UNSET`.
"""
