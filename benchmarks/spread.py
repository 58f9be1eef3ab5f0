"""Simulate a marketplace on several database nodes: how many are needed, where the limits are, and what gives first.

    python -m benchmarks.spread
    python -m benchmarks.spread --peak 3 --exponent 0.8 --json
    python -m benchmarks.spread --picture docs/pictures/spread.svg

It is arithmetic with the costs of spread_costs.json and needs no database. The assumptions are in spread_traffic.py
(shops and orders), spread_model.py (loads and limits) and spread_changes.py (a lost node, new nodes). The same seed
gives the same output.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

sys.path.append(str(Path(__file__).parent))
from spread_changes import Growth, Loss, grow, lose_node
from spread_model import (
    CONNECTIONS,
    DISK,
    ENTRY,
    HOT_SHARD,
    HOT_WORKER,
    NODE,
    Costs,
    DiskGrowth,
    Layout,
    Report,
    calls_per_order,
    cost_per_order,
    days_until_full,
    find_limits,
    grow_disks,
    load_costs,
    measure_loads,
    nodes_needed,
    report,
)
from spread_picture import Diagram, draw_picture
from spread_traffic import PEAK_HOUR, PEAK_MINUTES, Day, add_sale, draw_day, make_shops

_LIMITS: Final = (NODE, ENTRY, DISK, CONNECTIONS, HOT_WORKER)
_NEVER: Final = "never"


class HotShop(NamedTuple):
    """The largest shop in the peak hour, on a normal day and with a sale."""

    share: float
    shard: int
    webhooks_per_second: float
    webhooks_per_second_in_sale: float
    # Webhooks a second that the shop's own server can receive.
    endpoint_per_second: float
    # Until the webhooks of the sale are delivered, with no further ones.
    hours_after_sale: float


class Results(NamedTuple):
    """Everything that one run prints."""

    options: dict[str, Any]
    order_milliseconds: dict[str, dict[str, float]]
    hot_shop: HotShop
    needed: dict[str, str]
    disks: DiskGrowth
    days_until_full: dict[int, float]
    days_until_full_without_vouchers: dict[int, float]
    reports: dict[str, list[Report]]
    losses: list[Loss]
    growths: list[Growth]


def simulate(options: argparse.Namespace, costs: Costs, days: Mapping[str, Day]) -> Results:
    """Return the results of all layouts and days."""
    _, usual, sale = days.values()
    layouts = [Layout(1, is_plain=True)]
    layouts += [Layout(nodes, False, is_each) for nodes in options.nodes for is_each in (False, True)]
    named = {"plain": Layout(1, is_plain=True), "spread": Layout(1)}
    return Results(
        {name: value for name, value in vars(options).items() if name not in {"json", "picture"}},
        {name: cost_per_order(costs, layout)._asdict() for name, layout in named.items()},
        _measure_hot_shop(usual, sale, costs),
        {
            "one entry": _show_needed(nodes_needed(usual, costs, is_each_entry=False)),
            "each node an entry": _show_needed(nodes_needed(usual, costs, is_each_entry=True)),
            "each node an entry, no vouchers in the database": _show_needed(
                nodes_needed(usual, _without_vouchers(costs), is_each_entry=True)
            ),
            "processors and connections only": _show_needed(
                nodes_needed(usual, costs, is_each_entry=True, with_disk=False)
            ),
        },
        grow_disks(usual, costs),
        {nodes: days_until_full(usual, costs, Layout(nodes)) for nodes in options.nodes},
        {nodes: days_until_full(usual, _without_vouchers(costs), Layout(nodes)) for nodes in options.nodes},
        {name: [report(day, costs, layout) for layout in layouts] for name, day in days.items()},
        [lose_node(usual, costs, layout) for layout in layouts if not layout.is_each_entry],
        [growth for nodes in options.nodes if (growth := grow(usual, costs, nodes))],
    )


def draw(options: argparse.Namespace, costs: Costs, days: Mapping[str, Day]) -> str:
    """Return the picture: the load of the busiest node, and the largest number of orders a day."""
    nodes = sorted(options.nodes)
    each = [Layout(number, is_each_entry=True) for number in nodes]
    busiest = {
        name: [max(measure_loads(day, costs, layout, PEAK_MINUTES).totals(layout)) for layout in each]
        for name, day in days.items()
    }
    cores = costs.assumptions.cores_per_node
    orders = _limits_by_nodes(list(days.values())[1], costs, nodes)
    return draw_picture(
        "Load of the busiest node, and the largest number of orders a day, over the number of nodes",
        [
            Diagram(
                f"Busiest node in the peak hour, {options.orders / 1e6:g} million orders a day",
                "% of its processor, each node an entry",
                nodes,
                {name: [value / cores * 100 for value in values] for name, values in busiest.items()},
                True,
            ),
            Diagram(
                "Orders a day at which a resource is full",
                "millions",
                nodes,
                {name: [value / 1e6 for value in values] for name, values in orders.items()},
                True,
                frozenset({"the one entry", "one plain PostgreSQL"}),
            ),
        ],
    )


def _limits_by_nodes(day: Day, costs: Costs, nodes: Sequence[int]) -> dict[str, list[float]]:
    """Return the lines of the picture: the orders a day at which each resource is full."""
    facts = costs.assumptions
    one = [_limits(day, costs, Layout(number)) for number in nodes]
    each = [_limits(day, costs, Layout(number, is_each_entry=True)) for number in nodes]
    plain = _limits(day, costs, Layout(1, is_plain=True))
    return {
        "busiest node, each node an entry": [_node_limit(limits) for limits in each],
        "busiest node, one entry beside the nodes": [_node_limit(limits) for limits in one],
        "the one entry": [limits[ENTRY] for limits in one],
        "one plain PostgreSQL": [_node_limit(plain)] * len(nodes),
        f"disks of {facts.disk_gigabytes_per_node:,g} GB, {facts.log_days} days": [limits[DISK] for limits in one],
    }


def _limits(day: Day, costs: Costs, layout: Layout) -> dict[str, float]:
    return find_limits(day, costs, layout, measure_loads(day, costs, layout, PEAK_MINUTES))


def _node_limit(limits: Mapping[str, float]) -> float:
    """Return the limit of the busiest node's processor, under either of its two names."""
    return limits[HOT_SHARD] if HOT_SHARD in limits else limits[NODE]


