"""`python -m tfedge.runtime` is `tfedge-infer`."""

from tfedge.start import main

if __name__ == "__main__":
    main()
