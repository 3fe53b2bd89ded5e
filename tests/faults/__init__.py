"""A trap in the field, with everything that can go wrong between an animal and the one who is told of it.

`python -m tests.faults` (`make test-faults`) is the long form; `tests/test_faults.py` runs a short one.
"""
