"""What a failure leaves behind: notes that change nothing, a test that can be kept, and a page that can be looked at."""

import json
import re
import shutil
import subprocess
import sys
from itertools import count
from pathlib import Path

import attrs
import pytest

from rafka.core.log.producers import Producers
from rafka.sim.curve import anew_from, probabilities
from rafka.sim.failure import confirm, in_words, regression_test, replay_command, write_failure
from rafka.sim.faults import HEAVY, Struck
from rafka.sim.profile import Profile, profile_of
from rafka.sim.recording import BROKER, record, words_of
from rafka.sim.run import run
from rafka.sim.shrink import Case, case_from, case_of, shrink
from rafka.sim.timeline import data_of, page

ROOT = Path(__file__).parents[2]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WORLD = Profile(
    "rough",
    {"net.reset": HEAVY, "net.tail": HEAVY, "proc.kill": HEAVY, "client.hang-up": HEAVY},
    900,
    flush_os=0.0,
    knobs={
        "topics": 1, "partitions": 2, "producers": 2, "plain_share": 0.0, "readers": 1, "groups": 0, "think_ms": 15,
        "has_admin": False, "retention_ms": -1, "retention_bytes": -1, "deletes_records": False,
    },
)  # fmt: skip


def repeats_are_refused(monkeypatch):
    """Refuses a batch that it has already, as if it were out of order."""
    right = Producers.check

    def wrong(self, header):
        found = right(self, header)
        return found if found is None or isinstance(found, int) else 45

    monkeypatch.setattr(Producers, "check", wrong)


