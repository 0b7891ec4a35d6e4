"""Who plays in a run: producers, readers, members of groups and administrators, and what each is made of.

Each is a script that speaks the protocol by hand, and knows what it sees, or the shipped client library with somebody
who uses it; `library_share` says which, and keeps their number as it is. After its death a client is made anew, under
the name of its next incarnation.
"""

from collections.abc import Callable
from typing import TypeAlias

from rafka.sim.administering import Admin
from rafka.sim.chance import Chance
from rafka.sim.compacting import Keyed, KeyedProducer, KeyedReader
from rafka.sim.consuming import Reader
from rafka.sim.driven import Driven
from rafka.sim.grouping import Member
from rafka.sim.library import LibraryAdmin, LibraryMember, LibraryProducer, LibraryReader, Shared
from rafka.sim.producing import Producer
from rafka.sim.scene import Scene
from rafka.sim.talk import Client, Script
from rafka.sim.world import World

Scripted: TypeAlias = Callable[[str, Chance], Script]
OfLibrary: TypeAlias = Callable[[str, Chance], Driven]
Maker: TypeAlias = Callable[[], Client]


class Cast:
    """The clients of one run. makers: by name, what makes the next incarnation, and lets it begin."""

    def __init__(self, world: World, scene: Scene, chance: Chance, keyed: Keyed | None = None) -> None:
        self.makers: dict[str, Maker] = {}
        self._world = world
        self._scene = scene
        self._chance = chance
        self._counts: dict[str, int] = {}
        knobs = scene.knobs
        self._timeout_ms = knobs.client_timeout_ms + knobs.fetch_wait_ms
        for number in range(knobs.producers):
            self._producer(number)
        for number in range(knobs.readers):
            self._reader(f"reader-{number}")
        for group in range(knobs.groups):
            self._group(group)
        if knobs.has_admin:
            self._admin()
        if keyed is not None:
            self._use("keyed-producer", lambda own, c: KeyedProducer(own, keyed, scene, c, world).client)
            self._use("keyed-reader", lambda own, c: KeyedReader(own, keyed, scene, c, world).client)

    def _is_of_library(self, role: str) -> bool:
        return self._chance.fork(f"library {role}").happens(self._scene.knobs.library_share)

    def _producer(self, number: int) -> None:
        scene, world, chance, knobs = self._scene, self._world, self._chance, self._scene.knobs
        name = f"producer-{number}"
        if self._is_of_library(name):
            wants_acks = not chance.fork(f"silent {number}").happens(knobs.silent_share)
            self._use(
                name, lambda own, c: LibraryProducer(own, scene, c, world, wants_acks=wants_acks).client
            )
            return
        plain = chance.fork(f"plain {number}").happens(knobs.plain_share)
        self._play(name, lambda own, c: Producer(own, scene, c, is_plain=plain).script(), self._timeout_ms)

    def _reader(self, name: str) -> None:
        scene, world = self._scene, self._world
        if self._is_of_library(name):
            self._use(name, lambda own, c: LibraryReader(own, scene, c, world).client)
        else:
            self._play(name, lambda own, c: Reader(own, scene, c).script(), self._timeout_ms)

    def _group(self, group: int) -> None:
        scene, world, knobs = self._scene, self._world, self._scene.knobs
        is_of_library = self._is_of_library(f"group-{group}")
        group_id = f"{'l' if is_of_library else 'g'}{scene.prefix}{group}"
        shared = Shared(group_id)
        timeout_ms = self._timeout_ms + 2 * knobs.session_ms + knobs.rebalance_delay_ms
        for number in range(knobs.members):
            name = f"member-{group}-{number}"
            if is_of_library:
                self._use(name, lambda own, c: LibraryMember(own, shared, scene, c, world).client)
            else:
                self._play(name, lambda own, c: Member(own, group_id, scene, c).script(), timeout_ms)

    def _admin(self) -> None:
        scene, world = self._scene, self._world
        self._play("admin", lambda _, c: Admin(scene, c).script(), self._timeout_ms)
        if self._is_of_library("admin"):
            self._use("library-admin", lambda own, c: LibraryAdmin(own, scene, c, world).client)

    # ---- making ------------------------------------------------------------------------------------------

    def _next(self, name: str) -> tuple[str, Chance]:
        count = self._counts[name] = self._counts.get(name, 0) + 1
        own = f"{name}.{count}"
        return own, self._chance.fork(own)

    def _play(self, name: str, script: Scripted, timeout_ms: int) -> None:
        def make() -> Client:
            own, chance = self._next(name)
            talker = self._world.talk(own, script(own, chance), timeout_ms=timeout_ms)
            talker.entity = name
            return talker

        self.makers[name] = make

    def _use(self, name: str, client_of: OfLibrary) -> None:
        def make() -> Client:
            client = client_of(*self._next(name))
            client.entity = name
            self._world.join(client)
            return client

        self.makers[name] = make
