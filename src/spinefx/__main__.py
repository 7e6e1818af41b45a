"""``python -m spinefx``: the shell."""

from spinefx.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
