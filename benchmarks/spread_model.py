"""Load of the nodes of a spread database (docs/scale.md), calculated from measured costs. No database is used.

*Entry* is the PostgreSQL server that the program is connected to: it plans each statement and sends it to the node of
the shop. Either one machine of its own is the entry (the coordinator), or each node is an entry for its share of the
connections.

Assumptions, beside those of spread_traffic.py. All numbers are in spread_costs.json.

- *Time*: all operations of an order happen in the minute in which it is placed. In reality they follow over days, so
  the real peak is lower.
- *Orders*: each order is placed, read, accepted or rejected, and has webhooks. Each rejected order has a replacement
  order of the same shop, which has all operations again. Rejecting costs the same as accepting.
- *Lists*: each shop reads its list every few minutes. The operator's lists read all nodes.
- *Place of the work*: all work for an order is on its shop's node. In reality, the cart and the code of an order
  (`directory`) may be on two other nodes.
- *Costs* do not rise with the load, the number of nodes or the amount of data, and a node's cores share the work
  evenly. An accept stays on one node.
- *Latency*: an accept waits for a free core at the entry and at the node as in a queue with random arrivals (M/M/c),
  and a fixed time for network and disk. The 95th percentiles of the parts are added, which is too much rather than too
  little.
- *Disk*: webhooks and their attempts are deleted after some days, orders and vouchers are kept. The limit counts the
  data of the day on which the first webhooks are deleted; later it grows more slowly. The size of a disk is a choice.
  Temporary files, WAL and the copies of moving shards use the part that stays free.
- *Connections*: each process of the program has some. Each of them may open one from its entry to each node. There are
  as many processes as the program's work in the peak hour needs.
- *Worker*: a shard belongs to one worker process (docs/decisions/0056-shards.md), which uses at most one core. So the
  largest shop's shard has a limit of its own. All other work of the program is spread over as many processes as needed.
- *Limit*: a resource is full when this part of it is used (`utilisation_limit`).
- *Left out*: locks of rows that many orders change (the stock of one product), bandwidth of disks and network, memory,
  standbys, and backups.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from spread_traffic import PEAK_MINUTES, Day, sum_by_node

COSTS: Final = Path(__file__).with_name("spread_costs.json")
_OPERATIONS: Final = ("place", "get", "accept", "deliver", "shop_list", "operator_list")
# ln 20: one of twenty values of an exponential distribution is more than three times the mean.
_LOG_20: Final = math.log(20)
ENTRY, NODE, DISK, CONNECTIONS = "entry", "node", "disk", "connections"
# The busiest node, if most of its work is for the largest shop's shard; and the worker of this shard.
HOT_SHARD, HOT_WORKER = "hot shard", "hot worker"


class Cost(NamedTuple):
    """Processor time of one core in milliseconds, at each place."""

    node: float
    entry: float
    program: float


class Assumptions(NamedTuple):
    """The numbers of spread_costs.json that are not costs."""

    shards: int
    cores_per_node: int
    cores_per_entry: int
    disk_gigabytes_per_node: float
    # `max_connections` of each PostgreSQL server.
    connections_per_server: int
    connections_per_process: int
    # The part of a core that a process of the program uses before another one is started.
    process_utilisation: float
    utilisation_limit: float
    # Network and disk for one accept.
    accept_wait_milliseconds: float
    events_per_order: float
    attempts_per_event: float
    gets_per_order: float
    rejected_share: float
    shop_list_every_seconds: float
    operator_lists_per_minute: float
    # Rows of an order that are kept: cart, order, timeline, code and words for the search.
    order_kilobytes: float
    voucher_kilobytes: float
    # One webhook with its attempts.
    event_kilobytes: float
    log_days: int
    sale_factor: float
    webhook_slots_per_shop: int
    # The time in which a shop's server answers a webhook.
    endpoint_seconds: float
    outage_minutes: int
    # Until the program answers 503 at once, without waiting for the lost node.
    detection_seconds: float
    lease_seconds: float
    # How often a worker searches for shards without an owner.
    lease_check_seconds: float
    # Rows of a new order that may be on another node: its cart and its code.
    placing_rows_elsewhere: int
    move_megabytes_per_second: float
    # Processor cores that one move of a shard uses on either node.
    move_cores: float


class Costs(NamedTuple):
    """The cost of each operation on plain PostgreSQL and in a spread database, and the assumptions."""

    plain: Mapping[str, Cost]
    spread: Mapping[str, Cost]
    assumptions: Assumptions

    def of(self, layout: "Layout") -> Mapping[str, Cost]:
        """Return the costs for a layout."""
        return self.plain if layout.is_plain else self.spread


class Layout(NamedTuple):
    """The number of nodes, and their entries. Plain is one PostgreSQL server without Citus."""

    nodes: int
    is_plain: bool = False
    is_each_entry: bool = False

    @property
    def entries(self) -> int:
        """The number of entries."""
        return 0 if self.is_plain else self.nodes if self.is_each_entry else 1

    @property
    def has_own_entry(self) -> bool:
        """Whether one machine beside the nodes is the only entry."""
        return not self.is_plain and not self.is_each_entry


class Loads(NamedTuple):
    """Processor cores in use: on each node (without work as an entry), on all entries together, and in the program.
    `calls` are statements a second, in the same order."""

    nodes: list[float]
    entry: float
    program: float
    node_calls: list[float]
    calls: float

    def totals(self, layout: Layout) -> list[float]:
        """Return the cores in use on each node, with its share of the entries' work."""
        share = self.entry / layout.nodes if layout.is_each_entry else 0.0
        return [node + share for node in self.nodes]


