"""What all tests share: property tests without a clock, and scripts that can be recorded anew."""

from hypothesis import settings

# A test never fails for being slow: other work on the machine must not decide what is correct.
settings.register_profile("rafka", deadline=None, print_blob=True)
settings.load_profile("rafka")


def pytest_addoption(parser) -> None:
    parser.addoption(
        "--rewrite", action="store_true", help="Record what scripts do now, instead of comparing."
    )
