"""The tables of the pages: people, sessions, notes, and the figures of the overviews. The others are in schema.py."""

from sqlalchemy import Column, Index, PrimaryKeyConstraint

from kalathi.marketplace.kernel.storage.tables import INTEGER, TEXT, blob, integer, table, text

# The users of the pages. The shop_id of people who work for the marketplace is empty. Names are unique in the whole
# marketplace in their folded form.
table(
    "people",
    text("shop_id"),
    text("person_id"),
    text("name"),
    text("folded"),
    text("role"),
    text("password_hash"),
    integer("created_at"),
    PrimaryKeyConstraint("shop_id", "person_id"),
    Index("people_by_name", "folded", unique=True),
    small_rows=False,
)
# Links for new people and for new passwords, each for one use; real time.
table(
    "invitations",
    blob("token_hash"),
    text("shop_id"),
    text("role"),
    text("person_id"),
    text("invited_by"),
    integer("expires_at"),
    PrimaryKeyConstraint("token_hash"),
    Index("invitations_by_shop", "shop_id"),
)
# The actions of people and of the operator's API, except those in timelines; business time.
table(
    "history",
    text("shop_id"),
    integer("at"),
    text("entry"),
    text("actor"),
    text("action"),
    text("subject"),
    PrimaryKeyConstraint("shop_id", "at", "entry"),
)
# Additional tokens of a shop, if the setting `extra_api_tokens` is on. The uses are of all API tokens; real time.
table(
    "extra_tokens",
    blob("token_hash"),
    text("shop_id"),
    text("name"),
    integer("created_at"),
    PrimaryKeyConstraint("token_hash"),
    Index("extra_tokens_by_shop", "shop_id", "name", unique=True),
)
table("token_uses", blob("token_hash"), integer("at"), PrimaryKeyConstraint("token_hash"))
# Sessions of the pages. A session ends with its person or with the token that it began with, or at a real time. In a
# sandbox, the operator's session may have a shop open. The place is the shop_id of the session's person.
table(
    "sessions",
    blob("session_hash"),
    blob("token_hash"),
    integer("expires_at"),
    Column("opened_shop_id", TEXT),
    Column("place", TEXT),
    Column("person_id", TEXT),
    Column("began_at", INTEGER, nullable=False, server_default="0"),
    Column("seen_at", INTEGER, nullable=False, server_default="0"),
    Column("browser", TEXT, nullable=False, server_default=""),
    PrimaryKeyConstraint("session_hash"),
    Index("sessions_by_token", "token_hash", "expires_at"),
)
# Sign-in links that have been used, until they expire; real time.
table("used_links", blob("link_hash"), integer("expires_at"), PrimaryKeyConstraint("link_hash"))
# Notes of a shop's employees on an order, and their saved filters of the list.
table(
    "order_notes",
    text("shop_id"),
    text("code"),
    integer("number"),
    integer("at"),
    text("text"),
    PrimaryKeyConstraint("shop_id", "code", "number"),
    small_rows=False,
)
table("saved_views", text("shop_id"), text("name"), text("query"), PrimaryKeyConstraint("shop_id", "name"))
# Transitions that the figures do not count yet (figures/folding.py). `before` is empty for a new order, and the same as
# `after` for a transition of an earlier version, which the migration has counted.
table(
    "moves",
    text("shop_id"),
    text("code"),
    integer("version"),
    integer("at"),
    text("event"),
    text("before"),
    text("after"),
    PrimaryKeyConstraint("shop_id", "code", "version"),
)
# Numbers of each day in Athens, such as the orders that were placed; and the number of orders in each state.
table(
    "day_figures",
    text("shop_id"),
    text("name"),
    text("day"),
    integer("value"),
    PrimaryKeyConstraint("shop_id", "name", "day"),
)
table("state_counts", text("shop_id"), text("state"), integer("value"), PrimaryKeyConstraint("shop_id", "state"))
# The deliveries of each minute by process, as a JSON document; real time.
table(
    "delivery_minutes",
    integer("minute"),
    text("writer"),
    blob("document"),
    PrimaryKeyConstraint("minute", "writer"),
    small_rows=False,
)
