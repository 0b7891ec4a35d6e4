"""Whether a node is ready: it serves, and every partition that it leads can take a produce."""

from rafka.core.node.node import Node
from rafka.core.node.startup import Stage
from rafka.core.types import Now

NAMED_MAX = 100
"""So many partitions are named; of the rest only the number is told."""


def unready(node: Node, now: Now) -> list[str]:
    """Say why the node is not ready, a line for each reason; nothing when it is."""
    if node.shutdown.has_begun:
        return ["stopping"]
    if node.startup.stage is not Stage.SERVING:
        return [f"starting: {node.startup.stage.name.lower()}"]
    reasons = []
    for partition in (node.control.partition, *node.partitions):
        refusal = partition.append_refusal(acks=1, now=now)
        if refusal is not None:
            state = "offline" if partition.log.is_offline else "refusing"
            reasons.append(f"{state}: {partition.topic}-{partition.index} {refusal.name}")
    if len(reasons) > NAMED_MAX:
        reasons[NAMED_MAX:] = [f"and {len(reasons) - NAMED_MAX} more"]
    return reasons