class DiskGrowth(NamedTuple):
    """Growth of the data of all nodes in GB a day: until the first webhooks are deleted, and from then on, when only
    orders and vouchers grow. The vouchers are a part of both."""

    first_gigabytes_per_day: float
    later_gigabytes_per_day: float
    voucher_gigabytes_per_day: float


class Report(NamedTuple):
    """Results for one layout. Utilisations are of the peak hour, limits are orders of a normal day."""

    nodes: int
    entries: int
    mean: float
    largest: float
    hottest_node: int
    imbalance: float
    worst_minute: float
    entry: float | None
    accept_p95_milliseconds: float | None
    program_cores: float
    connections: float
    limits: dict[str, float]
    first: str
    # The first of the limits other than the disk.
    first_without_disk: str


def load_costs(path: Path = COSTS) -> Costs:
    """Read the costs and assumptions. Raise KeyError or TypeError if one is missing or unknown."""
    values: dict[str, Any] = json.loads(path.read_text("utf-8"))
    del values["about"]

    def take(form: str) -> dict[str, Cost]:
        names = {name: f"{name}_{form}_{{}}_milliseconds" for name in _OPERATIONS}
        return {
            name: Cost(
                values.pop(key.format("node")),
                0.0 if form == "plain" else values.pop(key.format("entry")),
                values.pop(key.format("program")),
            )
            for name, key in names.items()
        }

    return Costs(take("plain"), take("spread"), Assumptions(**values))


def orders_per_order(facts: Assumptions) -> float:
    """Return the number of orders that one customer's order leads to, with its replacement."""
    return 1 + facts.rejected_share


def calls_per_order(facts: Assumptions) -> dict[str, float]:
    """Return how often each operation happens for one customer's order."""
    orders = orders_per_order(facts)
    attempts = facts.events_per_order * facts.attempts_per_event
    return {
        "place": orders,
        "get": orders * facts.gets_per_order,
        "accept": orders,
        "deliver": orders * attempts,
    }


def cost_per_order(costs: Costs, layout: Layout) -> Cost:
    """Return the processor time of all operations of one customer's order."""
    calls = calls_per_order(costs.assumptions)
    parts = [[value * calls[name] for value in cost] for name, cost in costs.of(layout).items() if name in calls]
    return Cost(*(sum(column) for column in zip(*parts, strict=True)))


