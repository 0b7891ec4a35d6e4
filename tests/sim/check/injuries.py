"""Ways to break exactly one thing in a valid history of `world.py`.

Each function takes the world and its events (its own copy) and changes them so that one anomaly, the one of its name, is
there and no other; it gives False where this history offers no place for it. `EXPECTED` says what must then be found,
`HEADER` what the history must promise, `PLAIN` which need logs without holes.
"""

HEADER = {"hole": {"dense": True}}
PLAIN = {"hole"}


def polls(events, key, process=None):
    """(event, pairs) of the ok reads of a key."""
    for event in events:
        if event["type"] == "ok" and event["f"] in ("poll", "txn") and process in (None, event["process"]):
            for mop in event["value"]:
                if mop[0] == "poll" and len(mop) == 2 and mop[1].get(key):
                    yield event, mop[1][key]


def readers(events):
    return [e["process"] for e in events if e["type"] == "ok" and e["f"] in ("assign", "subscribe")]


def how(events, process):
    return next(e["f"] for e in events if e["process"] == process and e["f"] in ("assign", "subscribe"))


def last_poll(events, random, key):
    """The final poll of one reader, as (event, pairs of the key)."""
    process = random.choice(readers(events))
    event = [e for e in events if e["process"] == process and e["type"] == "ok" and e["f"] == "poll"][-1]
    return event, event["value"][0][1].setdefault(key, [])


def acked(events):
    """(invoke, ok, place, key, offset, value) of every acknowledged send of a writer."""
    for event in events:
        if event["type"] == "ok" and event["f"] in ("send", "txn") and event["process"] < 2:
            for place, (_, key, (offset, value)) in enumerate(event["value"]):
                yield invocation(events, event), event, place, key, offset, value


def invocation(events, event):
    before = [e for e in events[: position(events, event)] if e["process"] == event["process"]]
    return before[-1]


def position(events, event):
    return next(i for i, e in enumerate(events) if e is event)


def pair_of(events, random, same):
    """Two single acknowledged sends to one key at adjacent offsets, in real-time order; by one process or by two."""
    every = list(acked(events))
    by_place = {(row[3], row[4]): row for row in every if len(row[1]["value"]) == 1}
    pairs = []
    for (key, offset), a in by_place.items():
        records = [r[0] for r in sorted({tuple(p) for _, ps in polls(events, key) for p in ps})]
        later = [o for o in records if o > offset][:1]
        b = by_place.get((key, later[0])) if later else None
        if b is None or (a[1]["process"] == b[1]["process"]) != same:
            continue
        if position(events, a[1]) > position(events, b[0]):
            continue
        read = [position(events, e) for e, ps in polls(events, key) if [offset, a[5]] in ps]
        if read and min(read) < position(events, b[0]):
            continue
        pairs.append((a, b))
    return random.choice(pairs) if pairs else None


def swap(events, key, one, other):
    """Exchange two records of a key, everywhere: in acknowledgements and in polls."""
    (o1, v1), (o2, v2) = one, other
    to = {v1: o2, v2: o1}
    at = {o1: v2, o2: v1}
    for event in events:
        if event["type"] == "ok" and event["f"] in ("send", "txn"):
            for mop in event["value"]:
                if mop[0] == "send" and mop[1] == key and isinstance(mop[2], list) and mop[2][1] in to:
                    mop[2] = [to[mop[2][1]], mop[2][1]]
    for _, pairs in polls(events, key):
        for pair in pairs:
            if pair[0] in at:
                pair[1] = at[pair[0]]


def forget_producer(*invocations):
    for event in invocations:
        event.pop("producer", None)


def end_of(world, key):
    return world.logs[key].end + 10


# What was read.


def duplicate(world, events, random):
    _, pairs = last_poll(events, random, "orders-0")
    if not world.logs["orders-0"].records:
        return False
    pairs.append([end_of(world, "orders-0"), random.choice(world.logs["orders-0"].records)[1]])
    return None


def inconsistent_offsets(world, events, random):
    seen = {}
    for _event, pairs in polls(events, "orders-0"):
        for pair in pairs:
            seen.setdefault(pair[0], []).append(pair)
    shared = [pairs for pairs in seen.values() if len(pairs) > 1]
    if not shared:
        return False
    random.choice(random.choice(shared))[1] = 900
    events.insert(0, {"process": 90, "type": "invoke", "f": "send", "value": [["send", "orders-0", 900]]})
    return None


def G1a(world, events, random):  # noqa: N802 – its name
    _, pairs = last_poll(events, random, "orders-1")
    pairs.append([end_of(world, "orders-1"), 900])
    events[:0] = [
        {"process": 90, "type": "invoke", "f": "txn", "value": [["send", "orders-1", 900]]},
        {"process": 90, "type": "fail", "f": "txn"},
    ]


