"""A quorum in a test: replicas, messages and disks that move only when they are told to, and say what happens."""

from rafka.core.raft.batch import KINDS, LEADER_CHANGE, VOTERS
from rafka.core.raft.describe import describe
from rafka.core.raft.effects import (
    Answer,
    AppendLog,
    Apply,
    Became,
    DeleteBefore,
    Election,
    Noted,
    ResetLog,
    Restore,
    SaveElection,
    SaveSnapshot,
    TruncateLog,
)
from rafka.core.raft.raft import Raft, Stored
from rafka.core.raft.settings import MS, Settings
from rafka.core.raft.voters import NOBODY, Endpoint, ReplicaKey, Voter, VoterSet

START = 1_000 * MS


def key(node_id, disk=0):
    return ReplicaKey(node_id, bytes([node_id, disk]) * 8)


def voter(node_id, disk=0):
    return Voter(key(node_id, disk), (Endpoint("CONTROLLER", f"host{node_id}", 9093),))


def voter_set(*ids):
    return VoterSet(voter(one) for one in ids)


class Fixed:
    """An entropy that draws the same share of every bound."""

    def __init__(self, share=0.0):
        self.share = share

    def below(self, bound):
        return int(self.share * bound)

    def bytes(self, count):
        return bytes(count)


class Disk:
    """What one replica has asked for, in order, and what of it is durable."""

    def __init__(self, voters):
        self.voters = voters
        self.election = Election()
        self.batches = []
        self.snapshot = None
        self.elections = []
        self.logs = []

    def stored(self):
        return Stored(self.election, self.snapshot, list(self.batches), self.voters)

    def do_log(self, effect):
        match effect:
            case AppendLog(batches, _):
                self.batches += batches
            case TruncateLog(end_offset, _):
                self.batches = [b for b in self.batches if b.base_offset < end_offset]
            case ResetLog():
                self.batches = []
            case SaveSnapshot(snapshot, _):
                self.snapshot = snapshot
            case DeleteBefore(start_offset):
                self.batches = [b for b in self.batches if b.end_offset > start_offset]

    def lose(self):
        """A crash: what was asked for and not answered is gone."""
        self.elections.clear()
        self.logs.clear()


