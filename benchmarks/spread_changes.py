"""A node is lost, or nodes are added (benchmarks/spread.py).

Assumptions, beside those of spread_model.py. All numbers are in spread_costs.json.

- *Loss*: the busiest node is away for some minutes of the peak hour. It has no standby. Once the loss is detected, the
  program answers 503 for its shops at once. Customers do not come back. Shops and couriers repeat their calls about
  older orders until the node is back.
- *Webhooks* of the lost node wait in its tables. The first event of an order belongs to placing it. The others are of
  older orders, and are all due when the node is back.
- *Workers*: one worker process for each node, on the same machine, which delivers the webhooks of the node's shops. It
  uses at most one core. While it is away, the other workers share its shards as soon as its lease has ended. After the
  return, one worker delivers all waiting webhooks, while the normal traffic of the peak hour goes on. The limits of the
  shops' own servers are left out here.
- *Other shops*: an order is refused if its cart or its code (`directory`) falls on the lost node, unless the program
  chooses another cart id and code. These orders are `at_risk`, and part of no other number.
- *Growth*: from N to 2 N nodes, every second shard of each node moves. A node sends one shard at a time.
"""

from typing import NamedTuple

from spread_model import Costs, Layout, calls_per_order, disk_gigabytes, measure_loads, orders_per_order
from spread_traffic import PEAK_MINUTES, Day, sum_by_node


class Loss(NamedTuple):
    """Results of the loss of one node for some minutes."""

    nodes: int
    lost_node: int
    shops_with_503: list[int]
    refused_by_node: list[int]
    at_risk: int
    waiting_webhooks: int
    # Until all waiting webhooks are delivered after the return of the node. None: not in the peak hour.
    catch_up_seconds: float | None
    # Until other workers have taken over the shards of the lost worker.
    takeover_seconds: float
    # Cores that each worker process uses, of one. None: no other worker is left.
    worker_before: float
    worker_meanwhile: float | None

    @property
    def refused(self) -> int:
        """Orders that cannot be placed."""
        return sum(self.refused_by_node)


class Growth(NamedTuple):
    """Results of doubling the nodes. Sizes are those of shards after the days for which webhooks are kept."""

    before: int
    after: int
    moved_shards: list[int]
    mean_gigabytes: float
    largest_gigabytes: float
    total_gigabytes: float
    hours_one_at_a_time: float
    # Each old node sends one shard at a time.
    hours: float
    more_utilisation: float


def lose_node(day: Day, costs: Costs, layout: Layout) -> Loss:
    """Return the results of losing the busiest node in the middle of the peak hour."""
    facts = costs.assumptions
    start = PEAK_MINUTES[0] + 20
    minutes = range(start, start + facts.outage_minutes)
    by_node = sum_by_node(day.count_orders(minutes), layout.nodes)
    lost = by_node.index(max(by_node))
    others = sum(by_node) - by_node[lost]
    # An order of another shop is safe if none of its rows elsewhere is on the lost node.
    safe = (1 - 1 / layout.nodes) ** facts.placing_rows_elsewhere
    later_events = (facts.events_per_order - 1) * facts.attempts_per_event * orders_per_order(facts)
    waiting = by_node[lost] * later_events
    attempts = sum(by_node) / (60 * len(minutes)) * calls_per_order(facts)["deliver"]
    worker = attempts * costs.of(layout)["deliver"].program / 1000 / layout.nodes
    counts = sum_by_node(day.shops.counts_by_shard, layout.nodes)
    return Loss(
        layout.nodes,
        lost,
        [count if node == lost else 0 for node, count in enumerate(counts)],
        [count if node == lost else 0 for node, count in enumerate(by_node)],
        round(others * (1 - safe)) if not layout.is_plain else 0,
        round(waiting),
        _catch_up_seconds(day, costs, layout, lost, waiting),
        facts.lease_seconds + facts.lease_check_seconds,
        worker,
        worker * layout.nodes / (layout.nodes - 1) if layout.nodes > 1 else None,
    )


def grow(day: Day, costs: Costs, nodes: int) -> Growth | None:
    """Return the results of doubling the nodes, or None if there are too few shards."""
    facts = costs.assumptions
    if 2 * nodes > facts.shards:
        return None
    sizes = disk_gigabytes(day, costs)
    moved = [shard for shard in range(facts.shards) if shard % nodes != shard % (2 * nodes)]
    by_source = [sum(sizes[shard] for shard in moved if shard % nodes == node) for node in range(nodes)]
    hours_per_gigabyte = 1000 / facts.move_megabytes_per_second / 3600
    return Growth(
        nodes,
        2 * nodes,
        moved,
        sum(sizes) / facts.shards,
        max(sizes),
        sum(by_source),
        sum(by_source) * hours_per_gigabyte,
        max(by_source) * hours_per_gigabyte,
        facts.move_cores / facts.cores_per_node,
    )


def _catch_up_seconds(day: Day, costs: Costs, layout: Layout, node: int, waiting: float) -> float | None:
    """Return the seconds to deliver the waiting webhooks with the spare capacity of the node, the entry and the node's
    worker in the peak hour."""
    facts = costs.assumptions
    loads = measure_loads(day, costs, layout, PEAK_MINUTES)
    deliver = costs.of(layout)["deliver"]
    own = sum_by_node(day.count_orders(PEAK_MINUTES), layout.nodes)[node] / 3600 * calls_per_order(facts)["deliver"]
    limit = facts.utilisation_limit
    rates = [(1000 * limit / deliver.program) - own]
    on_node = deliver.node + (deliver.entry / layout.nodes if layout.is_each_entry else 0.0)
    rates.append((facts.cores_per_node * limit - loads.totals(layout)[node]) * 1000 / on_node)
    if layout.has_own_entry:
        rates.append((facts.cores_per_entry * limit - loads.entry) * 1000 / deliver.entry)
    return waiting / min(rates) if min(rates) > 0 else None
