"""Which topics have a label of their own: the first so many, each for as long as it exists; the others share one.

A topic that has come under `(other)` stays there until it is deleted or the process ends, and what deleted ones
among them counted stays in the sum: so no counter of a label ever goes back, but for a topic that is made anew under
the name of a deleted one. No topic can have the name `(other)`.
"""

from collections.abc import Mapping

from rafka.core.log.traffic import Traffic
from rafka.core.types import Uuid

OTHER = "(other)"


class Labels:
    """Gives labels to topics, within a bound. Look at all topics at each scrape: `look`, then `label_of`."""

    def __init__(self, topics_max: int) -> None:
        self._topics_max = topics_max
        self._named: dict[Uuid, str] = {}
        self._others: dict[Uuid, Traffic] = {}
        self.gone = Traffic()
        """What topics under (other) counted that are deleted."""

    @property
    def others(self) -> int:
        """How many topics share the label (other)."""
        return len(self._others)

    def look(self, topics: Mapping[Uuid, tuple[str, Traffic]]) -> None:
        """Take note of all topics that there are now, with name and counters."""
        for topic_id in [one for one in self._named if one not in topics]:
            del self._named[topic_id]
        for topic_id in [one for one in self._others if one not in topics]:
            self.gone.merge(self._others.pop(topic_id))
        for topic_id, (name, traffic) in topics.items():
            if topic_id in self._named or topic_id in self._others:
                continue
            if len(self._named) < self._topics_max:
                self._named[topic_id] = name
            else:
                self._others[topic_id] = traffic

    def label_of(self, topic_id: Uuid) -> str:
        """Return the label of a topic that was there at the last look."""
        return self._named.get(topic_id, OTHER)
