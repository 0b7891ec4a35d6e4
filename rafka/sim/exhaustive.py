"""Every crash of a small run: not some of what a power loss may leave, but all of it, within a bound.

After each operation that the disk performs, the power fails, in every way that this module knows:

    of one file    the first k of its unsynced writes are there, for every k; and the next one in part, cut at each
                   sector's end and in the middle of each
    of one name    a new name is there or not, a removed one is gone or not
    of the rest    everything unsynced is there, or nothing

From each image that differs from all before, a broker starts; what was acknowledged before the crash is read, or it is
a violation. What is unsynced in several files at once is not combined further: that is left to chance (`loss.*`).
"""

from collections.abc import Callable, Iterator
from hashlib import blake2b

import attrs

from rafka.core.effects import DiskEffect, List, Read
from rafka.core.events import DiskEvent
from rafka.sim.administering import set_up
from rafka.sim.broker import broker
from rafka.sim.chance import Chance
from rafka.sim.consuming import Reader
from rafka.sim.disk import SECTOR_BYTES, Disk, Inode
from rafka.sim.faults import no_faults
from rafka.sim.knobs import Knobs
from rafka.sim.ledger import Ledger, Violation
from rafka.sim.life import Weather
from rafka.sim.producing import Producer
from rafka.sim.scene import Scene, Topic, ask_for, learn
from rafka.sim.storage import DiskFaults
from rafka.sim.talk import Lost, Script, Wait
from rafka.sim.world import Stuck, World

IMAGES_MAX = 250
"""Images that are started from, of one seed."""
PIECES_MAX = 16
"""Cuts of one write."""
QUICK = Weather(disk_ns=20_000, net_ns=10_000, turn_ns=1_000)
PROMISE_MS = 60_000

Image = dict[str, bytes | None]
Acked = dict[str, dict[int, str]]


@attrs.define(eq=False)
class Exhausted:
    """What came of it. moments: crashes; images: that differed, and were started from; skipped: over the bound."""

    moments: int = 0
    images: int = 0
    skipped: int = 0
    violation: str = ""


class Watched(Disk):
    """A disk that tells somebody after each operation that changed something."""

    told: Callable[[], None] | None = None

    def perform(self, effect: DiskEffect) -> DiskEvent:
        """Perform one effect and answer it."""
        event = super().perform(effect)
        if self.told is not None and not isinstance(effect, Read | List):
            self.told()
        return event


class Small(World):
    """A world on a disk that is given."""

    given: Disk

    def __init__(self, seed: int, knobs: Knobs, disk: Disk) -> None:
        self.given = disk
        super().__init__(seed, broker(knobs.settings(), knobs.beyond()), weather=QUICK)

    def start(self, _: object = None) -> None:
        """Start the broker's process."""
        if self.disk is not self.given:
            self.disk = self.given
            self.disk_faults = DiskFaults(no_faults(), self.disk)
        super().start()


