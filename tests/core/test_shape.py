import copy
import pickle

import attrs
import pytest

from rafka.core.shape import value


@value
class Point:
    x: int
    y: int = 0


@value
class Odd:
    x: int

    def __eq__(self, other):
        return True

    def __hash__(self):
        return 1

    def __repr__(self):
        return "odd"


class Derived(Point):
    pass


def test_values_are_equal_field_by_field_within_their_class():
    assert Point(1) == Point(1, 0)
    assert Point(1) != Point(1, 1)
    assert Point(1) != (1, 0)
    assert Point(1) != Derived(1)


def test_a_value_has_no_hash_no_order_and_no_other_attributes():
    with pytest.raises(TypeError, match="unhashable"):
        hash(Point(1))
    with pytest.raises(TypeError, match="not supported"):
        assert Point(1) < Point(2)
    with pytest.raises(AttributeError):
        Point(1).z = 3


def test_a_value_is_written_as_the_call_that_makes_it():
    assert repr(Point(1)) == "Point(x=1, y=0)"


def test_a_class_keeps_the_methods_of_its_own():
    assert (Odd(1) == Odd(2), hash(Odd(1)), repr(Odd(1))) == (True, 1, "odd")


def test_a_value_is_matched_copied_and_changed_like_any_attrs_class():
    match Point(1, 2):
        case Point(x, y):
            assert (x, y) == (1, 2)
    assert copy.copy(Point(1)) == Point(1)
    assert pickle.loads(pickle.dumps(Point(1))) == Point(1)
    assert attrs.evolve(Point(1), y=5) == Point(1, 5)
