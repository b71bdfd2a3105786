"""The command line: ``aiotls`` and ``python -m aiotls``; one file for each command."""

import click

import aiotls

from .run import run


@click.group()
@click.version_option(aiotls.__version__, message=f"aiotls %(version)s\n{aiotls.openssl_version}")
def main() -> None:
    """TLS for Python's asyncio, on OpenSSL."""


main.add_command(run)