def _measure_hot_shop(usual: Day, sale: Day, costs: Costs) -> HotShop:
    facts = costs.assumptions
    webhooks = calls_per_order(facts)["deliver"]
    hot = usual.shops.hot_shard
    before, during = (
        sum(usual.count_orders(PEAK_MINUTES)),
        sale.count_orders(PEAK_MINUTES)[hot] - usual.count_orders(PEAK_MINUTES)[hot],
    )
    normal = before * usual.shops.shares[0] / 3600
    rate = (normal + during / 3600) * webhooks
    endpoint = facts.webhook_slots_per_shop / facts.endpoint_seconds
    hours = max(rate - endpoint, 0.0) / endpoint
    return HotShop(usual.shops.shares[0], hot, normal * webhooks, rate, endpoint, hours)


def _without_vouchers(costs: Costs) -> Costs:
    return costs._replace(assumptions=costs.assumptions._replace(voucher_kilobytes=0.0))


def _show_needed(layout: Layout | None) -> str:
    return (
        "more than there are shards"
        if layout is None
        else "one plain PostgreSQL"
        if layout.is_plain
        else str(layout.nodes)
    )


def print_results(results: Results, costs: Costs) -> None:
    """Print the results as text."""
    options = results.options
    print(
        f"{options['shops']:,} shops, {options['orders']:,} orders a day, peak factor {options['peak']:g},"
        f" exponent {options['exponent']:g}, seed {options['seed']}, {costs.assumptions.shards} shards"
    )
    for name, cost in results.order_milliseconds.items():
        print(f"one order, {name}: " + ", ".join(f"{place} {value:.2f} ms" for place, value in cost.items()))
    for name, reports in results.reports.items():
        print_reports(name, reports)
    print()
    for name, needed in results.needed.items():
        print(f"nodes needed, {name}: {needed}")
    print_disks(results, costs)
    print_hot_shop(results.hot_shop)
    print_losses(results.losses, costs)
    print_growths(results.growths, costs)


def print_reports(name: str, reports: Sequence[Report]) -> None:
    """Print the table of one day: loads of the peak hour, and limits in millions of orders a day."""
    heads = ("node", "entry", "disk", "connect.", "worker")
    hours = f"{PEAK_HOUR}:00 to {PEAK_HOUR + 1}:00"
    print(f"\n{name}: processors from {hours}, p95 of an accept in ms | millions of orders a day at the limit")
    print(
        f"  {'nodes':>5} {'entries':>7} {'mean':>6} {'busiest':>7} {'ratio':>5} {'minute':>6} {'entry':>6}"
        f" {'p95':>6} | " + " ".join(f"{head:>8}" for head in heads) + " | first, then"
    )
    for row in reports:
        limits = row.limits | {NODE: _node_limit(row.limits)}
        shown = " ".join(f"{limits[key] / 1e6:8.1f}" if key in limits else f"{'':>8}" for key in _LIMITS)
        nodes = "plain" if not row.entries else f"{row.nodes}"
        entry = "" if row.entry is None else f"{row.entry:.1%}"
        p95 = "full" if row.accept_p95_milliseconds is None else f"{row.accept_p95_milliseconds:.1f}"
        print(
            f"  {nodes:>5} {row.entries:>7} {row.mean:>6.1%} {row.largest:>7.1%} {row.imbalance:>5.2f}"
            f" {row.worst_minute:>6.1%} {entry:>6} {p95:>6} | {shown} | {row.first}, {row.first_without_disk}"
        )


