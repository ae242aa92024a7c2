"""``python -m moefacts`` is the ``moefacts`` command (which is what torchrun starts)."""

from moefacts.cli.app import main

if __name__ == "__main__":
    main()
