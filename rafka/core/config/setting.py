"""One setting: its kind, default and bounds, and how its text is read.

Every value travels as text: in files, on the command line, in ConfigRecords and in DescribeConfigs. `parse` turns
what somebody wrote into the one canonical text of the same value (" 5 " is "5", "TRUE" is "true", "compact, delete"
is "compact,delete"), so that stored values need no second look. `typed` reads a canonical text.

A setting with `fixed` is one that this broker does not obey: its default is accepted, because that is what happens
anyway, and any other value is refused with the reason.

Sources: Kafka's `ConfigDef` (types, bounds and the wording of what is wrong), `ConfigType` of DescribeConfigs.
"""

from collections.abc import Callable
from enum import IntEnum

from rafka.core.errors import ConfigError


class Kind(IntEnum):
    """The type of a value, by its number in DescribeConfigs."""

    BOOLEAN = 1
    STRING = 2
    INT = 3
    SHORT = 4
    LONG = 5
    DOUBLE = 6
    LIST = 7


INT64_MAX = (1 << 63) - 1
INT32_MAX = (1 << 31) - 1
_LIMITS = {Kind.SHORT: (1 << 15) - 1, Kind.INT: INT32_MAX, Kind.LONG: INT64_MAX}

Check = Callable[[str], str | None]
"""Says what is wrong with a canonical text; None: nothing."""
Typed = bool | int | float | str | tuple[str, ...]


class Setting:
    """One setting, of a topic or of the broker.

    name: Kafka's; default: canonical text, None: unset; low, high: inclusive bounds; choices: of a string, or of
    each entry of a list; text: what it is for, one sentence; synonyms: for a topic setting the broker's settings
    that give its default, first wins; fixed: why only the default is accepted; dynamic: a broker setting that can
    be altered while running.
    """

    __slots__ = (
        "check",
        "choices",
        "default",
        "dynamic",
        "fixed",
        "high",
        "kind",
        "low",
        "name",
        "synonyms",
        "text",
    )

    def __init__(  # noqa: PLR0913 – a row of a table, with names for its columns
        self,
        name: str,
        kind: Kind,
        default: str | None,
        text: str,
        *,
        low: float | None = None,
        high: float | None = None,
        choices: tuple[str, ...] = (),
        check: Check | None = None,
        synonyms: tuple[str, ...] = (),
        fixed: str = "",
        dynamic: bool = False,
    ) -> None:
        self.name = name
        self.kind = kind
        self.default = default
        self.text = text
        self.low = low
        self.high = high
        self.choices = choices
        self.check = check
        self.synonyms = synonyms
        self.fixed = fixed
        self.dynamic = dynamic

    def parse(self, given: str) -> str:
        """Return the canonical text of a value. Raises: ConfigError saying what is wrong with it."""
        canonical, number = self._read(given.strip())
        self._bound(canonical if number is None else given, number)
        wrong = self.check(canonical) if self.check is not None else None
        if wrong is not None:
            raise ConfigError(self.name, given, wrong)
        if self.fixed and canonical != self.default:
            raise ConfigError(self.name, given, self.fixed)
        return canonical

    def typed(self, canonical: str) -> Typed:
        """Return the value that a canonical text stands for."""
        match self.kind:
            case Kind.BOOLEAN:
                return canonical == "true"
            case Kind.INT | Kind.SHORT | Kind.LONG:
                return int(canonical)
            case Kind.DOUBLE:
                return float(canonical)
            case Kind.LIST:
                return entries(canonical)
            case Kind.STRING:
                return canonical

    def _read(self, text: str) -> tuple[str, float | None]:
        match self.kind:
            case Kind.BOOLEAN:
                return self._boolean(text), None
            case Kind.INT | Kind.SHORT | Kind.LONG:
                number = self._integer(text)
                return str(number), number
            case Kind.DOUBLE:
                real = self._real(text)
                return repr(real), real
            case Kind.LIST:
                return ",".join(dict.fromkeys(entries(text))), None
            case Kind.STRING:
                return text, None

    def _boolean(self, text: str) -> str:
        if text.lower() not in ("true", "false"):
            raise ConfigError(self.name, text, "Expected value to be either true or false")
        return text.lower()

    def _integer(self, text: str) -> int:
        digits = text[1:] if text[:1] in ("-", "+") else text
        # int() alone would take underscores, and digits of other scripts; nineteen digits are an int64's most.
        if not (digits.isascii() and digits.isdecimal()) or len(digits.lstrip("0")) > 19:
            raise ConfigError(self.name, text, f"Not a number of type {self.kind.name}")
        number = int(text)
        limit = _LIMITS[self.kind]
        if not -limit - 1 <= number <= limit:
            raise ConfigError(self.name, text, f"Not a number of type {self.kind.name}")
        return number

    def _real(self, text: str) -> float:
        try:
            real = float(text) if text.isascii() and "_" not in text else float("nan")
        except ValueError:
            real = float("nan")
        if real - real != 0:  # infinite or no number
            raise ConfigError(self.name, text, "Not a number of type DOUBLE")
        return real

    def _bound(self, text: str, number: float | None) -> None:
        if number is not None and self.low is not None and number < self.low:
            raise ConfigError(self.name, text, f"Value must be at least {self.low}")
        if number is not None and self.high is not None and number > self.high:
            raise ConfigError(self.name, text, f"Value must be no more than {self.high}")
        if self.choices:
            for entry in entries(text) if self.kind is Kind.LIST else (text,):
                if entry not in self.choices:
                    raise ConfigError(self.name, text, f"String must be one of: {', '.join(self.choices)}")

    def __repr__(self) -> str:
        return f"Setting({self.name})"


def entries(text: str) -> tuple[str, ...]:
    """Split a list's text at its commas; entries are trimmed and never empty."""
    return tuple(entry for entry in (piece.strip() for piece in text.split(",")) if entry)


def table(*rows: Setting) -> dict[str, Setting]:
    """Return rows by name."""
    by_name = {row.name: row for row in rows}
    assert len(by_name) == len(rows), "a setting stands in the table twice"
    return by_name
