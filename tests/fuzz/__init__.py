"""Fuzzing of every decoder and of both services: `python -m tests.fuzz --minutes 30 --json`."""
