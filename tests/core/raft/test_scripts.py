"""Scripts: a quorum told what to do, line by line, and everything it does written beneath. `--rewrite` records anew.

A line that begins with "> " is a command; what follows it, up to the next one, is what happened, "(nothing)" if nothing did.
Node ids are numbers. Disks do at once what they are asked to, unless `quorum … slow-disks` says that `sync` does it.

    quorum 1 2 3 [observers 4 5] [slow-disks]
    timeout N          its deadline passes, nobody else's      advance MS        time passes for all
    elect N            until it leads                          stabilize         bring messages until nothing moves
    deliver A B [n]    the oldest n messages from A to B       drop A B [n]      lose them
    sync N [log|vote]  its disk answers                        cut A B, heal     no messages from A to B; all again
    propose N text     append a record                         read N            ask for a linearizable read
    snapshot N         of all it has applied                   resign N [M]      hand over, to M if it can be
    add N M, remove N M   leader N changes the voters          crash N, start N, replace N   replace: a new, empty disk
    status, log N, quorum-of N                                 quiet command …   do it, record nothing
"""

from pathlib import Path

import pytest

from tests.core.raft.quorum import Quorum

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.txt"))


class Play:
    def __init__(self):
        self.quorum = None

    def do(self, line):
        """Do one command; return what it said."""
        name, *words = line.split()
        if name == "quorum":
            self.begin(words)
        elif name == "quiet":
            self.do(" ".join(words))
            return ["(not shown)"]
        else:
            said = getattr(self, name.replace("-", "_"))(*words)
            if said is not None:
                return said
        said, self.quorum.said = self.quorum.said, []
        return said or ["(nothing)"]

    def begin(self, words):
        slow = "slow-disks" in words
        words = [w for w in words if w != "slow-disks"]
        middle = words.index("observers") if "observers" in words else len(words)
        self.quorum = Quorum(
            *map(int, words[:middle]), observers=tuple(map(int, words[middle + 1 :])), syncs_itself=not slow
        )

    def timeout(self, node):
        self.quorum.timeout(int(node))

    def advance(self, ms):
        self.quorum.advance(int(ms))

    def elect(self, node):
        self.quorum.elect(int(node))

    def stabilize(self):
        self.quorum.stabilize()

    def deliver(self, sender, to, count=1 << 30):
        self.quorum.deliver(int(sender), int(to), int(count))

    def drop(self, sender, to, count=1 << 30):
        found = [m for m in self.quorum.wire if (m.sender, m.to) == (int(sender), int(to))][: int(count)]
        for message in found:
            self.quorum.wire.remove(message)

    def sync(self, node, what="all"):
        self.quorum.sync(int(node), elections=what != "log", logs=what != "vote")

    def cut(self, sender, to):
        self.quorum.cuts.add((int(sender), int(to)))

    def heal(self):
        self.quorum.heal()

    def propose(self, node, *text):
        self.quorum.propose(int(node), " ".join(text))

    def read(self, node):
        self.quorum.read(int(node))

    def snapshot(self, node):
        self.quorum.snapshot(int(node))

    def resign(self, node, successor=None):
        self.quorum.resign(int(node), None if successor is None else int(successor))

    def add(self, leader, node):
        self.quorum.add(int(leader), int(node))

    def remove(self, leader, node):
        self.quorum.remove(int(leader), int(node))

    def crash(self, node):
        self.quorum.crash(int(node))

    def start(self, node):
        self.quorum.start(int(node))

    def replace(self, node):
        self.quorum.replace(int(node))

    def status(self):
        return self.quorum.status()

    def log(self, node):
        return self.quorum.log(int(node))

    def quorum_of(self, node):
        found = self.quorum.describe(int(node))
        if found is None:
            return ["not the leader"]
        lines = [
            f"leader {found.leader_id} of epoch {found.leader_epoch}, high watermark {found.high_watermark}"
        ]
        for kind, replicas in (("voter", found.voters), ("observer", found.observers)):
            lines += [f"{kind} {one.key.id} end {one.log_end_offset}" for one in replicas]
        return lines


def played(text):
    """Play a script; return it with what happens now."""
    play, lines = Play(), []
    for line in text.splitlines():
        if line.startswith("> "):
            lines += [line, *play.do(line[2:]), ""]
        elif line.startswith("#"):
            lines.append(line)
    while lines and not lines[-1]:
        lines.pop()
    return "\n".join(lines) + "\n"


def spaced(text):
    """Leave out empty lines: they carry no meaning."""
    return [line for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_does_what_is_recorded(path, request) -> None:
    recorded = path.read_text("utf-8")
    now = played(recorded)
    if request.config.getoption("--rewrite"):
        path.write_text(now, "utf-8")
    assert spaced(now) == spaced(path.read_text("utf-8"))


def test_there_are_scripts() -> None:
    assert len(SCRIPTS) >= 10
