"""How a camelCase name of the reference is spelt here."""

import re


def snake_case(name: str) -> str:
    """The snake_case form of a name; an acronym is one word.

    Example::

        >>> snake_case("ALPNProtocols"), snake_case("requestOCSP")
        ('alpn_protocols', 'request_ocsp')
    """
    return _WORD_START.sub("_", name).lower()


_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
