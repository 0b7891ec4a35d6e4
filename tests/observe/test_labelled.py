"""Topics with a label of their own: bounded, and no counter of a label ever goes back."""

from hypothesis import given
from hypothesis import strategies as st

from rafka.core.log.traffic import Traffic
from rafka.core.types import Uuid
from rafka.observe.labelled import OTHER, Labels


def traffic(fetched_bytes=0):
    made = Traffic()
    made.fetched_bytes = fetched_bytes
    return made


def uuid(number):
    return Uuid(number.to_bytes(16, "big"))


def test_the_first_topics_are_named_and_the_others_share_a_label():
    labels = Labels(2)
    labels.look({uuid(n): (f"t{n}", traffic()) for n in range(5)})
    assert [labels.label_of(uuid(n)) for n in range(5)] == ["t0", "t1", OTHER, OTHER, OTHER]
    assert labels.others == 3


def test_a_place_that_falls_free_is_for_a_new_topic():
    labels = Labels(1)
    topics = {uuid(n): (f"t{n}", traffic()) for n in range(2)}
    labels.look(topics)
    del topics[uuid(0)]
    topics[uuid(2)] = ("t2", traffic())
    labels.look(topics)
    assert [labels.label_of(uuid(n)) for n in (1, 2)] == [OTHER, "t2"]


STEPS = st.lists(st.tuples(st.sampled_from(["make", "delete", "count"]), st.integers(0, 9)), max_size=60)


@given(st.integers(0, 3), STEPS)
def test_the_counters_of_others_never_go_back(topics_max, steps):
    labels = Labels(topics_max)
    topics = {}
    made = told = 0
    for step, number in steps:
        if step == "make":
            made += 1
            topics[uuid(made)] = (f"t{made}", traffic())
        elif topics and step == "delete":
            topics.pop(list(topics)[number % len(topics)])
        elif topics:
            list(topics.values())[number % len(topics)][1].fetched_bytes += 1
        labels.look(topics)
        names = [labels.label_of(topic_id) for topic_id in topics]
        assert len({name for name in names if name != OTHER}) <= topics_max
        others = labels.gone.fetched_bytes + sum(
            row[1].fetched_bytes for topic_id, row in topics.items() if labels.label_of(topic_id) == OTHER
        )
        assert others >= told
        told = others
