"""The simulation of a spread database (benchmarks/spread.py), with few shops and orders."""

import argparse
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
from spread import draw, read_options, simulate
from spread_changes import grow, lose_node
from spread_model import HOT_SHARD, NODE, Costs, Layout, load_costs, measure_loads, report, wait_p95
from spread_traffic import CURVE, PEAK_MINUTES, Day, add_sale, draw_day, make_shops, sum_by_node

COSTS = load_costs()
SHARDS = COSTS.assumptions.shards
ORDERS = 20_000
WHOLE_DAY = range(24 * 60)


def _day(seed: int = 7, exponent: float = 1.0, shops: int = 500) -> Day:
    return draw_day(seed, make_shops(seed, shops, exponent, SHARDS), ORDERS)


def _three_days(seed: int) -> dict[str, Day]:
    usual = _day(seed)
    return {"equal": _day(seed, exponent=0.0), "by size": usual, "sale": add_sale(seed, usual, 50)}


def _options(seed: int) -> argparse.Namespace:
    return read_options(["--seed", str(seed), "--shops", "500", "--orders", str(ORDERS), "--nodes", "1", "2", "4"])


def _largest(day: Day, nodes: int, costs: Costs = COSTS) -> float:
    return report(day, costs, Layout(nodes)).largest


def test_the_same_seed_gives_the_same_results_and_picture() -> None:
    runs = [(simulate(_options(seed), COSTS, days), draw(_options(seed), COSTS, days)) for seed, days in _runs(7, 7, 8)]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def _runs(*seeds: int) -> list[tuple[int, dict[str, Day]]]:
    return [(seed, _three_days(seed)) for seed in seeds]


def test_the_curve_is_one_day_with_a_peak_of_twice_the_mean() -> None:
    assert len(CURVE) == 24
    assert sum(CURVE) == pytest.approx(1)
    assert max(CURVE) * 24 == pytest.approx(2.2, abs=0.02)


@pytest.mark.parametrize("seed", range(5))
def test_more_nodes_never_raise_the_largest_utilisation_of_equal_shops(seed: int) -> None:
    day = _day(seed, exponent=0.0)
    for is_each_entry in (False, True):
        largest = [report(day, COSTS, Layout(2**power, False, is_each_entry)).largest for power in range(7)]
        assert largest == sorted(largest, reverse=True)


def test_equal_shops_load_all_nodes_alike() -> None:
    assert report(_day(exponent=0.0, shops=5_000), COSTS, Layout(4)).imbalance < 1.2


@pytest.mark.parametrize("nodes", [2, 4, 8])
def test_a_sale_raises_the_utilisation_of_one_node_only(nodes: int) -> None:
    usual = _day()
    sale = add_sale(7, usual, 50)
    before, after = (measure_loads(day, COSTS, Layout(nodes), PEAK_MINUTES).nodes for day in (usual, sale))
    raised = [node for node in range(nodes) if after[node] != before[node]]
    assert raised == [usual.shops.hot_shard % nodes]
    assert after[raised[0]] > 2 * before[raised[0]]
    assert HOT_SHARD in report(sale, COSTS, Layout(nodes)).limits


@pytest.mark.parametrize("nodes", [1, 2, 3, 16, 64])
def test_orders_of_the_nodes_add_up_to_all_orders(nodes: int) -> None:
    day = _day()
    assert sum(sum_by_node(day.count_orders(WHOLE_DAY), nodes)) == ORDERS
    assert sum(sum_by_node(day.shops.counts_by_shard, nodes)) == 500
    assert sum(day.shops.shares_by_shard) == pytest.approx(1)


def test_the_load_of_all_nodes_does_not_depend_on_their_number() -> None:
    day = _day()
    loads = [measure_loads(day, COSTS, Layout(nodes), PEAK_MINUTES) for nodes in (2, 4, 8)]
    # The operator's lists read each node.
    lists = COSTS.assumptions.operator_lists_per_minute / 60 * COSTS.spread["operator_list"].node / 1000
    sums = [sum(load.nodes) - lists * len(load.nodes) for load in loads]
    assert sums == pytest.approx([sums[0]] * 3)
    assert {load.entry for load in loads} == {loads[0].entry}


@pytest.mark.parametrize("nodes", [1, 2, 5])
def test_a_lost_node_affects_only_its_own_shops(nodes: int) -> None:
    day = _day()
    loss = lose_node(day, COSTS, Layout(nodes))
    on_node = [number for number, shard in enumerate(day.shops.shards) if shard % nodes == loss.lost_node]
    expected = [len(on_node) if node == loss.lost_node else 0 for node in range(nodes)]
    assert loss.shops_with_503 == expected
    assert [node for node, refused in enumerate(loss.refused_by_node) if refused] == [loss.lost_node]
    assert (loss.worker_meanwhile is None) == (nodes == 1)


def test_growing_moves_every_second_shard_and_only_to_new_nodes() -> None:
    growth = grow(_day(), COSTS, 4)
    assert growth is not None
    assert len(growth.moved_shards) == SHARDS / 2
    assert {shard % growth.after for shard in growth.moved_shards} == {4, 5, 6, 7}
    assert growth.hours <= growth.hours_one_at_a_time
    assert grow(_day(), COSTS, SHARDS) is None


def test_a_limit_is_the_number_of_orders_at_which_the_busiest_node_is_full() -> None:
    day = _day(exponent=0.0)
    layout = Layout(2)
    limit = report(day, COSTS, layout).limits[NODE]
    factor = limit / ORDERS
    more = day._replace(orders=[[round(count * factor) for count in minute] for minute in day.orders])
    assert report(more, COSTS, layout).largest == pytest.approx(COSTS.assumptions.utilisation_limit, rel=0.001)


def test_waiting_grows_with_the_load_and_is_endless_above_it() -> None:
    waits = [wait_p95(8, load, load * 500) for load in (1.0, 6.0, 7.0, 7.9)]
    assert waits == sorted(waits)
    assert waits[0] == 0.0
    assert wait_p95(8, 8.0, 4_000) == float("inf")
    # One core: the 95th percentile of M/M/1 with 2 ms and half load, ln(0.5 / 0.05) / (500 - 250) seconds.
    assert wait_p95(1, 0.5, 250) == pytest.approx(9.21, abs=0.01)
