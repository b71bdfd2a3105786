"""Spelling: how names of the reference are written here, and that nothing has two spellings."""

import re

import pytest

from aiotls.keywords import ConnectKeywords, ServerKeywords, WrapKeywords
from aiotls.names import snake_case


@pytest.mark.parametrize(
    ("camel", "snake"),
    [
        ("ALPNProtocols", "alpn_protocols"),
        ("SNICallback", "sni_callback"),
        ("requestOCSP", "request_ocsp"),
        ("minDHSize", "min_dh_size"),
        ("getTLSTicket", "get_tls_ticket"),
        ("rejectUnauthorized", "reject_unauthorized"),
        ("ecdhCurve", "ecdh_curve"),
        ("dhparam", "dhparam"),
        ("OCSPResponse", "ocsp_response"),
    ],
)
def test_mechanical_spelling(camel: str, snake: str) -> None:
    assert snake_case(camel) == snake


def test_every_option_is_snake_case() -> None:
    for keywords in (ConnectKeywords, ServerKeywords, WrapKeywords):
        for name in keywords.__optional_keys__:
            assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name)
