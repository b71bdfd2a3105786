"""The names of options: an unknown one is refused with the nearest, a camelCase one with its spelling here."""

from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.test_option_values import NAMES, places

REFERENCE = {
    "ALPNCallback": "alpn_callback",
    "ALPNProtocols": "alpn_protocols",
    "SNICallback": "sni_callback",
    "allowHalfOpen": "allow_half_open",
    "allowPartialTrustChain": "allow_partial_trust_chain",
    "autoSelectFamily": "auto_select_family",
    "autoSelectFamilyAttemptTimeout": "auto_select_family_attempt_timeout",
    "certificateCompression": "certificate_compression",
    "checkServerIdentity": "check_server_identity",
    "clientCertEngine": "client_cert_engine",
    "dropMaxConnection": "drop_max_connection",
    "ecdhCurve": "ecdh_curve",
    "enableTrace": "enable_trace",
    "handshakeTimeout": "handshake_timeout",
    "highWaterMark": "high_water_mark",
    "honorCipherOrder": "honor_cipher_order",
    "isServer": "is_server",
    "keepAlive": "keep_alive",
    "keepAliveInitialDelay": "keep_alive_initial_delay",
    "localAddress": "local_address",
    "localPort": "local_port",
    "maxConnections": "max_connections",
    "maxVersion": "max_version",
    "minDHSize": "min_dh_size",
    "minVersion": "min_version",
    "noDelay": "no_delay",
    "pauseOnConnect": "pause_on_connect",
    "privateKeyEngine": "private_key_engine",
    "privateKeyIdentifier": "private_key_identifier",
    "pskCallback": "psk_callback",
    "pskIdentityHint": "psk_identity_hint",
    "rejectUnauthorized": "reject_unauthorized",
    "requestCert": "request_cert",
    "requestOCSP": "request_ocsp",
    "secureContext": "secure_context",
    "secureOptions": "secure_options",
    "secureProtocol": "secure_protocol",
    "sessionIdContext": "session_id_context",
    "sessionTimeout": "session_timeout",
    "ticketKeys": "ticket_keys",
}
"""Names of the reference that are spelt otherwise here."""
SAME = {
    *("ca", "cert", "ciphers", "crl", "dhparam", "key", "passphrase", "pfx", "sigalgs"),
    *("family", "host", "lookup", "onread", "path", "port", "servername", "session", "socket", "timeout"),
}
"""Those that are spelt in the same way."""
OWN = {"check_client_identity", "close_timeout", "require_close_notify"}
"""Options that the reference does not have."""

EVERY = frozenset().union(*NAMES.values())


def test_every_option_is_here() -> None:
    """A new option has to say here how the reference spells it."""
    assert {*REFERENCE.values(), *SAME, *OWN} == EVERY


def unknown(place: Any, name: str) -> aiotls.OptionTypeError:
    """The error for an option that does not exist."""
    with pytest.raises(aiotls.OptionTypeError) as caught:
        place(**{name: None})
    error = caught.value
    assert isinstance(error, TypeError)
    assert (error.code, error.option) == ("ERR_INVALID_ARG_TYPE", name)
    return error


def advice(error: aiotls.OptionTypeError) -> str | None:
    """The name that the error proposes."""
    _, asks, rest = error.message.partition("; did you mean '")
    return rest.removesuffix("'?") if asks else None


@pytest.mark.parametrize("loop_factory", ["asyncio"], indirect=True)
@pytest.mark.parametrize("function", NAMES)
class TestNames:
    def test_names_of_the_reference(self, run: Run, function: str) -> None:
        """Names in camelCase are refused with the snake_case one."""

        async def main() -> None:
            async with places() as functions:
                for camel, snake in REFERENCE.items():
                    error = unknown(functions[function], camel)
                    if snake in NAMES[function]:
                        assert error.message.endswith(f"the option is spelt {snake!r}, not {camel!r}")
                    else:
                        assert f"has no option {camel!r}" in error.message

        run(main)

    def test_mistakes_of_typing(self, run: Run, function: str) -> None:
        """An unknown option is a TypeError that names the nearest known one."""

        async def main() -> None:
            async with places() as functions:
                for name in NAMES[function]:
                    mistakes = {name[:-1], f"{name}s", name.replace("_", ""), name[:1] + name} - NAMES[function]
                    for mistake in mistakes:
                        error = unknown(functions[function], mistake)
                        assert f"has no option {mistake!r}" in error.message
                        assert advice(error) == name, mistake

        run(main)

    def test_options_of_other_functions(self, run: Run, function: str) -> None:
        """What belongs somewhere else is unknown here, also when it is None."""

        async def main() -> None:
            async with places() as functions:
                for name in EVERY - NAMES[function]:
                    assert f"has no option {name!r}" in unknown(functions[function], name).message

        run(main)

    def test_whose_option_it_is(self, run: Run, function: str) -> None:
        """What belongs somewhere else is not taken for a mistake of typing, in either spelling."""

        async def main() -> None:
            async with places() as functions:
                for name in EVERY - NAMES[function]:
                    spellings = [name, *(camel for camel, snake in REFERENCE.items() if snake == name)]
                    for spelling in spellings:
                        message = unknown(functions[function], spelling).message
                        _, _, owner = message.partition(f"; {name!r} is one of ")
                        assert name in NAMES[owner], message
                        assert "did you mean" not in message

        run(main)

    def test_what_is_like_nothing(self, run: Run, function: str) -> None:
        """There is no advice where nothing is near."""

        async def main() -> None:
            async with places() as functions:
                for name in ("zzzzzz", "", "ü", "__class__"):
                    assert advice(unknown(functions[function], name)) is None

        run(main)


@pytest.mark.parametrize("loop_factory", ["asyncio"], indirect=True)
def test_they_are_looked_at_first(run: Run) -> None:
    """An unknown name is told before anything is parsed, read or asked for."""

    asked: list[bool] = []

    async def main() -> None:
        async with places() as functions:
            for place in functions.values():
                with pytest.raises(aiotls.OptionTypeError, match="did you mean 'ciphers'"):
                    place(key="broken", passphrase=lambda: asked.append(True), cyphers="HIGH")
        assert asked == []

    run(main)