class Quorum:
    """Replicas by id. syncs_itself: every disk does at once what it is asked to."""

    def __init__(self, *voters, observers=(), syncs_itself=True, **settings):
        self.now = START
        self.settings = Settings(**settings)
        self.syncs_itself = syncs_itself
        self.said = []
        self.wire = []
        self.cuts = set()
        self.applied = {}
        self.answers = {}
        self.nodes = {}
        self.disks = {}
        self.bootstrap = voters
        self.incarnation = {}
        self.tickets = 0
        for node_id in voters:
            self.disks[node_id] = Disk(voter_set(*voters))
        for node_id in observers:
            self.disks[node_id] = Disk(NOBODY)
        for node_id in self.disks:
            self.incarnation[node_id] = 0
            self.start(node_id)

    def start(self, node_id):
        replica = Raft(
            key(node_id, self.incarnation[node_id]),
            self.settings,
            Fixed(node_id / 16),
            bootstrap=self.bootstrap,
        )
        self.applied[node_id] = []
        self.nodes[node_id] = replica
        replica.open(self.disks[node_id].stored(), self.now)
        self.drain(node_id)

    # ---- moving ----------------------------------------------------------------------------------

    def say(self, text):
        self.said.append(text)

    def turn(self, node_id, *, ticks=True):
        replica = self.nodes[node_id]
        if ticks:
            replica.tick(self.now)
        self.drain(node_id)

    def drain(self, node_id):
        replica = self.nodes[node_id]
        while effects := replica.drain():
            for effect in effects:
                self.perform(node_id, effect)
            replica.check()
            if self.syncs_itself:
                self.sync(node_id)

    def perform(self, node_id, effect):
        disk = self.disks[node_id]
        match effect:
            case SaveElection():
                disk.elections.append(effect)
            case AppendLog() | TruncateLog() | ResetLog() | SaveSnapshot() | DeleteBefore():
                disk.logs.append(effect)
                if self.syncs_itself and isinstance(effect, DeleteBefore):
                    self.sync(node_id)
            case Apply(batch):
                self.applied[node_id].append(batch)
            case Restore(snapshot):
                self.applied[node_id] = [snapshot]
            case Answer(ticket, error, offset):
                self.answers[ticket] = (error, offset)
            case Became() | Noted():
                pass
            case _:
                self.wire.append(effect)
        self.say(f"{node_id} {text_of(effect)}")

    def sync(self, node_id, *, elections=True, logs=True):
        """Let the disk do all that it was asked to, and say so."""
        disk, replica = self.disks[node_id], self.nodes[node_id]
        if elections and disk.elections:
            done = disk.elections.pop()
            disk.elections.clear()
            disk.election = done.election
            replica.election_synced(done.token, self.now)
        if logs and disk.logs:
            token = 0
            for effect in disk.logs:
                disk.do_log(effect)
                token = getattr(effect, "token", token)
            disk.logs.clear()
            if token:
                replica.log_synced(token, self.now)
        if not self.syncs_itself:
            self.turn(node_id)
        else:
            replica.tick(self.now)

    def deliver(self, sender=None, to=None, count=1 << 30):
        """Bring messages that are on the way, oldest first; say how many."""
        chosen = [m for m in self.wire if sender in (None, m.sender) and to in (None, m.to)][:count]
        for message in chosen:
            self.wire.remove(message)
            if (message.sender, message.to) in self.cuts or message.to not in self.nodes:
                continue
            self.nodes[message.to].receive(message, self.now)
            self.turn(message.to)
        return len(chosen)

    def stabilize(self):
        """Bring messages and sync until nothing moves; time stands still."""
        for _ in range(1000):
            for node_id in list(self.nodes):
                if not self.syncs_itself:
                    self.sync(node_id)
            if not self.deliver() and not any(d.elections or d.logs for d in self.disks.values()):
                return
        raise AssertionError("it never rests")

    def timeout(self, node_id):
        """Let a replica's own deadline pass, and nobody else's."""
        self.now = max(self.now, self.nodes[node_id].deadline())
        self.turn(node_id)

    def advance(self, ms):
        """Let time pass; everybody whose deadline comes has a turn."""
        end = self.now + ms * MS
        while True:
            due = min(self.nodes, key=lambda one: (self.nodes[one].deadline(), one))
            at = self.nodes[due].deadline()
            if at > end:
                break
            self.now = max(self.now, at)
            self.turn(due)
            self.stabilize()
        self.now = end

    def elect(self, node_id):
        """Let a replica be elected."""
        for _ in range(5):
            if self.leader() == node_id:
                return
            self.timeout(node_id)
            self.stabilize()
        assert self.leader() == node_id

    def leader(self):
        leaders = [n for n, one in self.nodes.items() if one.role.NAME == "leader"]
        return max(leaders, key=lambda n: self.nodes[n].epoch, default=None)

    def propose(self, node_id, text, count=1):
        self.tickets += 1
        self.nodes[node_id].propose(text, count, self.tickets)
        self.turn(node_id)
        return self.tickets

    def read(self, node_id):
        self.tickets += 1
        self.nodes[node_id].read(self.tickets)
        self.turn(node_id)
        return self.tickets

    def add(self, leader_id, node_id, disk=None):
        self.tickets += 1
        disk = self.incarnation.get(node_id, 0) if disk is None else disk
        self.nodes[leader_id].add_voter(voter(node_id, disk), self.tickets, self.now)
        self.turn(leader_id)
        return self.tickets

    def remove(self, leader_id, node_id, disk=None):
        self.tickets += 1
        disk = self.incarnation.get(node_id, 0) if disk is None else disk
        self.nodes[leader_id].remove_voter(key(node_id, disk), self.tickets, self.now)
        self.turn(leader_id)
        return self.tickets

    def snapshot(self, node_id):
        replica = self.nodes[node_id]
        state = f"everything below {replica.applied_offset}".encode()
        done = replica.save_snapshot(replica.applied_offset, state)
        self.turn(node_id)
        return done

    def resign(self, node_id, successor=None):
        self.nodes[node_id].resign(self.now, None if successor is None else key(successor))
        self.turn(node_id)

    def crash(self, node_id):
        del self.nodes[node_id]
        self.disks[node_id].lose()

    def replace(self, node_id):
        """Give a node a new, empty disk: with a directory id of its own, and no idea who votes."""
        self.nodes.pop(node_id, None)
        self.disks[node_id] = Disk(NOBODY)
        self.incarnation[node_id] += 1
        self.start(node_id)

    def isolate(self, node_id):
        for other in self.disks:
            self.cuts |= {(node_id, other), (other, node_id)}

    def heal(self):
        self.cuts.clear()

    # ---- looking ---------------------------------------------------------------------------------

    def status(self):
        lines = []
        for node_id, one in self.nodes.items():
            log = one.log
            line = (
                f"{node_id} {one.role.NAME} epoch={one.epoch} leader={one.leader_id} hw={one.high_watermark}"
            )
            line += f" log={log.start_offset}..{log.end_offset} durable={log.durable_offset} voters={ids(one.voters)}"
            lines.append(line)
        return lines

    def log(self, node_id):
        log = self.nodes[node_id].log
        lines = [f"snapshot {log.snapshot.id.end_offset}/{log.snapshot.id.epoch}"] if log.snapshot else []
        return lines + [batch_text(batch) for batch in log.batches]

    def describe(self, node_id):
        return describe(self.nodes[node_id], self.now)