@pytest.fixture(scope="module")
def found():
    """Return the first case that fails with the bug, and its outcome."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        repeats_are_refused(monkeypatch)
        for seed in range(1, 60):
            outcome = run(seed, WORLD)
            if outcome.violation:
                return case_of(outcome, WORLD.time_ms), outcome
    pytest.fail("the planted bug was not found")


@pytest.fixture
def failed(found, monkeypatch):
    """Return it while the bug is planted."""
    repeats_are_refused(monkeypatch)
    return found


# ---- notes -----------------------------------------------------------------------------------------------


def test_taking_notes_changes_nothing() -> None:
    outcome = run(5, profile_of("default"), time_ms=800)
    recording = record(case_of(outcome, 800))
    assert recording.outcome.trace_hash == outcome.trace_hash
    assert recording.outcome.events == outcome.events


def test_the_notes_tell_of_lives_messages_the_disk_and_the_logs(failed) -> None:
    case, outcome = failed
    notes = record(case)
    lives = [span for span in notes.spans if span[0] == BROKER]
    assert len(lives) == outcome.lives
    assert all(a <= b <= outcome.virtual_ns for _, a, b, _, _ in notes.spans)
    assert {"request", "disk", "life"} <= {kind for _, _, _, kind, _ in notes.spans}
    assert sum(kind == "fault" and lane == 1 for lane, _, kind, _ in notes.marks) == len(outcome.decisions)
    assert sum(kind == "crash" for _, _, kind, _ in notes.marks) == outcome.lives - 1
    for one, a, other, b, kind, _ in notes.arrows:
        assert a <= b
        assert (other if kind == "request" else one) == BROKER
    assert set(notes.series) == {"t0-0", "t0-1"}
    for levels in notes.series.values():
        assert [row[0] for row in levels] == sorted(row[0] for row in levels)
        assert all(start <= high_watermark <= end for _, start, high_watermark, end in levels)
    acknowledged = [line for line in notes.outcome.history if line["type"] == "ok" and line["f"] == "send"]
    assert sum(map(len, notes.points.values())) == sum(len(line["value"]) for line in acknowledged) > 0


def test_a_message_is_told_in_the_words_that_matter() -> None:
    from rafka.core.api.metadata_request import MetadataRequest, MetadataRequestTopic

    told = words_of(
        MetadataRequest(topics=[MetadataRequestTopic(name="t0")], include_topic_authorized_operations=False)
    )
    assert told.startswith("Metadata (topics [(name t0)]")


# ---- the folder ------------------------------------------------------------------------------------------


def test_a_failure_leaves_a_folder_that_replays_it(failed, tmp_path) -> None:
    case, outcome = failed
    assert confirm(case, outcome) == ""
    shrunk = shrink(case, outcome)
    folder = tmp_path / f"rafka-sim-{case.seed}"
    write_failure(folder, shrunk)
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [
            "README.md",
            "faults.json",
            f"test_seed_{case.seed}.py",
            "trace.txt",
            "history.jsonl",
            "timeline.html",
        ]
    )
    again = case_from(json.loads((folder / "faults.json").read_text())).run()
    assert again.violation == shrunk.outcome.violation
    assert again.trace_hash == shrunk.outcome.trace_hash
    readme = (folder / "README.md").read_text()
    assert replay_command(folder, shrunk.case) in readme
    assert outcome.violation.partition(":")[0] in readme
    assert all(in_words(struck) in readme for struck in again.decisions)
    lines = (folder / "history.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["history"] == 1
    assert len(lines) > 1


def test_the_regression_test_fails_with_the_bug_and_passes_without(failed, monkeypatch) -> None:
    case, outcome = failed
    text = regression_test(case, outcome)
    assert len(text.splitlines()) < 30 + len(case.knobs) + len(case.only) * 3
    names = {}
    exec(compile(text, "test_seed.py", "exec"), names)
    the_test = names[f"test_seed_{case.seed}_keeps_its_promises"]
    with pytest.raises(AssertionError):
        the_test()
    monkeypatch.undo()
    the_test()


def test_the_regression_test_can_be_committed_as_it_is(failed) -> None:
    case, outcome = failed
    nasty = attrs.evolve(outcome, violation='LO1: """a\\b""" ' + "long " * 60)
    empty = Case(7, 10, only=[])
    for text in (
        regression_test(case, outcome),
        regression_test(case, nasty),
        regression_test(empty, attrs.evolve(outcome, decisions=[])),
    ):
        for verb in (["check"], ["format", "--check"]):
            done = subprocess.run(
                [sys.executable, "-m", "ruff", *verb, "--stdin-filename", "tests/sim/test_seed_1.py", "-"],
                cwd=ROOT,
                input=text,
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stdout + done.stderr + text


def test_what_is_not_determined_is_said_to_be_so_with_the_line() -> None:
    calls = count()

    class Moody:
        """A machine that remembers other runs."""

        def __init__(self, machine):
            self._machine = machine
            self.handle, self.tick = machine.handle, machine.tick
            self.deadline, self.check = machine.deadline, machine.check

        def drain(self):
            effects = self._machine.drain()
            return effects[:-1] if next(calls) == 300 else effects

    def wrap(boot):
        return lambda entropy, now: Moody(boot(entropy, now))

    outcome = run(2, WORLD, time_ms=300)
    case = case_of(outcome, 300)
    assert confirm(case, outcome) == ""
    assert re.match("not deterministic: (line|the first run)", confirm(case, outcome, wrap=wrap))


def test_in_words_says_when_whom_and_what() -> None:
    assert in_words(Struck(1_250_000_000, "net.reset/reader-0/4", 0.5)) == (
        "    1.250 s  net.reset at reader-0: a connection is reset, and what was under way is lost"
    )


# ---- the curve -------------------------------------------------------------------------------------------


def test_up_to_the_moment_the_run_is_the_same_and_then_another(failed) -> None:
    case, outcome = failed
    middle = outcome.decisions[len(outcome.decisions) // 2].time_ns
    free = attrs.evolve(case, only=None)
    again = free.run(prepare=anew_from(middle, 1))
    other = free.run(prepare=anew_from(middle, 2))

    def before(outcome):
        return [one.key for one in outcome.decisions if one.time_ns < middle]

    assert before(again) == before(other) == before(outcome)
    assert [one.key for one in again.decisions] != [one.key for one in other.decisions]


def test_at_its_end_a_failure_is_certain(failed) -> None:
    case, outcome = failed
    told = []
    curve = probabilities(case, outcome, points=3, samples=2, told=lambda *a: told.append(a))
    assert [at for at, _ in curve] == [0, outcome.virtual_ns // 2, outcome.virtual_ns]
    assert curve[-1][1] == 1.0
    assert all(0 <= share <= 1 for _, share in curve)
    assert told[-1] == (6, 6)


# ---- the page --------------------------------------------------------------------------------------------


def test_the_page_needs_nothing_else(failed) -> None:
    case, _ = failed
    recording = record(case)
    html = page(recording, curve=[(0, 0.25), (10, 1.0)])
    assert not re.search(r"https?://|\bsrc=|url\(|@import|<link", html)
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', html, re.DOTALL)
    data = json.loads(found[1])
    assert data == json.loads(json.dumps(data_of(recording, curve=[(0, 0.25), (10, 1.0)])))
    assert data["violation"] == recording.outcome.virtual_ns


def test_words_cannot_break_out_of_the_page(failed) -> None:
    case, _ = failed
    recording = record(case)
    evil = "</script><script>alert(1)</script>"
    recording.marks.append((0, 1, "error", evil))
    recording.outcome = attrs.evolve(recording.outcome, violation=f"LO1: {evil}")
    html = page(recording)
    assert "alert(1)</script>" not in html
    assert html.count("<script") == 2


@pytest.fixture
def browser():
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Page:
    """The page in a browser; whatever goes wrong in it, and whatever it asks the network for, is kept."""

    def __init__(self, browser, path, scheme="light"):
        self.page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme=scheme)
        self.trouble = []
        self.asked = []
        self.page.on("pageerror", lambda error: self.trouble.append(str(error)))
        self.page.on("console", lambda message: self.trouble.append(message.text))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("html[data-ready]")

    def said(self, name):
        return self.page.evaluate(f"document.documentElement.dataset.{name}")

    def settle(self):
        self.page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def view(self):
        self.settle()
        return [int(edge) for edge in self.said("view").split()]


def test_the_page_opens_at_the_violation_in_a_browser(failed, browser, tmp_path) -> None:
    case, outcome = failed
    path = tmp_path / "timeline.html"
    path.write_text(page(record(case)), "utf-8")
    for scheme in ("light", "dark"):
        shown = Page(browser, path, scheme)
        low, high = shown.view()
        assert low < outcome.virtual_ns < high
        assert shown.said("theme") == scheme
        assert int(shown.said("drawn")) > 10
        assert shown.page.inner_text("#verdict") == outcome.violation
        assert shown.page.locator("#faults li").count() == len(outcome.decisions)
        assert shown.trouble == []
        assert shown.asked == [path.as_uri()]
        shown.page.close()


def test_the_page_is_moved_about_in_and_tells_details(failed, browser, tmp_path) -> None:
    case, outcome = failed
    path = tmp_path / "timeline.html"
    path.write_text(page(record(case)), "utf-8")
    shown = Page(browser, path)
    one = shown.page
    one.click("[data-do=all]")
    whole = shown.view()
    assert whole[0] <= 0
    assert whole[1] >= outcome.virtual_ns
    assert shown.said("arrows") != "0"
    one.click("#faults li >> nth=0")
    assert shown.said("picked").startswith(outcome.decisions[0].key)
    assert outcome.decisions[0].key in one.inner_text("#detail")
    low, high = shown.view()
    assert low <= outcome.decisions[0].time_ns <= high
    one.fill("#find", "fsync is a word that nobody says")
    assert "Nothing" in one.inner_text("#detail")
    one.fill("#find", "ok send [['send', 't0-0', [0, 'producer-0")
    assert "ok send" in shown.said("picked")
    box = one.locator("#lanes").bounding_box()
    top = one.evaluate('lanes.find(lane => lane.name === "producer-0").y')
    begin = one.evaluate("x(picked.a)")
    one.mouse.move(box["x"] + begin, box["y"] + top + 11)
    assert shown.said("picked") in one.inner_text("#tip")
    assert one.is_visible("#tip")
    before = shown.view()
    one.mouse.wheel(0, -600)
    after = shown.view()
    assert after[1] - after[0] < before[1] - before[0]
    one.keyboard.press("Escape")
    one.keyboard.press("v")
    assert shown.view()[0] < outcome.virtual_ns < shown.view()[1]
    assert shown.trouble == []


def test_the_page_draws_of_very_much_only_what_can_be_seen(failed, browser, tmp_path) -> None:
    case, outcome = failed
    recording = record(case)
    step = max(outcome.virtual_ns // 50_000, 1)
    recording.spans += [(2, n * step, n * step + step // 2, "disk", f"Write {n % 7}") for n in range(50_000)]
    recording.marks += [(6, n * step, "ok", f"ok {n % 7}") for n in range(50_000)]
    recording.arrows += [(6, n * step, 0, n * step + step, "request", "Produce") for n in range(50_000)]
    for notes in (recording.spans, recording.arrows, recording.marks):
        notes.sort(key=lambda one: one[1])
    path = tmp_path / "timeline.html"
    path.write_text(page(recording), "utf-8")
    shown = Page(browser, path)
    shown.page.click("[data-do=all]")
    shown.settle()
    assert shown.said("arrows") == "too many"
    assert 100 < int(shown.said("drawn")) < 20_000
    for _ in range(14):
        shown.page.click("[data-do=in]")
    shown.settle()
    assert shown.said("arrows") not in ("too many", "0")
    assert shown.trouble == []