def measure_loads(day: Day, costs: Costs, layout: Layout, minutes: range) -> Loads:
    """Return the mean loads of these minutes."""
    facts = costs.assumptions
    seconds = len(minutes) * 60
    order, calls = cost_per_order(costs, layout), sum(calls_per_order(facts).values())
    lists = costs.of(layout)
    operator = facts.operator_lists_per_minute / 60
    orders = [count / seconds for count in sum_by_node(day.count_orders(minutes), layout.nodes)]
    polls = [count / facts.shop_list_every_seconds for count in sum_by_node(day.shops.counts_by_shard, layout.nodes)]

    def cores(place: str, new: float, polled: float) -> float:
        own = [getattr(cost, place) for cost in (order, lists["shop_list"], lists["operator_list"])]
        return float(new * own[0] + polled * own[1] + operator * own[2]) / 1000

    per_node = list(zip(orders, polls, strict=True))
    return Loads(
        [cores("node", new, polled) for new, polled in per_node],
        cores("entry", sum(orders), sum(polls)),
        cores("program", sum(orders), sum(polls)),
        [new * calls + polled + operator for new, polled in per_node],
        sum(orders) * calls + sum(polls) + operator,
    )


def wait_p95(cores: int, load: float, calls: float) -> float:
    """Return the 95th percentile of the wait for a free core in milliseconds: an M/M/c queue with `load` cores in use
    and `calls` a second. Infinite if the load is too high."""
    if load >= cores:
        return math.inf
    blocked = 1.0
    for number in range(1, cores + 1):
        blocked = load * blocked / (number + load * blocked)
    # Erlang's formula C: the probability of waiting at all.
    waiting = blocked / (1 - load / cores * (1 - blocked))
    if waiting <= 0.05:
        return 0.0
    return math.log(waiting / 0.05) / (cores * calls / load - calls) * 1000


def accept_p95(costs: Costs, layout: Layout, loads: Loads) -> float | None:
    """Return the approximate 95th percentile of an accept in milliseconds for shops of the hottest node, or None if a
    server is overloaded."""
    facts = costs.assumptions
    totals = loads.totals(layout)
    hottest = totals.index(max(totals))
    calls = loads.node_calls[hottest] + (loads.calls / layout.nodes if layout.is_each_entry else 0.0)
    wait = wait_p95(facts.cores_per_node, totals[hottest], calls)
    if layout.has_own_entry:
        wait += wait_p95(facts.cores_per_entry, loads.entry, loads.calls)
    total = wait + facts.accept_wait_milliseconds + _LOG_20 * sum(costs.of(layout)["accept"])
    return total if math.isfinite(total) else None


def grow_disks(day: Day, costs: Costs) -> DiskGrowth:
    """Return the growth of the data of all nodes. Each accepted order has a voucher."""
    facts = costs.assumptions
    per_gigabyte = day.normal_orders / 1e6
    vouchers = facts.voucher_kilobytes * per_gigabyte
    kept = orders_per_order(facts) * facts.order_kilobytes * per_gigabyte + vouchers
    log = orders_per_order(facts) * facts.events_per_order * facts.event_kilobytes * per_gigabyte
    return DiskGrowth(kept + log, kept, vouchers)


def disk_gigabytes(day: Day, costs: Costs) -> list[float]:
    """Return the size of each shard's data on the day on which the first webhooks are deleted."""
    total = grow_disks(day, costs).first_gigabytes_per_day * costs.assumptions.log_days
    return [share * total for share in day.shops.shares_by_shard]


def days_until_full(day: Day, costs: Costs, layout: Layout) -> float:
    """Return the days until the fullest disk has reached the limit."""
    facts = costs.assumptions
    growth = grow_disks(day, costs)
    fullest = max(sum(day.shops.shares_by_shard[node :: layout.nodes]) for node in range(layout.nodes))
    room = facts.disk_gigabytes_per_node * facts.utilisation_limit / fullest
    first = growth.first_gigabytes_per_day * facts.log_days
    if room <= first:
        return room / growth.first_gigabytes_per_day
    return facts.log_days + (room - first) / growth.later_gigabytes_per_day


