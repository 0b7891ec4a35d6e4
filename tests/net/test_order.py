"""What one connection's requests may overtake, and what waits for what."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rafka.core.events import Requested
from rafka.core.types import ConnId
from rafka.net.order import PRODUCE, WRITES, Order

FETCH, COMMIT, OFFSET_FETCH, JOIN = 1, 8, 9, 11


def request(api_key: int, number: int = 0) -> Requested:
    return Requested(ConnId(1), number, api_key, 0, None, None)


def begun(order: Order, *keys: int) -> list[int]:
    """Let requests come; which of them, by their place, are worked at."""
    return [number for number, key in enumerate(keys) if order.admits(request(key, number))]


@pytest.mark.parametrize(
    ("keys", "at_once"),
    [
        ((PRODUCE, PRODUCE, PRODUCE), [0, 1, 2]),
        ((PRODUCE, FETCH), [0]),
        ((PRODUCE, FETCH, PRODUCE), [0]),  # the third would overtake the second
        ((FETCH, PRODUCE), [0, 1]),
        ((FETCH, FETCH, COMMIT), [0, 1, 2]),
        ((COMMIT, OFFSET_FETCH), [0]),
        ((COMMIT, COMMIT), [0]),
        ((COMMIT, PRODUCE), [0]),
        ((JOIN, COMMIT), [0, 1]),
    ],
)
def test_what_goes_on_behind_what(keys: tuple[int, ...], at_once: list[int]) -> None:
    assert begun(Order(), *keys) == at_once


def test_an_answer_lets_go_of_all_that_waited_for_it_alone() -> None:
    order = Order()
    begun(order, PRODUCE, PRODUCE, FETCH, FETCH, PRODUCE, FETCH)
    assert list(order.answered(PRODUCE)) == []
    assert [r.correlation for r in order.answered(PRODUCE)] == [2, 3, 4]
    assert list(order.answered(FETCH)) == []
    assert [r.correlation for r in order.answered(PRODUCE)] == [5]


KEYS = st.sampled_from([PRODUCE, FETCH, COMMIT, OFFSET_FETCH, JOIN])


@given(st.lists(KEYS, max_size=12), st.data())
def test_all_are_worked_at_in_order_and_none_beside_a_write_before_it(
    keys: list[int], data: st.DataObject
) -> None:
    order, open_, begun_ = Order(), list[int](), list[int]()
    for number, key in enumerate(keys):
        if order.admits(request(key, number)):
            begun_.append(number)
            open_.append(number)
    while open_:
        done = open_.pop(data.draw(st.integers(0, len(open_) - 1)))
        for released in order.answered(keys[done]):
            number = released.correlation
            before = [keys[other] for other in open_ if other < number]
            assert not any(key in WRITES for key in before)
            assert keys[number] == PRODUCE or PRODUCE not in before
            begun_.append(number)
            open_.append(number)
    assert begun_ == list(range(len(keys)))
    assert not order.held
