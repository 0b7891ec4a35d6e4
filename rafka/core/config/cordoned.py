"""cordoned.log.dirs (KIP-1066): the data directories that get no new partitions. What is in them goes on as ever.

Entries are names of directories as log.dirs has them, or as DescribeLogDirs shows them; "*" stands for all of them,
and alone. A broker whose directories are all cordoned is left out when new partitions are placed.

Source: `ServerLogConfigs` and `KafkaConfig.validateCordonedLogDirs` of Kafka 4.4, and what it answers.
"""

from collections.abc import Mapping
from typing import Final

from rafka.core.config.setting import entries

CORDONED: Final = "cordoned.log.dirs"
ALL: Final = "*"


def names_of(data_dir: str, static: Mapping[str, str]) -> tuple[str, ...]:
    """Return what the one data directory may be called. data_dir: its whole path; static: given at the start."""
    configured = static.get("log.dirs")
    return (data_dir,) if configured is None else (data_dir, configured)


def wrong_with_cordon(text: str, names: tuple[str, ...]) -> str | None:
    """Say what is wrong with a canonical value; None: nothing. names: of the one directory."""
    given = entries(text)
    if ALL in given and len(given) > 1:
        return f"When {CORDONED} is set to {ALL}, it must not contain other values"
    missing = [entry for entry in given if entry != ALL and entry not in names]
    if not missing:
        return None
    return (
        f"All entries in {CORDONED} must be present in log.dirs or log.dir, here {names[0]}. "
        f"Missing entries : {', '.join(missing)}"
    )


def is_cordoned(text: str, names: tuple[str, ...]) -> bool:
    """Whether a canonical value cordons the one directory."""
    return any(entry == ALL or entry in names for entry in entries(text))