# ---- words -----------------------------------------------------------------------------------------


def ids(voters):
    return ",".join(f"{k.id}{chr(39) * k.directory_id[1]}" for k in voters.keys)


def batch_text(batch):
    text = f"{batch.base_offset}/{batch.epoch} {KINDS[batch.kind]}"
    if batch.kind == LEADER_CHANGE:
        granting = ",".join(map(str, batch.content.granting))
        return f"{text} {batch.content.leader_id} by {granting}"
    if batch.kind == VOTERS:
        return f"{text} {ids(batch.content)}"
    return text if batch.content is None else f"{text} {batch.content}"


def text_of(effect):
    match effect:
        case SaveElection(election, _):
            voted = "nobody" if election.voted is None else election.voted.id
            return f"saves epoch={election.epoch} voted={voted} leader={election.leader_id}"
        case AppendLog(batches, _):
            return "writes " + "; ".join(map(batch_text, batches))
        case TruncateLog(end_offset, _):
            return f"cuts its log at {end_offset}"
        case ResetLog(start_offset, _):
            return f"begins its log at {start_offset}"
        case DeleteBefore(start_offset):
            return f"lets go of what is before {start_offset}"
        case SaveSnapshot(snapshot, _):
            return f"writes snapshot {snapshot.id.end_offset}/{snapshot.id.epoch}"
        case Restore(snapshot):
            return f"restores snapshot {snapshot.id.end_offset}/{snapshot.id.epoch}"
        case Apply(batch):
            return f"applies {batch_text(batch)}"
        case Answer(ticket, error, offset):
            return f"answers {ticket}: {error.name}" + (f" at {offset}" if offset >= 0 else "")
        case Became(role, epoch, leader_id):
            return f"is {role} in epoch {epoch}" + (f", led by {leader_id}" if leader_id >= 0 else "")
        case Noted(text, offset):
            return f"notes: {text} ({offset})"
        case _:
            return f"-> {effect.to}: {message_text(effect)}"


def message_text(message):
    name = type(message).__name__
    parts = [f"epoch={message.epoch}"]
    for field in message.__match_args__[4:]:
        thing = getattr(message, field)
        if field in ("candidate", "voter", "replica", "max_wait_ns", "size_bytes_max", "voters"):
            continue
        if thing is None or (field == "error" and thing == 0) or thing is False or thing == ():
            continue
        if field == "batches":
            thing = "[" + "; ".join(map(batch_text, thing)) + "]"
        elif field == "preferred_candidates":
            thing = ",".join(str(one.id) for one in thing)
        elif field == "snapshot":
            thing = f"{thing.end_offset}/{thing.epoch}"
        elif field == "diverging":
            thing = f"{thing[1]}/{thing[0]}"
        elif field == "error":
            thing = thing.name
        parts.append(field if thing is True else f"{field}={thing}")
    return f"{name} " + " ".join(parts)
