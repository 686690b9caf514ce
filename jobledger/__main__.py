"""Run the command line as ``python -m jobledger``."""

from jobledger.cli.main import main

if __name__ == "__main__":
    main()
