"""The sketch: how far off it is, and that nothing but the set of values matters."""

from __future__ import annotations

import random

import pytest

from taximeter.meters.sketch import (
    STANDARD_ERROR,
    dump_sketch,
    estimate,
    load_sketch,
    merged,
    new_sketch,
    see,
)


def sketch_of(*texts: str) -> bytearray:
    sketch = new_sketch()
    for text in texts:
        see(sketch, text)
    return sketch


def test_of_nothing_it_is_zero() -> None:
    assert estimate(new_sketch()) == 0


@pytest.mark.parametrize("count", [1, 2, 5, 10])
def test_of_a_few_it_is_exact(count: int) -> None:
    assert estimate(sketch_of(*map(str, range(count)))) == count


@pytest.mark.parametrize("count", [100, 1000, 4000, 10_000, 20_000])
def test_it_errs_by_its_standard_error_on_average_and_is_not_biased(count: int) -> None:
    trials = 20
    errors = [
        estimate(sketch_of(*(f"{trial}:{n}" for n in range(count)))) - count
        for trial in range(trials)
    ]
    error = float(STANDARD_ERROR) * count
    assert sum(e * e for e in errors) / trials < (1.6 * error) ** 2
    assert abs(sum(errors)) / trials < 3 * error / trials**0.5


def test_order_repetition_and_cuts_change_no_byte() -> None:
    texts = [str(n % 700) for n in range(2000)]
    whole = sketch_of(*texts)
    random.Random(1).shuffle(texts)
    assert sketch_of(*texts) == whole
    assert merged(sketch_of(*texts[:900]), sketch_of(*texts[900:])) == whole
    assert load_sketch(dump_sketch(whole)) == whole
