"""host:port, as the operator writes it."""


def split_address(text: str) -> tuple[str, int]:
    """Split host:port; an IPv6 host stands in brackets, which are taken off.

    Raises ValueError unless there is a host, and a port in 0..65535.
    """
    host, colon, port = text.rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    is_number = port.isascii() and port.isdecimal() and int(port) < 1 << 16
    if not (colon and host and is_number) or (":" in host and not is_bracketed):
        raise ValueError(f"{text!r} is not host:port")
    return (host[1:-1] if is_bracketed else host), int(port)


def join_address(host: str, port: int) -> str:
    """Write host:port; the inverse of `split_address`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
