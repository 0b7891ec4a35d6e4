"""A broker's refusal as one sentence."""

from rafka.core.errors import ErrorCode, RafkaError


def check(error_code: int, name: str, message: str | None) -> None:
    """Raise RafkaError with the broker's own words, or else the error's name, unless the code is 0."""
    if error_code == ErrorCode.NONE:
        return
    known = error_code in ErrorCode.__members__.values()
    raise RafkaError(f"{name}: {message or (ErrorCode(error_code).name if known else f'error {error_code}')}")
