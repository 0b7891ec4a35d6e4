"""What one client, or one group, may rely on: offsets that were committed stay so, watermarks do not go back.

Beyond Jepsen: `commit-regress`, `unwritten-commit`, `commit-ahead`, `double-processing`, `watermark-regress`.
All are cheap, and none is looked for if the history has no such operations.
"""

from bisect import bisect_left

from rafka.sim.check.history import FAIL, INFO, NEVER, OK, UNKNOWN, Commit, History, Watermarks
from rafka.sim.check.orders import Orders
from rafka.sim.check.report import Findings

GroupKey = tuple[str, int]


def check_groups(history: History, orders: Orders, found: Findings) -> None:
    """Judge group offsets and watermarks."""
    writes: dict[GroupKey, list[Commit]] = {}
    for row in history.commits:
        if history.outcome[row.op] != FAIL:
            writes.setdefault((row.group, row.key), []).append(row)
    reads: dict[GroupKey, list[Commit]] = {}
    for row in history.committed:
        reads.setdefault((row.group, row.key), []).append(row)
    telling = {row.op for row in history.commits}
    in_doubt = bool(reads) and any(
        history.outcome[op] == INFO and f == "txn" and op not in telling for op, f in enumerate(history.f)
    )
    for group_key, rows in reads.items():
        check_committed(history, writes.get(group_key, []), rows, found, in_doubt=in_doubt)
    if history.commits:
        check_ahead(history, orders, writes, found)
        check_double(history, found)
    if history.watermarks:
        check_watermarks(history, found)


def check_committed(
    history: History, writes: list[Commit], reads: list[Commit], found: Findings, *, in_doubt: bool
) -> None:
    """Hold what was read of one group's offset of one key against what was committed before.

    A read may return what a commit wrote that began before the read ended, unless another commit lies wholly
    between the two; in the beginning there is no offset. in_doubt: some transaction may have committed what
    nobody told.
    """
    sure = sorted(
        (history.end[row.op], history.begin[row.op]) for row in writes if history.outcome[row.op] == OK
    )
    ends = [end for end, _ in sure]
    newest = [0]
    for _, begin in sure:
        newest.append(max(newest[-1], begin))
    by_offset: dict[int, list[int]] = {}
    for row in writes:
        by_offset.setdefault(row.offset, []).append(row.op)
    for read in reads:
        begin, end = history.begin[read.op], history.end[read.op]
        overwritten = newest[bisect_left(ends, begin)]
        ops = [op for op in by_offset.get(read.offset, ()) if history.begin[op] < end]
        fresh = any(history.end[op] >= overwritten for op in ops)
        told = read.group, history.keys[read.key], "none" if read.offset == UNKNOWN else read.offset
        if fresh or (read.offset == UNKNOWN and overwritten == 0):
            continue
        if ops or read.offset == UNKNOWN:
            later = next(row.op for row in writes if history.begin[row.op] == overwritten)
            words = "the offset of {} for {} was read as {}, which a later commit had replaced"
            found.add("commit-regress", [*ops[:1], later, read.op], words, *told)
        elif not in_doubt:
            words = "the offset of {} for {} was read as {}, which nobody had committed"
            found.add("unwritten-commit", [read.op], words, *told)