def report(day: Day, costs: Costs, layout: Layout) -> Report:
    """Return the results for one layout."""
    facts = costs.assumptions
    loads = measure_loads(day, costs, layout, PEAK_MINUTES)
    totals = loads.totals(layout)
    largest, mean = max(totals), sum(totals) / layout.nodes
    worst = max(
        max(measure_loads(day, costs, layout, range(minute, minute + 1)).totals(layout)) for minute in PEAK_MINUTES
    )
    limits = find_limits(day, costs, layout, loads)
    return Report(
        layout.nodes,
        layout.entries,
        mean / facts.cores_per_node,
        largest / facts.cores_per_node,
        totals.index(largest),
        largest / mean,
        worst / facts.cores_per_node,
        loads.entry / facts.cores_per_entry if layout.has_own_entry else None,
        accept_p95(costs, layout, loads),
        loads.program,
        _count_connections(facts, layout, loads),
        limits,
        min(limits, key=limits.__getitem__),
        min((name for name in limits if name != DISK), key=limits.__getitem__),
    )


def find_limits(day: Day, costs: Costs, layout: Layout, loads: Loads) -> dict[str, float]:
    """Return the orders of a normal day at which each resource is full. Lists do not grow with the orders."""
    facts = costs.assumptions
    idle = measure_loads(day._replace(orders=[[0] * facts.shards] * len(day.orders)), costs, layout, PEAK_MINUTES)

    def limit(room: float, used: float, fixed: float) -> float:
        return day.normal_orders * (room * facts.utilisation_limit - fixed) / (used - fixed)

    by_node = [
        limit(facts.cores_per_node, used, fixed)
        for used, fixed in zip(loads.totals(layout), idle.totals(layout), strict=True)
        if used > fixed
    ]
    by_shard = disk_gigabytes(day, costs)
    fullest = max(sum(by_shard[node :: layout.nodes]) for node in range(layout.nodes))
    connections = [_count_connections(facts, layout, both) for both in (loads, idle)]
    hot_deliveries = day.count_orders(PEAK_MINUTES)[day.shops.hot_shard] / 3600 * calls_per_order(facts)["deliver"]
    limits = {
        HOT_SHARD if _is_hot_shard(day, layout) else NODE: min(by_node),
        DISK: day.normal_orders * facts.disk_gigabytes_per_node * facts.utilisation_limit / fullest,
        CONNECTIONS: limit(facts.connections_per_server, connections[0], connections[1]),
        HOT_WORKER: limit(1, hot_deliveries * costs.of(layout)["deliver"].program / 1000, 0.0),
    }
    if layout.has_own_entry:
        limits[ENTRY] = limit(facts.cores_per_entry, loads.entry, idle.entry)
    return limits


def nodes_needed(day: Day, costs: Costs, *, is_each_entry: bool, with_disk: bool = True) -> Layout | None:
    """Return the smallest layout in which no resource is full, or None."""
    spread = (Layout(nodes, False, is_each_entry) for nodes in range(1, costs.assumptions.shards + 1))
    for layout in (Layout(1, True), *spread):
        limits = find_limits(day, costs, layout, measure_loads(day, costs, layout, PEAK_MINUTES))
        if all(limit >= day.normal_orders for name, limit in limits.items() if with_disk or name != DISK):
            return layout
    return None


def _count_connections(facts: Assumptions, layout: Layout, loads: Loads) -> float:
    """Return the connections of the server that has most: callers' at an entry, entries' at a node."""
    sessions = loads.program / facts.process_utilisation * facts.connections_per_process
    return sessions * (1 + 1 / layout.nodes) if layout.is_each_entry else sessions


def _is_hot_shard(day: Day, layout: Layout) -> bool:
    """Whether the largest shop's shard has more than half of all orders of the busiest node in the peak hour. Then
    moving other shards away helps less than half."""
    orders = day.count_orders(PEAK_MINUTES)
    hot = day.shops.hot_shard
    by_node = sum_by_node(orders, layout.nodes)
    busiest = by_node.index(max(by_node))
    return layout.nodes > 1 and hot % layout.nodes == busiest and orders[hot] > by_node[busiest] / 2