def exhaust(seed: int) -> Exhausted:
    """Run one small history, and crash it everywhere."""
    chance = Chance(seed, "exhaustive")
    knobs = Knobs(
        segment_bytes=chance.one_of(150, 300, 700),
        index_interval_bytes=chance.one_of(0, 100, 4096),
        topics=1,
        partitions=1,
        producers=1,
        in_flight=chance.one_of(1, 3),
        batch_records=chance.one_of(1, 2),
        value_bytes=chance.one_of(1, 40, 600),
        think_ms=2,
    )
    result = Exhausted()
    disk = Watched()
    world = Small(seed, knobs, disk)
    ledger = Ledger(disk, world.damaged)
    scene = Scene(world, ledger, knobs, chance)
    seen: set[bytes] = set()
    waiting: list[tuple[Image, Acked]] = []

    def crash_everywhere() -> None:
        result.moments += 1
        acked = {book.key: dict(book.acked) for book in ledger.books}
        for image in images_of(disk):
            digest = _digest(image)
            if digest not in seen:
                seen.add(digest)
                waiting.append((image, acked))

    world.talk("set-up", set_up(scene))
    world.run()
    disk.told = crash_everywhere
    world.talk("producer", Producer("producer", scene, chance, is_plain=False).script())
    world.pass_time(knobs.think_ms * 12)
    disk.told = None
    stride = -(-len(waiting) // IMAGES_MAX) or 1
    chosen = waiting[chance.below(stride) :: stride]
    result.skipped = len(waiting) - len(chosen)
    for image, acked in chosen:
        result.images += 1
        result.violation = _judge(seed, knobs, image, acked, scene.topics)
        if result.violation:
            break
    return result


# ---- images ----------------------------------------------------------------------------------------------


def images_of(disk: Disk) -> Iterator[Image]:
    """Give every image that a power loss may leave now, within what the module's head says."""
    durable, present = disk.durable_names, disk.files
    for names, whole in ((dict(present), True), (dict(durable), False), (dict(present), False)):
        base = {name: _content(inode, whole=whole) for name, inode in names.items()}
        yield base
        for name, inode in names.items():
            if inode is not None and inode.unsynced:
                yield from ({**base, name: content} for content in _partial(inode))
        changed = [
            n for n in sorted({*present, *durable}) if present.get(n, disk) is not durable.get(n, disk)
        ]
        for name in changed:
            other = durable if names.get(name, disk) is present.get(name, disk) else present
            image = dict(base)
            image.pop(name, None)
            if name in other:
                image[name] = _content(other[name], whole=whole)
            yield image


def _content(inode: Inode | None, *, whole: bool) -> bytes | None:
    if inode is None:
        return None
    return bytes(inode.data if whole else inode.synced)


def _partial(inode: Inode) -> Iterator[bytes]:
    """Give a file with the first k unsynced changes, and with a part of the next."""
    content = bytearray(inode.synced)
    for position, data in inode.unsynced:
        yield bytes(content)
        if data is None:
            _change(content, position, None)
            continue
        ends = range(SECTOR_BYTES - position % SECTOR_BYTES, len(data), SECTOR_BYTES)
        middles = (end - SECTOR_BYTES // 2 for end in ends)
        cuts = sorted(cut for cut in {*ends, *middles, len(data) // 2, len(data) - 1} if cut > 0)
        for cut in cuts[:PIECES_MAX]:
            torn = bytearray(content)
            _change(torn, position, data[:cut])
            yield bytes(torn)
            # The end of the write is there and its beginning is not.
            torn = bytearray(content)
            _change(torn, position + cut, data[cut:])
            yield bytes(torn)
        _change(content, position, data)
    yield bytes(content)


def _change(content: bytearray, position: int, data: bytes | None) -> None:
    if data is None:
        del content[position:]
        return
    if len(content) < position:
        content.extend(bytes(position - len(content)))
    content[position : position + len(data)] = data


def _digest(image: Image) -> bytes:
    digest = blake2b(digest_size=16)
    for name in sorted(image):
        content = image[name]
        digest.update(name.encode() + (b"\0/" if content is None else b"\0%d\0" % len(content) + content))
    return digest.digest()


# ---- judging ---------------------------------------------------------------------------------------------


def _judge(seed: int, knobs: Knobs, image: Image, acked: Acked, topics: dict[str, Topic]) -> str:
    """Start a broker from an image, and read all; return what is missing."""
    disk = Disk.of(image)
    world = Small(seed, knobs, disk)
    ledger = Ledger(disk, world.damaged)
    scene = Scene(world, ledger, knobs, Chance(seed, "verifier"))
    reader = Reader("verifier", scene, Chance(seed, "verifier"))
    reader.read_back = {}
    for key, records in acked.items():
        book = ledger.book(key)
        book.acked = records
        book.sent = _Anything()
    try:
        world.talk("verifier", _reading(reader, scene, list(topics)))
        world.run(limit_ms=PROMISE_MS)
        for name, index in reader.positions:
            found = reader.read_back.get((name, index), {})
            ledger.ended(f"{name}-{index}", 0, 0, found)
    except Violation as broken:
        return str(broken)
    except Stuck as stuck:
        life = world.life
        notes = [] if life is None else [note.fields for note in life.notes]
        return f"LV: after a crash the broker does not serve: {stuck}; {notes}"
    except Exception as error:  # noqa: BLE001 – whatever the broker raises is what was to be found
        return f"{type(error).__name__} after a crash: {error}"
    return ""


class _Anything(set[str]):
    """A set that has everything: what was under way at the crash may be there."""

    def __contains__(self, _: object) -> bool:
        return True


def _reading(reader: Reader, scene: Scene, names: list[str]) -> Script:
    while len(scene.topics) < len(names):
        try:
            (answer,) = yield ask_for(names)
        except Lost:
            yield Wait(20)
            continue
        learn(scene, answer)
        yield Wait(5)
    reader.assign(reader.all_places())
    while not reader.is_at_end():
        yield from reader.poll()
        yield Wait(1)
