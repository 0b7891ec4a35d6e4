"""What the ledger calls a broken promise, and what it does not, where a run of the simulator can hardly tell."""

import pytest

from rafka.sim.disk import Disk
from rafka.sim.ledger import Ledger, Violation


def committed(ledger, offset):
    attempts = ledger.commits("g", {"t-0": offset}, 1)
    ledger.committed(attempts)


def test_an_answer_that_took_long_may_say_what_an_earlier_answer_no_longer_could() -> None:
    ledger = Ledger(Disk(), {})
    committed(ledger, 13)
    asked_early = ledger.instant()
    committed(ledger, 25)
    assert ledger.fetched("g", "t-0", 25, ledger.instant()) == 0
    assert ledger.fetched("g", "t-0", 13, asked_early) == 0, "it was decided before 25 was committed"
    with pytest.raises(Violation, match="GR3"):
        ledger.fetched("g", "t-0", 13, ledger.instant())