def print_disks(results: Results, costs: Costs) -> None:
    """Print the growth of the data, and the days until the first disk is full."""
    growth = results.disks
    print(
        f"\ndisks: {growth.first_gigabytes_per_day:,.0f} GB a day for {costs.assumptions.log_days} days,"
        f" {growth.later_gigabytes_per_day:,.0f} GB later; {growth.voucher_gigabytes_per_day:,.0f} GB are vouchers"
    )
    print("  nodes  days until the first disk is full  without vouchers")
    for nodes, days in results.days_until_full.items():
        print(f"  {nodes:>5} {days:>34,.0f} {results.days_until_full_without_vouchers[nodes]:>17,.0f}")


def print_hot_shop(hot: HotShop) -> None:
    """Print the figures of the largest shop."""
    print(f"\nlargest shop: {hot.share:.1%} of all orders, in shard {hot.shard}")
    print(
        f"  webhooks a second in the peak hour: {hot.webhooks_per_second:,.0f}, in a sale"
        f" {hot.webhooks_per_second_in_sale:,.0f}; its own server takes {hot.endpoint_per_second:,.0f}"
    )
    print(f"  after the sale, its last webhook comes {hot.hours_after_sale:,.1f} hours late")


def print_losses(losses: Sequence[Loss], costs: Costs) -> None:
    """Print the table of lost nodes."""
    facts = costs.assumptions
    print(
        f"\nthe busiest node is lost for {facts.outage_minutes} minutes of the peak hour: 503 within"
        f" {facts.detection_seconds:g} s, webhooks of its worker from others within {losses[0].takeover_seconds:g} s"
    )
    print(
        "  nodes  shops with 503  orders refused  others' at risk  webhooks waiting  delivered in  other workers' load"
    )
    for row in losses:
        nodes = "plain" if row is losses[0] else str(row.nodes)
        caught_up = _NEVER if row.catch_up_seconds is None else f"{row.catch_up_seconds:.1f} s"
        load = "" if row.worker_meanwhile is None else f"{row.worker_before:.1%} to {row.worker_meanwhile:.1%}"
        print(
            f"  {nodes:>5} {sum(row.shops_with_503):>15,} {row.refused:>15,} {row.at_risk:>16,}"
            f" {row.waiting_webhooks:>17,} {caught_up:>13} {load:>20}"
        )


def print_growths(growths: Sequence[Growth], costs: Costs) -> None:
    """Print the table of added nodes."""
    print(f"\nfrom N to 2 N nodes, after {costs.assumptions.log_days} days of orders")
    print(
        "   from    to  shards moved  GB a shard  largest  GB moved  hours, one by one  hours, side by side  more load"
    )
    for row in growths:
        print(
            f"  {row.before:>5} {row.after:>5} {len(row.moved_shards):>13} {row.mean_gigabytes:>11,.0f}"
            f" {row.largest_gigabytes:>8,.0f} {row.total_gigabytes:>9,.0f} {row.hours_one_at_a_time:>18,.1f}"
            f" {row.hours:>20,.1f} {row.more_utilisation:>10.1%}"
        )


def read_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description="Simulate a marketplace on several database nodes.")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--shops", type=int, default=10_000)
    parser.add_argument("--orders", type=int, default=5_000_000, help="orders of a normal day")
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--exponent", type=float, default=1.0, help="of Zipf's law; 0: all shops are equal")
    parser.add_argument("--peak", type=float, default=1.0, help="orders of this day, in normal days; Black Friday: 3")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--picture", type=Path, help="write an SVG to this file")
    return parser.parse_args(arguments)


def main() -> None:
    """Run the simulation and print its results."""
    options, costs = read_options(), load_costs()
    shards = costs.assumptions.shards
    if not 1 <= min(options.nodes) <= max(options.nodes) <= shards:
        sys.exit(f"--nodes: give numbers from 1 to {shards}, the number of shards.")
    equal = make_shops(options.seed, options.shops, 0.0, shards)
    shops = make_shops(options.seed, options.shops, options.exponent, shards)
    usual = draw_day(options.seed, shops, options.orders, options.peak)
    days = {
        "equal shops": draw_day(options.seed, equal, options.orders, options.peak),
        "shops by size": usual,
        "sale of the largest shop": add_sale(options.seed, usual, costs.assumptions.sale_factor),
    }
    results = simulate(options, costs, days)
    if options.json:
        print(json.dumps(_plain(results), indent=1))
    else:
        print_results(results, costs)
    if options.picture:
        options.picture.write_text(draw(options, costs, days), "utf-8")


def _plain(value: Any) -> Any:
    """Return named tuples as objects, so that the JSON has their names."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: _plain(entry) for name, entry in value._asdict().items()}
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return value


if __name__ == "__main__":
    main()
