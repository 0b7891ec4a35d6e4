"""Which code runs here: what a flight recording names, and what a replay compares."""


def about() -> dict[str, str]:
    """Name the versions that decide what a machine does: ours, Python's, the codecs', and a hash of the source."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    from rafka.cli.main import VERSION

    def found(name: str) -> str:
        try:
            return version(name)
        except PackageNotFoundError:
            return "none"

    return {
        "rafka": VERSION,
        "source": source_hash(),
        "python": platform.python_version(),
        "codecs": ", ".join(f"{name} {found(name)}" for name in ("cramjam", "zstandard")),
    }


def source_hash() -> str:
    """Sum all that a machine is made of: every module of core and net, in the order of their names."""
    from hashlib import blake2b
    from pathlib import Path

    import rafka

    root = Path(rafka.__file__).parent
    total = blake2b(digest_size=16)
    for ring in ("core", "net"):
        for path in sorted((root / ring).rglob("*.py")):
            total.update(path.relative_to(root).as_posix().encode() + b"\0")
            total.update(path.read_bytes() + b"\0")
    return total.hexdigest()
