"""`python -m tfedge.cli` is `tfedge`."""

from tfedge.cli import run

if __name__ == "__main__":
    run()