def precommitted_read(world, events, random):
    at = end_of(world, "orders-0")
    sends = [["send", "orders-0", 900], ["poll"]]
    told = [["send", "orders-0", [at, 900]], ["poll", {"orders-0": [[at, 900]]}]]
    events += [
        {"process": 90, "type": "invoke", "f": "txn", "value": sends},
        {"process": 90, "type": "ok", "f": "txn", "value": told},
    ]


def unwritten_read(world, events, random):
    _, pairs = last_poll(events, random, "orders-0")
    pairs.append([end_of(world, "orders-0"), 900])
    if random.random() < 0.5:
        sends = [["send", "orders-0", 900]]
        events.append({"process": 90, "type": "invoke", "f": "send", "value": sends})


def lost_write(world, events, random):
    rows = [
        row for row in acked(events) if row[4] < max([r[0] for r in world.logs[row[3]].records], default=0)
    ]
    if not rows:
        return False
    *_, key, offset, value = random.choice(rows)
    for event, pairs in list(polls(events, key)):
        # Every consumer was rebalanced, so that nobody can be blamed for skipping it.
        event["rebalance-log"] = [{"keys": [key]}]
        if [offset, value] in pairs:
            pairs.remove([offset, value])
    # Nor for committing offsets beyond it.
    events[:] = [e for e in events if e["f"] not in ("commit", "committed")]
    for event in events:
        if event["f"] == "txn" and event["value"]:
            event["value"] = [mop for mop in event["value"] if mop[0] != "commit"]
    return None


def unseen(world, events, random):
    at = random.choice([end_of(world, "orders-0"), None])
    place = len(events) if at else random.randrange(len(events) + 1)
    events[place:place] = [
        {"process": 90, "type": "invoke", "f": "send", "value": [["send", "orders-0", 900]]},
        {"process": 90, "type": "ok", "f": "send", "value": [["send", "orders-0", [at, 900]]]},
    ]


def torn_transaction(world, events, random):
    _, pairs = last_poll(events, random, "orders-0")
    pairs.append([end_of(world, "orders-0"), 900])
    sends = [["send", "orders-0", 900], ["send", "orders-1", 901]]
    events[:0] = [
        {"process": 90, "type": "invoke", "f": "txn", "value": sends},
        {"process": 90, "type": "info", "f": "txn"},
    ]


# The way of a consumer.


def int_poll_skip(world, events, random):
    long = [pairs for event, pairs in polls(events, "orders-0") if len(pairs) > 2 and event["f"] == "poll"]
    if not long:
        return False
    random.choice(long).pop(1)
    return None


def int_nonmonotonic_poll(world, events, random):
    long = [pairs for event, pairs in polls(events, "orders-0") if event["f"] == "poll"]
    if not long:
        return False
    pairs = random.choice(long)
    place = random.randrange(len(pairs))
    pairs.insert(place, list(pairs[place]))
    return None


def second_polls(events, random, want):
    for process in readers(events):
        if how(events, process) == want:
            rows = [pairs for _, pairs in polls(events, "orders-0", process)]
            if len(rows) > 1:
                place = random.randrange(1, len(rows))
                yield rows[place - 1], rows[place]


def poll_skip(world, events, random, want="assign"):
    chosen = [rows for rows in second_polls(events, random, want) if len(rows[1]) > 1]
    if not chosen:
        return False
    random.choice(chosen)[1].pop(0)
    return None


def nonmonotonic_poll(world, events, random, want="assign"):
    chosen = list(second_polls(events, random, want))
    if not chosen:
        return False
    before, after = random.choice(chosen)
    after.insert(0, list(before[-1]))
    return None


def subscribed_poll_skip(world, events, random):
    return poll_skip(world, events, random, "subscribe")


def subscribed_nonmonotonic_poll(world, events, random):
    return nonmonotonic_poll(world, events, random, "subscribe")


def hole(world, events, random):
    pairs = [pairs for _, pairs in polls(events, "orders-0") if len(pairs) > 1]
    if not pairs:
        return False
    first = random.choice(random.choice(pairs)[1:])[0]
    for event in events:
        for mop in (event["value"] or []) if event["type"] == "ok" and event["f"] in ("send", "poll") else []:
            if mop[0] == "send" and mop[1] == "orders-0" and mop[2][0] >= first:
                mop[2][0] += 1
    for _, pairs in polls(events, "orders-0"):
        for pair in pairs:
            pair[0] += pair[0] >= first
    # Group offsets and ends were told of the log as it was.
    events[:] = [e for e in events if e["f"] not in ("commit", "committed", "list-offsets")]
    return None


# The order of sends.


def int_nonmonotonic_send(world, events, random):
    rows = [
        (invoke, ok)
        for invoke, ok, place, *_ in acked(events)
        if place == 1 and ok["value"][0][1] == ok["value"][1][1]
    ]
    if not rows:
        return False
    invoke, ok = random.choice(rows)
    (_, key, one), (_, _, other) = ok["value"]
    forget_producer(invoke)
    swap(events, key, list(one), list(other))
    return None


