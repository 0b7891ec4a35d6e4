"""Every setting: its name (Kafka's own), type, default, bounds, and what becomes of it.

    setting.py   one setting and its text        topic.py     the topics' table
    broker.py    the broker's table              unserved.py  Kafka's other settings, and why they do nothing
    resolve.py   which layer's value holds       settings.py  a node's settings as one value
    log.py       what one partition's log obeys

Importing this package imports only `log.py`; the tables are imported from their modules by those who need them.
"""

from rafka.core.config.log import INT64_MAX, LogConfig

__all__ = ["INT64_MAX", "LogConfig"]