def check_ahead(
    history: History, orders: Orders, writes: dict[GroupKey, list[Commit]], found: Findings
) -> None:
    """Find commits of offsets that lie beyond records which none of the group had been given by then.

    A group that has read nothing of a key yet may commit any position: it may begin at the end.
    """
    members: dict[str, set[int]] = {}
    for row in history.commits:
        members.setdefault(row.group, set()).add(history.process[row.op])
    # What a poll without an answer returned, nobody knows: it may be everything.
    blind: dict[str, list[tuple[int, int]]] = {group: [] for group in members}
    for op, f in enumerate(history.f):
        if f in ("poll", "txn") and history.outcome[op] == INFO and not history.segments[op]:
            for group, processes in members.items():
                if history.process[op] in processes:
                    blind[group].append((history.begin[op], NEVER))
    for (group, key), rows in writes.items():
        polled: list[tuple[int, int]] = []
        for segment, of in enumerate(history.s_key):
            op = history.s_op[segment]
            if of == key and history.process[op] in members[group] and history.s_offsets[segment]:
                told = history.begin[op] if history.end[op] == NEVER else history.end[op]
                polled.append((told, max(history.s_offsets[segment])))
        polled += blind[group]
        polled.sort()
        lines = [line for line, _ in polled]
        highest = [UNKNOWN]
        for _, offset in polled:
            highest.append(max(highest[-1], offset))
        offsets = orders.offsets[key]
        for row in rows:
            # A transaction polls and commits in one operation.
            by = history.end[row.op] + 1 if history.segments[row.op] else history.begin[row.op]
            reached = highest[bisect_left(lines, by)]
            last = bisect_left(offsets, row.offset) - 1
            if reached != UNKNOWN and last >= 0 and offsets[last] > reached:
                words = "{} committed {} for {}, but had read up to {} only, and there is a record at {}"
                told_words = group, row.offset, history.keys[key], reached, offsets[last]
                found.add("commit-ahead", [row.op], words, *told_words)


def check_double(history: History, found: Findings) -> None:
    """Find input records that two committed transactions of one group processed.

    A transaction has processed what it polled, or its process polled since its last transaction, below the
    offset that it commits.
    """
    commits: dict[int, list[Commit]] = {}
    for row in history.commits:
        if history.f[row.op] == "txn":
            commits.setdefault(row.op, []).append(row)
    if not commits:
        return
    done: dict[GroupKey, dict[int, int]] = {}
    pending: dict[int, dict[int, set[int]]] = {}
    for op, segments in enumerate(history.segments):
        mine = pending.setdefault(history.process[op], {})
        for segment in segments:
            mine.setdefault(history.s_key[segment], set()).update(history.s_offsets[segment])
        if history.f[op] != "txn":
            continue
        if history.outcome[op] == OK:
            for row in commits.get(op, ()):
                before = done.setdefault((row.group, row.key), {})
                for offset in sorted(o for o in mine.get(row.key, ()) if o < row.offset):
                    if offset in before:
                        words = "the record at {} of {} was processed by two committed transactions of {}"
                        told = offset, history.keys[row.key], row.group
                        found.add("double-processing", [before[offset], op], words, *told)
                    before[offset] = op
        mine.clear()


def check_watermarks(history: History, found: Findings) -> None:
    """Find what goes back, or below what was read, in the eyes of one process."""
    by_op: dict[int, list[Watermarks]] = {}
    for row in history.watermarks:
        by_op.setdefault(row.op, []).append(row)
    last: dict[tuple[int, int], Watermarks] = {}
    read: dict[tuple[int, int], tuple[int, int]] = {}
    for op, segments in enumerate(history.segments):
        process = history.process[op]
        for segment in segments:
            if history.s_offsets[segment] and history.outcome[op] != INFO:
                at = process, history.s_key[segment]
                read[at] = max(read.get(at, (UNKNOWN, op)), (max(history.s_offsets[segment]), op))
        for row in by_op.get(op, ()):
            at = process, row.key
            before = last.get(at, row)
            for name in ("start", "stable", "high"):
                now, was = getattr(row, name), getattr(before, name)
                if UNKNOWN < now < was:
                    words = "process {} saw the {} offset of {} go back from {} to {}"
                    told = process, name, history.keys[row.key], was, now
                    found.add("watermark-regress", [before.op, op], words, *told)
            top, reader = read.get(at, (UNKNOWN, op))
            if UNKNOWN < row.high <= top:
                words = "process {} was told the high watermark {} of {}, but had read offset {}"
                found.add(
                    "watermark-regress", [reader, op], words, process, row.high, history.keys[row.key], top
                )
            kept = [now if now != UNKNOWN else was for now, was in zip(row[2:], before[2:], strict=True)]
            last[at] = Watermarks(op, row.key, *kept)
