"""Fuzzers over what strangers send: `python -m fuzz --help`. Each case is a function of one seed."""
