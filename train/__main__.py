"""`python -m train`, and the command `train`."""

from train.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
