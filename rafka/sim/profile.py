"""Profiles: which kinds of faults a run may have, how its knobs are drawn, and how long it lasts.

    calm           no faults, no odd knobs: what a benchmark or a first look wants
    default        everything that one broker must survive without losing anything it acknowledged
    network        only connections and clients misbehave
    storage        default's disk and power, and disks that damage bytes: loss is excused there, false data never is
    beyond-budget  everything, and disks that lie about syncs
    exhaustive     a small run; then every crash of it: see exhaustive.py

A TOML file may start from one of these:

    base = "default"
    time_ms = 20000
    [faults]                # "off", "light", "heavy", or "swarm": drawn for each seed
    "net.reset" = "heavy"
    "disk.*" = "off"
    [knobs]                 # fixed, instead of drawn
    segment_bytes = 500
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path

import attrs

from rafka.core.errors import RafkaError
from rafka.core.shape import value
from rafka.sim.chance import Chance
from rafka.sim.faults import HEAVY, KINDS, LEVELS, LIGHT, OFF
from rafka.sim.knobs import Knobs
from rafka.sim.knobs import drawn as drawn_knobs

DAMAGING = ("disk.latent", "disk.rot", "disk.misdirect-write", "disk.misdirect-read", "disk.lost-write")
LYING = ("disk.lies",)
SWARM = 3
"""A level that each seed draws for itself."""
_LEVEL_NAMES = (*LEVELS, "swarm")


@value
class Profile:
    """faults: level of each kind, SWARM or fixed; knobs: those that are fixed; flush_os: share of runs."""

    name: str
    faults: Mapping[str, int]
    time_ms: int = 10_000
    flush_os: float = 0.15
    knobs: Mapping[str, object] = attrs.field(factory=dict)
    is_plain: bool = False
    """Whether knobs are at their defaults instead of drawn."""


def _swarm(*groups: str, without: tuple[str, ...] = ()) -> dict[str, int]:
    return {name: SWARM for name, kind in KINDS.items() if kind.group in groups and name not in without}


ALL = ("net", "proc", "client", "loss", "disk", "clock")
PROFILES: Mapping[str, Profile] = {
    "calm": Profile("calm", {}, flush_os=0.0, is_plain=True),
    "default": Profile("default", _swarm(*ALL, without=DAMAGING + LYING)),
    "network": Profile("network", _swarm("net", "client"), flush_os=0.0),
    "storage": Profile("storage", _swarm("proc", "loss", "disk", without=LYING)),
    "beyond-budget": Profile("beyond-budget", _swarm(*ALL)),
    "exhaustive": Profile("exhaustive", {}, time_ms=300, flush_os=0.0),
}


class ProfileError(RafkaError):
    """A profile that cannot be read, or says what cannot be."""


def profile_of(name: str) -> Profile:
    """Return a profile by name, or read one from a TOML file. Raises: ProfileError."""
    if name in PROFILES:
        return PROFILES[name]
    if not name.endswith(".toml"):
        known = ", ".join(PROFILES)
        raise ProfileError(f"there is no profile {name}: it is one of {known}, or a .toml file")
    try:
        with Path(name).open("rb") as file:
            table = tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProfileError(f"{name}: {error}") from error
    try:
        return _read(name, table)
    except ProfileError as error:
        raise ProfileError(f"{name}: {error}") from error


def levels_of(profile: Profile, chance: Chance) -> dict[str, int]:
    """Draw how much of each kind a seed has. One in twelve has nothing, one in twelve has everything."""
    mood = chance.below(12)
    levels = {}
    for name in KINDS:
        level = profile.faults.get(name, OFF)
        dice = chance.draw()
        drawn = OFF if dice < 0.5 else LIGHT if dice < 0.85 else HEAVY
        if mood == 0:
            drawn = OFF
        elif mood == 1:
            drawn = LIGHT
        levels[name] = drawn if level == SWARM else level
    return levels


def knobs_of(profile: Profile, chance: Chance) -> Knobs:
    """Draw the knobs of a seed."""
    knobs = Knobs() if profile.is_plain else drawn_knobs(chance, flush_os=profile.flush_os)
    return attrs.evolve(knobs, **dict(profile.knobs))  # type: ignore[misc]  # a value is an attrs class


def _read(name: str, table: Mapping[str, object]) -> Profile:
    unknown = sorted(table.keys() - {"base", "time_ms", "faults", "knobs", "flush_os"})
    if unknown:
        raise ProfileError(f"there is no {unknown[0]} in a profile")
    base = PROFILES.get(str(table.get("base", "default")))
    if base is None:
        raise ProfileError(f"there is no profile {table['base']}")
    faults = dict(base.faults)
    for pattern, level in _table(table, "faults").items():
        kinds = [k for k in KINDS if k == pattern or (pattern.endswith("*") and k.startswith(pattern[:-1]))]
        if not kinds:
            raise ProfileError(f"there is no kind of fault {pattern}")
        if level not in _LEVEL_NAMES:
            raise ProfileError(f"{pattern} is {level}: it is one of {', '.join(_LEVEL_NAMES)}")
        faults |= dict.fromkeys(kinds, _LEVEL_NAMES.index(str(level)))
    knobs = _table(table, "knobs")
    for knob, given in knobs.items():
        default = getattr(Knobs(), knob, None)
        if default is None or type(given) is not type(default):
            raise ProfileError(f"{knob} = {given!r} is no knob")
    time_ms, flush_os = table.get("time_ms", base.time_ms), table.get("flush_os", base.flush_os)
    if not isinstance(time_ms, int) or time_ms < 0 or not isinstance(flush_os, int | float):
        raise ProfileError("time_ms is a number of ms, and flush_os a share")
    return Profile(name, faults, time_ms, float(flush_os), {**base.knobs, **knobs}, base.is_plain)


def _table(table: Mapping[str, object], name: str) -> dict[str, object]:
    found = table.get(name, {})
    if not isinstance(found, dict):
        raise ProfileError(f"{name} is not a table")
    return found
