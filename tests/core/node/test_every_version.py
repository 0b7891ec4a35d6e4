"""Every version of every API that is advertised: whatever a request says, it is answered and nobody else is harmed.

Each request is sent empty, and filled by chance several times: with nonsense, and with names, ids and numbers that
mean something here. Each answer is decoded by a client's codec, in the request's version.
"""

from pathlib import Path
from random import Random

import pytest

from rafka.core.api import APIS
from rafka.core.api.find_coordinator_request import FindCoordinatorRequest
from rafka.core.api.join_group_request import JoinGroupRequest, JoinGroupRequestProtocol
from rafka.core.api.list_groups_request import ListGroupsRequest
from rafka.core.api.produce_request import ProduceRequest
from rafka.core.message import Message
from rafka.core.message.field import fields_of
from rafka.core.record.builder import Record, build_batch
from tests.core.message import fill
from tests.core.node.world import World

SEEDS = range(8)
WAIT_MS_MAX = 60_000


@pytest.fixture(scope="module")
def world():
    world = World(group_initial_rebalance_delay_ms="0")
    world.topic_id = world.create("t", partitions=2)
    member = JoinGroupRequest(
        group_id="g",
        session_timeout_ms=10_000,
        rebalance_timeout_ms=10_000,
        protocol_type="consumer",
        protocols=[JoinGroupRequestProtocol(name="range", metadata=b"")],
    )
    client = world.connect()
    assert client.ask(FindCoordinatorRequest(key="g"), 0).error_code == 0
    assert client.ask(member, 2).error_code == 0
    return world


def sensible(message, version, world, random):
    """Make some of what a message says mean something here, and none of it wait for long."""
    for field in fields_of(type(message), version):
        if field.present:
            was = getattr(message, field.name)
            setattr(message, field.name, _sensible(field.name, was, version, world, random))
    return message


def _sensible(name, was, version, world, random):
    if isinstance(was, Message):
        return sensible(was, version, world, random)
    if isinstance(was, list):
        return [_sensible(name, one, version, world, random) for one in was]
    if name.endswith("_ms") and isinstance(was, int):
        return min(was, random.choice((0, 6_000, WAIT_MS_MAX)))
    if random.random() < 0.4:
        return was
    if isinstance(was, str):
        return random.choice(("t", "g", "__consumer_offsets", "range", "consumer"))
    if name == "records":
        return bytes(build_batch([Record(b"k", b"v")], timestamp=1))
    if isinstance(was, bytes) and len(was) == 16:
        return world.topic_id
    return random.choice((0, 1, 100)) if type(was) is int else was


def answered(request):
    """Let a Produce ask for an answer: acks=0 has none."""
    if isinstance(request, ProduceRequest) and request.acks == 0:
        request.acks = 1
    return request


def cases():
    served = World().node.served
    return [(key, version) for key, (low, high) in served.items() for version in range(low, high + 1)]


@pytest.mark.parametrize(
    ("key", "version"), [pytest.param(*case, id=f"{APIS[case[0]].name}-{case[1]}") for case in cases()]
)
def test_every_version_of_every_api_answers(world, key, version):
    cls = APIS[key].request
    requests = [cls()]
    for seed in SEEDS:
        random = Random(f"{key}-{version}-{seed}")
        request = fill.message(cls, version, random)
        requests.append(sensible(request, version, world, random))
    for request in requests:
        client = world.connect()
        answer = client.ask(answered(request), version, wait_ms=WAIT_MS_MAX + 1_000)
        assert isinstance(answer, APIS[key].response)
        client.close()
    assert world.connect().ask(ListGroupsRequest()).error_code == 0
    errors = [note for note in world.notes if note[0] == "error"]
    assert errors == []


def test_the_documentation_lists_what_is_served_and_nothing_else():
    page = Path(__file__).parents[3] / "docs" / "protocol" / "kafka-apis.md"
    rows = [line.split("|")[1:4] for line in page.read_text("utf-8").splitlines() if line.startswith("| ")]
    listed = {}
    for key, name, versions in rows[1:]:
        low, _, high = versions.strip().partition("–")
        assert APIS[int(key)].name == name.strip()
        listed[int(key)] = (int(low), int(high or low))
    assert listed == World().node.served