def nonmonotonic_send(world, events, random):
    found = pair_of(events, random, same=True)
    if not found:
        return False
    a, b = found
    forget_producer(a[0], b[0])
    swap(events, a[3], a[4:], b[4:])
    return None


def realtime_order(world, events, random):
    found = pair_of(events, random, same=False)
    if not found:
        return False
    a, b = found
    swap(events, a[3], a[4:], b[4:])
    return None


def two_of_a_producer(events, random):
    rows = {}
    for row in acked(events):
        rows.setdefault((row[1]["process"], row[3]), []).append(row)
    many = [row for row in rows.values() if len(row) > 1]
    return random.choice(many) if many else None


def sequence_order(world, events, random):
    rows = two_of_a_producer(events, random)
    if not rows:
        return False
    a, b = random.sample(rows, 2)
    one = next(mop for mop in a[0]["value"] if mop[2] == a[5])
    other = next(mop for mop in b[0]["value"] if mop[2] == b[5])
    one[3], other[3] = other[3], one[3]
    return None


def fenced_ack(world, events, random):
    rows = two_of_a_producer(events, random)
    if not rows or rows[0][0] is rows[-1][0]:
        return False
    rows[0][0]["producer"] = [rows[0][0]["producer"][0], 1]
    return None


# Groups and watermarks: clients of their own, with keys of their own.


def talk(process, f, asked, told):
    return [
        {"process": process, "type": "invoke", "f": f, "value": asked},
        {"process": process, "type": "ok", "f": f, "value": told},
    ]


def spread(events, random, parts):
    """Put events among the others, in their order."""
    places = sorted(random.randrange(len(events) + 1) for _ in parts)
    for place, event in reversed(list(zip(places, parts, strict=True))):
        events.insert(place, event)


def at(offset):
    return {"group": "g90", "offsets": {"orders-0": offset}}


def commit_regress(world, events, random):
    old, new = random.choice([(5, 7), (7, 5), (None, 3)])
    parts = [] if old is None else talk(90, "commit", at(old), at(old))
    parts += talk(90, "commit", at(new), at(new)) + talk(91, "committed", None, at(old))
    spread(events, random, parts)


def unwritten_commit(world, events, random):
    # Only in a history in which no transaction is in doubt can nobody have committed it.
    if any(e["f"] == "txn" and e["type"] == "info" for e in events):
        return False
    parts = talk(90, "commit", at(4), at(4)) + talk(91, "committed", None, at(6))
    spread(events, random, parts)
    return None


def commit_ahead(world, events, random):
    records = world.logs["orders-0"].records
    if len(records) < 2:
        return False
    first = [list(records[0])]
    parts = talk(90, "poll", [["poll"]], [["poll", {"orders-0": first}]])
    parts += talk(90, "commit", at(records[1][0] + 1), at(records[1][0] + 1))
    events += parts
    return None


def double_processing(world, events, random):
    ok = [
        e
        for e in events
        if e["f"] == "txn" and e["type"] == "ok" and e["value"][0][0] == "poll" and e["value"][0][1]
    ]
    if not ok:
        return False
    poll, _, commit = random.choice(ok)["value"]
    asked = [["poll"], ["send", "paid-0", 900]]
    end = end_of(world, "paid-0")
    told = [poll, ["send", "paid-0", [end, 900]], commit]
    events += talk(90, "txn", asked, told)
    events += talk(91, "poll", [["poll"]], [["poll", {"paid-0": [[end, 900]]}]])
    return None


def watermark_regress(world, events, random):
    if random.random() < 0.5 and world.logs["orders-0"].records:
        records = [list(r) for r in world.logs["orders-0"].records]
        events += talk(90, "poll", [["poll"]], [["poll", {"orders-0": records}]])
        events += talk(90, "list-offsets", None, {"orders-0": {"high": records[-1][0]}})
        return
    which = random.choice(["start", "stable", "high"])
    parts = talk(90, "list-offsets", None, {"orders-0": {which: 10}})
    spread(events, random, parts + talk(90, "list-offsets", None, {"orders-0": {which: 9}}))


INJURIES = [
    duplicate, inconsistent_offsets, G1a, precommitted_read, unwritten_read, lost_write, unseen, torn_transaction,
    int_poll_skip, int_nonmonotonic_poll, poll_skip, nonmonotonic_poll, subscribed_poll_skip,
    subscribed_nonmonotonic_poll, hole, int_nonmonotonic_send, nonmonotonic_send, realtime_order, sequence_order,
    fenced_ack, commit_regress, unwritten_commit, commit_ahead, double_processing, watermark_regress,
]  # fmt: skip


def expected(injury):
    """(the violations, the allowed anomaly) that an injury must show."""
    name = injury.__name__.replace("_", "-")
    if name.startswith("subscribed-"):
        return [], name.removeprefix("subscribed-")
    return [name], None
