"""The command ``striate``: one module per subcommand, each with `add_parser` and `run`."""

from striate.cli.main import main as main
