"""A page of metrics as text, in the format of Prometheus (0.0.4) or of OpenMetrics (1.0).

Both are lines `name{label="text"} number` under a HELP and a TYPE line for each family; OpenMetrics calls a counter by
its name without `_total` there, and ends with `# EOF`. A page is made once for each scrape and in one go, since what it
tells changes under it otherwise; so a line costs one formatted string and nothing else.
"""

from collections import Counter
from collections.abc import Sequence

from rafka.observe.catalogue import COUNTER, HISTOGRAM, Metric

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def wants_openmetrics(accept: str) -> bool:
    """Read an Accept header: whether it names OpenMetrics 1.0.0, and does not say that it is not wanted."""
    for entry in accept.split(","):
        kind, *parameters = (part.strip().lower() for part in entry.split(";"))
        if kind == "application/openmetrics-text":
            named = dict(part.partition("=")[::2] for part in parameters)
            if named.get("version", "1.0.0") == "1.0.0" and named.get("q", "1").strip("0.") != "":
                return True
    return False


class Page:
    """Families are begun one after the other, each with all its samples."""

    def __init__(self, *, openmetrics: bool) -> None:
        self._openmetrics = openmetrics
        self._lines: list[str] = []
        self._metric: Metric | None = None

    @property
    def content_type(self) -> str:
        """What an HTTP answer calls it."""
        return OPENMETRICS if self._openmetrics else PROMETHEUS

    def begin(self, metric: Metric) -> None:
        """Begin a family: samples that follow are its."""
        name = metric.name
        if self._openmetrics and metric.kind == COUNTER:
            name = name.removesuffix("_total")
        text = metric.text.replace("\\", r"\\").replace("\n", r"\n")
        self._lines += (f"# HELP {name} {text}", f"# TYPE {name} {metric.kind}")
        self._metric = metric

    def sample(self, number: float, *texts: str) -> None:
        """Add a number under the labels of the family, which have these texts."""
        assert self._metric is not None
        labels = _labels(self._metric, texts)
        self._lines.append(
            f"{self._metric.name}{{{labels}}} {number}" if labels else f"{self._metric.name} {number}"
        )

    def one(self, metric: Metric, number: float) -> None:
        """Add a family of one sample without labels."""
        self.begin(metric)
        self.sample(number)

    def histogram(
        self, counts: Counter[int], total: float, bounds: Sequence[tuple[int, str]], *texts: str
    ) -> None:
        """Add a histogram under the family's labels.

        counts: by bit length, not cumulated; bounds: the bit lengths that are told, each with its upper bound as text.
        Those between two bounds, and below the first, are added up; those above the last are in +Inf alone.
        """
        assert self._metric is not None
        assert self._metric.kind == HISTOGRAM
        name = self._metric.name
        labels = _labels(self._metric, texts)
        before = f"{labels}," if labels else ""
        start, append, count_of = f'{name}_bucket{{{before}le="', self._lines.append, counts.get
        seen = begun = 0
        for index, bound in bounds:
            while begun <= index:
                seen += count_of(begun, 0)
                begun += 1
            append(f'{start}{bound}"}} {seen}')
        seen = counts.total()
        after = f"{{{labels}}}" if labels else ""
        append(f'{start}+Inf"}} {seen}')
        append(f"{name}_sum{after} {total}")
        append(f"{name}_count{after} {seen}")

    def text(self) -> bytes:
        """End the page and return it."""
        if self._openmetrics:
            self._lines.append("# EOF")
        self._lines.append("")
        return "\n".join(self._lines).encode("utf-8", "replace")


def _labels(metric: Metric, texts: Sequence[str]) -> str:
    assert len(texts) == len(metric.labels), metric.name
    return ",".join(
        f'{name}="{text.translate(_ESCAPES)}"' for name, text in zip(metric.labels, texts, strict=True)
    )
