"""Shops and one day of orders for benchmarks/spread.py. Everything follows from the seed.

Assumptions:

- *Sizes of shops* follow Zipf's law: the n-th largest shop has a share proportional to 1 / n ** exponent. With exponent
  0, all shops are equal.
- *Hash*: each shop is in one shard, by a hash of the seed and its number. Shard s is on node s mod N.
- *Curve*: the day has 24 hours of constant rate, with a peak in the evening (`CURVE`).
- *Chance*: each order falls into a minute and a shard at random, independent of the other orders.
- *Sale*: the largest shop has many times its orders during the peak hour. The orders of all other shops are the same.
"""

import math
import random
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

# The share of each hour (Athens time, from midnight) of a day's orders. The largest is 2.2 times the mean.
CURVE: Final = (
    *(0.022, 0.011, 0.006, 0.004, 0.004, 0.006, 0.011, 0.020),
    *(0.033, 0.046, 0.055, 0.060, 0.060, 0.057, 0.050, 0.044),
    *(0.044, 0.050, 0.060, 0.075, 0.087, 0.092, 0.067, 0.036),
)
PEAK_HOUR: Final = CURVE.index(max(CURVE))
PEAK_MINUTES: Final = range(PEAK_HOUR * 60, PEAK_HOUR * 60 + 60)
MINUTES: Final = 24 * 60
# From this expected number on, the normal distribution is close enough to the binomial one.
_MANY: Final = 30


class Shops(NamedTuple):
    """The share of each shop of all orders, largest first, and its shard; the share of each shard, and its number of
    shops."""

    shares: Sequence[float]
    shards: Sequence[int]
    shares_by_shard: Sequence[float]
    counts_by_shard: Sequence[int]

    @property
    def hot_shard(self) -> int:
        """The shard of the largest shop."""
        return self.shards[0]


class Day(NamedTuple):
    """The orders of a day, by minute and shard, and the number of orders of a normal day."""

    shops: Shops
    orders: Sequence[Sequence[int]]
    normal_orders: int

    def count_orders(self, minutes: range) -> list[int]:
        """Return the number of orders of each shard in these minutes."""
        return [sum(column) for column in zip(*(self.orders[minute] for minute in minutes), strict=True)]


def make_shops(seed: int, count: int, exponent: float, shard_count: int) -> Shops:
    """Return `count` shops, with their sizes and shards."""
    weights = [(number + 1) ** -exponent for number in range(count)]
    total = sum(weights)
    shares_by_shard, counts_by_shard = [0.0] * shard_count, [0] * shard_count
    shards = [_hash(f"{seed}:{number}") % shard_count for number in range(count)]
    for shard, weight in zip(shards, weights, strict=True):
        shares_by_shard[shard] += weight / total
        counts_by_shard[shard] += 1
    return Shops([weight / total for weight in weights], shards, shares_by_shard, counts_by_shard)


def draw_day(seed: int, shops: Shops, normal_orders: int, factor: float = 1.0) -> Day:
    """Draw a day with `factor` times the orders of a normal day."""
    chance = random.Random(f"{seed}:day")
    by_minute = _split(chance, round(normal_orders * factor), [CURVE[minute // 60] for minute in range(MINUTES)])
    return Day(shops, [_split(chance, orders, shops.shares_by_shard) for orders in by_minute], normal_orders)


def add_sale(seed: int, day: Day, factor: float) -> Day:
    """Return the day with `factor` times the orders of the largest shop in the peak hour."""
    normal = sum(day.count_orders(PEAK_MINUTES)) * day.shops.shares[0]
    more = _split(random.Random(f"{seed}:sale"), round(normal * (factor - 1)), [1.0] * len(PEAK_MINUTES))
    orders = [list(minute) for minute in day.orders]
    for minute, count in zip(PEAK_MINUTES, more, strict=True):
        orders[minute][day.shops.hot_shard] += count
    return day._replace(orders=orders)


def sum_by_node(values: Sequence[int], nodes: int) -> list[int]:
    """Return the sum of the values of each node's shards."""
    return [sum(values[node::nodes]) for node in range(nodes)]


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def _split(chance: random.Random, total: int, weights: Sequence[float]) -> list[int]:
    """Draw the number that falls to each weight, with exactly `total` in all."""
    counts = []
    remaining_weight = sum(weights)
    for weight in weights[:-1]:
        count = _draw_binomial(chance, total, weight / remaining_weight if remaining_weight > 0 else 0.0)
        counts.append(count)
        total -= count
        remaining_weight -= weight
    return [*counts, total]


def _draw_binomial(chance: random.Random, trials: int, probability: float) -> int:
    """Draw the number of successes."""
    if probability > 0.5:
        return trials - _draw_binomial(chance, trials, 1 - probability)
    if probability <= 0:
        return 0
    mean = trials * probability
    if mean > _MANY:
        return min(trials, max(0, round(chance.gauss(mean, math.sqrt(mean * (1 - probability))))))
    # Few successes: jump from one to the next.
    successes, trial = 0, 0
    while True:
        trial += int(math.log(1 - chance.random()) / math.log1p(-probability)) + 1
        if trial > trials:
            return successes
        successes += 1
