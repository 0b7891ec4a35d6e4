"""`rafka run`: gather what the operator said, and hand it to the broker.

The settings passed on are Kafka's names and their values as text: first those of the TOML file, then those
of `--set`, which win. What a name means, and whether it exists, is the broker's to judge. A TOML file may
write a dotted name plainly (`log.retention.ms = 1000` makes nested tables, flattened here) or quoted.
"""

from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from typing import Protocol, cast

import click

from rafka.cli.address import split_address
from rafka.cli.lazy import load
from rafka.cli.source import about
from rafka.core.errors import ConfigError, RafkaError

METRICS_LISTEN = "metrics.listen"


class Broker(Protocol):
    """The face of `rafka.io.broker`: the exit code of a broker that ran and stopped."""

    def run(  # noqa: PLR0913 – one keyword for each option
        self,
        *,
        settings: Mapping[str, str],
        data_dir: str,
        listen: str,
        advertise: str | None,
        node_id: int | None,
        driver: str,
        ready_file: str | None,
        log_level: str,
        log_format: str,
        record: str | None,
        record_bytes: int,
        about: Mapping[str, str] | None,
    ) -> int:
        """Serve until told to stop. Raises RafkaError when it cannot start."""


@click.command(short_help="Run a broker.")
@click.option(
    "--data-dir",
    envvar="RAFKA_DATA_DIR",
    show_envvar=True,
    default="./data",
    show_default=True,
    help="Where everything is kept.",
)
@click.option(
    "--listen",
    envvar="RAFKA_LISTEN",
    show_envvar=True,
    default="127.0.0.1:9092",
    show_default=True,
    help="host:port; port 0: a free one.",
)
@click.option("--advertise", help="The host:port told to clients, when it differs from --listen.")
@click.option("--node-id", type=click.IntRange(min=0), help="This node's number in the cluster.")
@click.option("--config", "config_file", type=click.Path(), help="A TOML file of Kafka's broker settings.")
@click.option("--set", "pairs", multiple=True, metavar="KEY=VALUE", help="One setting; wins over --config.")
@click.option(
    "--metrics-listen",
    envvar="RAFKA_METRICS_LISTEN",
    show_envvar=True,
    help="host:port for /metrics, /healthz and /readyz; unset: no such pages.",
)
@click.option("--driver", type=click.Choice(["auto", "uring", "trio"]), default="auto", show_default=True)
@click.option("--ready-file", help="Written with host:port once connections are accepted.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
)
@click.option("--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--record", type=click.Path(), help="A directory for a flight recording; see `rafka replay`.")
@click.option(
    "--record-bytes",
    type=click.IntRange(min=1 << 20),
    default=1 << 30,
    show_default="1 GiB",
    help="How much of the recording is kept.",
)
@click.pass_context
def run(  # noqa: PLR0913 – one parameter for each option
    ctx: click.Context,
    *,
    config_file: str | None,
    pairs: tuple[str, ...],
    data_dir: str,
    listen: str,
    advertise: str | None,
    node_id: int | None,
    metrics_listen: str | None,
    driver: str,
    ready_file: str | None,
    log_level: str,
    log_format: str,
    record: str | None,
    record_bytes: int,
) -> None:
    """Run a broker until SIGTERM or Ctrl-C."""
    check_address("--listen", listen)
    if advertise is not None:
        check_address("--advertise", advertise)
    settings = (read_config(config_file) if config_file else {}) | dict(read_pairs(pairs, "--set"))
    if metrics_listen is not None:
        check_address("--metrics-listen", metrics_listen)
        if settings.setdefault(METRICS_LISTEN, metrics_listen) != metrics_listen:
            raise ConfigError(METRICS_LISTEN, settings[METRICS_LISTEN], "contradicts --metrics-listen")
    code = load_broker().run(
        settings=settings,
        data_dir=data_dir,
        listen=listen,
        advertise=advertise,
        node_id=node_id,
        driver=driver,
        ready_file=ready_file,
        log_level=log_level,
        log_format=log_format,
        record=record,
        record_bytes=record_bytes,
        about=None if record is None else about(),
    )
    ctx.exit(code)


def load_broker() -> Broker:
    """Import the broker, late: nothing else of the command line pays for it."""
    if find_spec("rafka.io.broker") is None:
        raise RafkaError("this version of rafka has no broker to run")
    return cast("Broker", load("rafka.io.broker"))


def check_address(option: str, text: str) -> None:
    """Raise a usage error unless text is host:port with a port in 0..65535."""
    try:
        split_address(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from error


def read_pairs(pairs: Iterable[str], option: str) -> Iterator[tuple[str, str]]:
    """Split each KEY=VALUE at its first equals sign; raise a usage error when there is none."""
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not (key and equals):
            raise click.BadParameter(f"{pair!r} is not KEY=VALUE", param_hint=option)
        yield key, text


def read_config(path: str) -> dict[str, str]:
    """Read a TOML file into flat, dotted names. Raises ConfigError when it cannot be read or understood."""
    import tomllib
    from pathlib import Path

    try:
        tree = tomllib.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise ConfigError("--config", path, error.strerror or "cannot be read") from error
    except ValueError as error:
        raise ConfigError("--config", path, f"is not TOML: {error}") from error
    return dict(flatten(tree, ""))


def flatten(tree: Mapping[str, object], prefix: str) -> Iterator[tuple[str, str]]:
    """Yield the leaves of nested tables as dotted names and text: lists joined by commas, booleans small."""
    for name, leaf in tree.items():
        if isinstance(leaf, dict):
            yield from flatten(leaf, f"{prefix}{name}.")
        elif isinstance(leaf, list):
            yield prefix + name, ",".join(map(as_text, leaf))
        else:
            yield prefix + name, as_text(leaf)


def as_text(leaf: object) -> str:
    """Write a TOML scalar the way Kafka's properties files do."""
    return str(leaf).lower() if isinstance(leaf, bool) else str(leaf)
