"""Writes docs/configuration.md from the tables of settings, so that the page cannot say anything else than the code.

    python tools/generate_configuration.py [--check]

--check: write nothing, and exit with 1 if the page is not what would be written.
"""

import sys
from collections import defaultdict
from pathlib import Path

from rafka.core.config import unserved
from rafka.core.config.broker import BROKER_SETTINGS
from rafka.core.config.setting import Setting
from rafka.core.config.topic import TOPIC_SETTINGS

PAGE = Path(__file__).parents[1] / "docs" / "configuration.md"

HEAD = """# Settings

<!-- Written by tools/generate_configuration.py from rafka/core/config. Change it there. -->

Settings have Kafka's names, kinds, bounds and meanings. A broker takes them from a TOML file (`--config rafka.toml`)
and from the command line (`--set name=value`, which wins). Dotted names can be written plainly or as tables:

```toml
num.partitions = 3
[log]
retention.ms = 86400000
cleanup.policy = ["compact", "delete"]
```

A topic's own settings are given when it is created and changed while it is used:

```bash
rafka topic create events --config retention.ms=3600000
rafka topic config events --set segment.ms=600000 --delete retention.ms
rafka topic config events
```

Nothing is silently ignored. A name that Kafka does not have is an error that suggests the nearest one. A setting that
promises something this broker would not keep is refused, with the reason, unless it has its default, which promises
nothing. A setting that tunes machinery which is built differently here is accepted with a warning.
"""

TOPICS = """
## Topic settings

Without a value of its own, a topic has the broker's, under the name in the last column; the first that is set wins.
"""

BROKER = """
## Broker settings

Those that only give topics their defaults are in the table above; they can also be changed while the broker runs
(IncrementalAlterConfigs), but for the ones in hours and minutes. Those below are read once, at the start, all but
`cordoned.log.dirs`. Options of `rafka run` stand for some: `--data-dir` is `log.dirs`, `--listen` is `listeners`,
`--advertise` is `advertised.listeners`, `--node-id` is `node.id`, `--metrics-listen` is `metrics.listen`.
"""

REFUSED = """
## Refused

Every value but the default. A name that ends in a dot stands for all that begin with it.
"""

HARMLESS = """
## Accepted, and without effect

The broker starts and says in its journal that they do nothing.
"""


def page() -> str:
    synonyms = {name for setting in TOPIC_SETTINGS.values() for name in setting.synonyms}
    topics = [setting for setting in TOPIC_SETTINGS.values() if not setting.fixed]
    brokers = [one for one in BROKER_SETTINGS.values() if one.name not in synonyms and not one.fixed]
    assert [one.name for one in brokers if one.dynamic] == ["cordoned.log.dirs"], (
        "the page says which changes while running"
    )
    parts = [
        HEAD,
        TOPICS,
        "\n",
        *table(topics, of_topics=True),
        BROKER,
        "\n",
        *table(brokers, of_topics=False),
    ]
    fixed = [setting for setting in (*TOPIC_SETTINGS.values(), *BROKER_SETTINGS.values()) if setting.fixed]
    refused, harmless = reasons(fixed)
    return "".join([*parts, REFUSED, "\n", *lists(refused), HARMLESS, "\n", *lists(harmless)])


def table(settings: list[Setting], *, of_topics: bool) -> list[str]:
    last = (" broker's name |", "---|") if of_topics else ("", "")
    lines = [f"| setting | default | values | meaning |{last[0]}\n|---|---|---|---|{last[1]}\n"]
    for one in sorted(settings, key=lambda setting: setting.name):
        cells = [f"`{one.name}`", code(one.default), bounds(one), one.text.replace("|", "\\|")]
        if of_topics:
            cells.append("<br>".join(map(code, one.synonyms)) or "none")
        lines.append(f"| {' | '.join(cells)} |\n")
    return lines


def code(text: str | None) -> str:
    return "unset" if text is None else "empty" if text == "" else f"`{text}`"


def bounds(setting: Setting) -> str:
    kind = setting.kind.name.lower()
    if setting.choices:
        return f"{'list of ' if kind == 'list' else ''}{', '.join(map(code, setting.choices))}"
    low, high = setting.low, setting.high
    if low is not None and high is not None:
        return f"{kind}, {low} to {high}"
    return kind if low is None else f"{kind}, from {low}"


Reasons = dict[str, list[str]]


def reasons(fixed: list[Setting]) -> tuple[Reasons, Reasons]:
    refused: Reasons = defaultdict(list)
    harmless: Reasons = defaultdict(list)
    for setting in fixed:
        refused[setting.fixed].append(named(setting.name, setting.default))
    names = [*unserved.unserved_names(), *prefixes()]
    for name in names:
        found = unserved.unserved(name)
        assert found is not None
        (harmless if found.harmless else refused)[found.reason].append(named(name, found.default))
    return refused, harmless


def prefixes() -> list[str]:
    return [name for name in unserved._all() if name.endswith(".")]  # noqa: SLF001


def named(name: str, default: str | None) -> str:
    return f"`{name}`" if default is None else f"`{name}={default}`"


def lists(found: Reasons) -> list[str]:
    return [
        f"- {reason[0].upper()}{reason[1:]}: {', '.join(sorted(dict.fromkeys(names)))}\n"
        for reason, names in found.items()
    ]


def main() -> int:
    text = page()
    if "--check" in sys.argv:
        return PAGE.read_text("utf-8") != text
    PAGE.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
