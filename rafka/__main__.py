"""`python -m rafka`: the same as the command `rafka`."""

from rafka.cli.main import main

main()
