"""Options of connections, clients and servers: types, values, defaults, and errors that name the option."""

import dataclasses
import math
import pathlib
import socket
import ssl
import weakref
from typing import Any

import pytest

from aiotls.context import SecureContext, create_secure_context
from aiotls.context_options import ContextOptions
from aiotls.defaults import defaults
from aiotls.errors import OptionError
from aiotls.options import ConnectOptions, ServerOptions, SocketOptions
from tests.support.pki import named


def connect(**keywords: Any) -> ConnectOptions:
    return ConnectOptions.parse({"port": 443, **keywords})


def refused(parse: Any, code: str, option: str, **keywords: Any) -> OptionError:
    with pytest.raises(OptionError, match=option) as caught:
        parse(keywords)
    assert caught.value.code == code
    assert isinstance(caught.value, TypeError) == (code in ("ERR_INVALID_ARG_TYPE", "ERR_MISSING_ARGS"))
    return caught.value


class TestNames:
    @pytest.mark.parametrize("parse", [ConnectOptions.parse, ServerOptions.parse, SocketOptions.parse])
    def test_an_unknown_option_names_the_nearest(self, parse: Any) -> None:
        error = refused(parse, "ERR_INVALID_ARG_TYPE", "handshake_timout", handshake_timout=1)
        assert "did you mean 'handshake_timeout'?" in error.message

    def test_a_camel_case_option_names_the_snake_case_one(self) -> None:
        error = refused(connect_parse, "ERR_INVALID_ARG_TYPE", "ALPNProtocols", port=1, ALPNProtocols=["h2"])
        assert "'alpn_protocols'" in error.message
        refused(ContextOptions.parse, "ERR_INVALID_ARG_TYPE", "'min_version'", minVersion="TLSv1.2")

    def test_what_is_like_nothing_gives_no_advice(self) -> None:
        error = refused(connect_parse, "ERR_INVALID_ARG_TYPE", "zzzzzz", port=1, zzzzzz=1)
        assert "did you mean" not in error.message

    def test_an_option_of_the_other_side_is_unknown(self) -> None:
        refused(connect_parse, "ERR_INVALID_ARG_TYPE", "request_cert", port=1, request_cert=True)
        refused(ServerOptions.parse, "ERR_INVALID_ARG_TYPE", "servername", servername="x")


connect_parse = ConnectOptions.parse


@pytest.mark.parametrize("address", ["x y", "999.1.1.1", "localhost", "127.1", "[::1]", "127.0.0.1.", "127.0.0.1:1"])
def test_a_local_address_that_is_none(address: str) -> None:
    error = refused(connect_parse, "ERR_INVALID_IP_ADDRESS", "local_address", port=1, local_address=address)
    assert error.option == "local_address"


class TestConnect:
    def test_defaults(self) -> None:
        options = connect()
        assert (options.host, options.port, options.path, options.socket) == (None, 443, None, None)
        assert (options.hostname, options.servername) == ("localhost", "localhost")
        assert options.settings.reject_unauthorized is True
        assert options.settings.request_cert is False
        assert options.settings.server is False
        assert (options.handshake_timeout, options.high_water_mark, options.timeout) == (120.0, 65536, None)
        assert options.allow_half_open is None
        assert options.settings.alpn == b""
        assert options.require_close_notify is False
        assert (options.auto_select_family, options.auto_select_family_attempt_timeout) == (True, 0.25)
        assert (options.lookup, options.family, options.local_address, options.local_port) == (None, None, None, None)

    def test_it_is_frozen_and_has_no_dict(self) -> None:
        options = connect()
        with pytest.raises(dataclasses.FrozenInstanceError):
            options.port = 1  # type: ignore[misc]
        assert not hasattr(options, "__dict__")

    def test_port_path_or_socket(self) -> None:
        refused(connect_parse, "ERR_MISSING_ARGS", "port", host="a.example")
        assert ConnectOptions.parse({"path": "/run/x"}).path == "/run/x"
        assert ConnectOptions.parse({"path": pathlib.Path("/run/x")}).path == "/run/x"
        assert ConnectOptions.parse({"socket": (thing := object())}).socket is thing
        assert connect(port=0).port == 0

    @pytest.mark.parametrize("port", [-1, 65536])
    def test_a_bad_port(self, port: int) -> None:
        refused(connect_parse, "ERR_SOCKET_BAD_PORT", "port", port=port)
        refused(connect_parse, "ERR_SOCKET_BAD_PORT", "local_port", port=1, local_port=port)

    @pytest.mark.parametrize("port", ["443", 1.0, True, [1]])
    def test_a_port_of_the_wrong_type(self, port: Any) -> None:
        refused(connect_parse, "ERR_INVALID_ARG_TYPE", "port", port=port)

    @pytest.mark.parametrize("path", ["", "a\0b"])
    def test_a_bad_path(self, path: str) -> None:
        refused(connect_parse, "ERR_INVALID_ARG_VALUE", "path", path=path)

    @pytest.mark.parametrize("lookup", ["foobar", 1, {}, [], False, 0, ""])
    def test_lookup(self, lookup: Any) -> None:
        refused(connect_parse, "ERR_INVALID_ARG_TYPE", "lookup", host="localhost", port=1, lookup=lookup)
        assert connect(lookup=None).lookup is None
        assert connect(lookup=print).lookup is print

    @pytest.mark.parametrize(
        ("family", "parsed"), [(None, None), (0, None), (4, 4), (6, 6), (socket.AF_INET, 4), (socket.AF_INET6, 6)]
    )
    def test_family(self, family: int | None, parsed: int | None) -> None:
        assert connect(family=family).family == parsed

    @pytest.mark.parametrize("family", [5, "4", True, socket.AF_UNIX, []])
    def test_a_bad_family(self, family: Any) -> None:
        with pytest.raises(OptionError, match="family"):
            connect(family=family)

    @pytest.mark.parametrize("option", ["auto_select_family_attempt_timeout", "handshake_timeout", "close_timeout"])
    @pytest.mark.parametrize("value", [0, -1, math.inf, math.nan, 3e6])
    def test_times_out_of_range(self, option: str, value: float) -> None:
        refused(connect_parse, "ERR_OUT_OF_RANGE", option, port=1, **{option: value})

    @pytest.mark.parametrize("option", ["handshake_timeout", "timeout", "keep_alive_initial_delay"])
    @pytest.mark.parametrize("value", ["1", True, [1]])
    def test_times_of_the_wrong_type(self, option: str, value: Any) -> None:
        refused(connect_parse, "ERR_INVALID_ARG_TYPE", option, port=1, **{option: value})

    def test_times(self) -> None:
        options = connect(timeout=1, handshake_timeout=0.5, close_timeout=None, keep_alive_initial_delay=0)
        assert (options.timeout, options.handshake_timeout, options.close_timeout) == (1.0, 0.5, 30.0)
        assert connect(timeout=0).timeout is None

    @pytest.mark.parametrize(("given", "mark"), [(128000, 128000), (None, 65536), (0, 0)])
    def test_high_water_mark(self, given: int | None, mark: int) -> None:
        assert connect(high_water_mark=given).high_water_mark == mark

    @pytest.mark.parametrize(
        ("value", "code"),
        [
            (-1, "ERR_OUT_OF_RANGE"),
            (1.5, "ERR_OUT_OF_RANGE"),
            ("1", "ERR_INVALID_ARG_TYPE"),
            (True, "ERR_INVALID_ARG_TYPE"),
        ],
    )
    def test_a_bad_high_water_mark(self, value: Any, code: str) -> None:
        refused(connect_parse, code, "high_water_mark", port=1, high_water_mark=value)

    @pytest.mark.parametrize(
        "option", ["require_close_notify", "allow_half_open", "no_delay", "keep_alive", "auto_select_family"]
    )
    def test_flags(self, option: str) -> None:
        assert getattr(connect(**{option: True}), option) is True
        assert getattr(connect(**{option: False}), option) is False
        for value in (1, 0, "yes"):
            refused(connect_parse, "ERR_INVALID_ARG_TYPE", option, port=1, **{option: value})

    @pytest.mark.parametrize(("given", "verified"), [(True, True), (None, True), (0, True), ("", True), (False, False)])
    def test_only_false_turns_verification_off(self, given: Any, verified: bool) -> None:
        assert connect(reject_unauthorized=given).settings.reject_unauthorized is verified

    def test_check_server_identity(self) -> None:
        assert connect(check_server_identity=print).check_server_identity is print
        refused(connect_parse, "ERR_INVALID_ARG_TYPE", "check_server_identity", port=1, check_server_identity=False)

    def test_alpn(self) -> None:
        assert connect(alpn_protocols=["h2", b"http/1.1"]).settings.alpn == b"\x02h2\x08http/1.1"
        refused(connect_parse, "ERR_INVALID_ARG_TYPE", "alpn_protocols", port=1, alpn_protocols="h2")


class TestServername:
    @pytest.mark.parametrize(
        ("keywords", "hostname", "servername"),
        [
            ({"port": 1}, "localhost", "localhost"),
            ({"port": 1, "host": "a.example"}, "a.example", "a.example"),
            ({"port": 1, "host": "a.example."}, "a.example.", "a.example"),
            ({"port": 1, "host": "127.0.0.1"}, "127.0.0.1", None),
            ({"port": 1, "host": "::1"}, "::1", None),
            ({"port": 1, "host": "fe80::1%eth0"}, "fe80::1%eth0", None),
            ({"port": 1, "host": "a.example", "servername": "b.example"}, "b.example", "b.example"),
            ({"port": 1, "host": "a.example", "servername": False}, "a.example", None),
            ({"port": 1, "host": "a.example", "servername": ""}, "a.example", None),
            ({"port": 1, "host": "bücher.example"}, "xn--bcher-kva.example", "xn--bcher-kva.example"),
            ({"port": 1, "host": "a。example"}, "a.example", "a.example"),
            ({"port": 1, "host": "１２７.0.0.1"}, "127.0.0.1", None),
            ({"path": "/run/x"}, "localhost", None),
            ({"path": "/run/x", "host": "a.example"}, "a.example", "a.example"),
            ({"socket": object()}, "localhost", None),
        ],
    )
    def test_names(self, keywords: dict[str, Any], hostname: str, servername: str | None) -> None:
        options = ConnectOptions.parse(keywords)
        assert (options.hostname, options.servername) == (hostname, servername)

    @pytest.mark.parametrize("servername", ["127.0.0.1", "::1", "１２７.0.0.1", "1.2.3.4.", "::1."])
    def test_an_address_is_refused(self, servername: str) -> None:
        refused(connect_parse, "ERR_INVALID_ARG_VALUE", "servername", port=1, servername=servername)

    @pytest.mark.parametrize("option", ["host", "servername"])
    @pytest.mark.parametrize("name", ["[::1]", "[::1]:443", "[", "[fe80::1%eth0]"])
    def test_an_address_in_the_brackets_of_a_url(self, option: str, name: str) -> None:
        error = refused(connect_parse, "ERR_INVALID_ARG_VALUE", option, port=1, **{option: name})
        assert "without brackets" in error.message
        assert error.option == option

    @pytest.mark.parametrize("servername", [1, True, b"a", []])
    def test_a_wrong_type(self, servername: Any) -> None:
        refused(connect_parse, "ERR_INVALID_ARG_TYPE", "servername", port=1, servername=servername)

    @pytest.mark.parametrize("host", ["", "a\0b.example", "a b.example", "a\n.example", "é" * 70, "x" * 1025])
    def test_what_no_host_can_be(self, host: str) -> None:
        refused(connect_parse, "ERR_INVALID_ARG_VALUE", "host", port=1, host=host)


class TestServer:
    def test_defaults(self) -> None:
        options = ServerOptions.parse({})
        assert options.settings.server is True
        assert (options.settings.request_cert, options.settings.reject_unauthorized) == (False, True)
        assert (options.pause_on_connect, options.settings.request_cert) == (False, False)
        assert (options.hostname, options.servername) == ("", None)

    def test_values(self) -> None:
        options = ServerOptions.parse({"request_cert": True, "pause_on_connect": True})
        assert (options.settings.request_cert, options.pause_on_connect) == (True, True)

    def test_a_bad_value(self) -> None:
        refused(ServerOptions.parse, "ERR_INVALID_ARG_TYPE", "request_cert", request_cert=1)


class TestSocket:
    def test_either_side(self) -> None:
        assert SocketOptions.parse({}).settings.server is False
        assert SocketOptions.parse({"is_server": True}).settings.server is True
        assert SocketOptions.parse({"host": "a.example"}).servername == "a.example"
        refused(SocketOptions.parse, "ERR_INVALID_ARG_TYPE", "is_server", is_server="yes")


class TestShared:
    """Clients that ask for the same share their options, as long as one of them lives."""

    CONTEXT = create_secure_context()

    def given(self, **keywords: Any) -> dict[str, Any]:
        return {"host": "localhost", "secure_context": self.CONTEXT, "check_server_identity": refused, **keywords}

    def test_the_same_again(self) -> None:
        first = connect(**self.given(timeout=1.5, servername=None))
        assert connect(**self.given(timeout=1.5, servername=None)) is first

    @pytest.mark.parametrize(
        "other",
        [
            {"host": "127.0.0.1"},
            {"port": 444},
            {"secure_context": create_secure_context()},
            {"check_server_identity": connect},
            {"timeout": 2.0},
            {"reject_unauthorized": False},
        ],
    )
    def test_what_differs(self, other: dict[str, Any]) -> None:
        first = connect(**self.given(timeout=1.0))
        second = connect(**self.given(timeout=1.0) | other)
        assert first != second
        assert first == connect(**self.given(timeout=1.0))

    def test_what_is_only_equal(self) -> None:
        kept = connect(**self.given(port=1, reject_unauthorized=False))
        assert kept.settings.reject_unauthorized is False
        assert connect(**self.given(port=1, reject_unauthorized=0)).settings.reject_unauthorized is True
        refused(connect_parse, "ERR_INVALID_ARG_TYPE", "port", **self.given(port=True, reject_unauthorized=False))

    def test_what_can_change(self) -> None:
        protocols = ["h2"]
        kept = connect(**self.given(alpn_protocols=protocols))
        protocols[0] = "http/1.1"
        assert kept.settings.alpn == b"\x02h2"
        assert connect(**self.given(alpn_protocols=protocols)).settings.alpn == b"\x08http/1.1"

    def test_defaults(self, monkeypatch: pytest.MonkeyPatch) -> None:
        kept = connect(**self.given())
        monkeypatch.setattr(defaults, "client_reneg_limit", 7)
        assert (kept.settings.reneg_limit, connect(**self.given()).settings.reneg_limit) == (3, 7)

    def test_each_its_own_context(self, tmp_path: pathlib.Path) -> None:
        """Where none is given, files are read each time."""
        (path := tmp_path / "ca.pem").write_bytes(named.ca.cert_pem)
        first = connect(ca=path)
        assert connect(ca=path).settings.context is not first.settings.context
        path.write_text("no certificate any more")
        with pytest.raises(OptionError, match="ca"):
            connect(ca=path)

    def test_nothing_is_kept(self) -> None:
        def check(hostname: str, certificate: object) -> None: ...

        options = connect(**self.given(check_server_identity=check))
        known = weakref.ref(options), weakref.ref(check)
        del options, check
        assert [kept() for kept in known] == [None, None]

    def test_a_wrong_option_is_refused_again(self) -> None:
        for _ in range(2):
            refused(connect_parse, "ERR_INVALID_ARG_TYPE", "timeout", **self.given(port=1, timeout="1"))


class TestSecureContext:
    def test_it_is_made_at_once(self) -> None:
        assert isinstance(connect().settings.context, SecureContext)
        with pytest.raises(OptionError) as caught:
            connect(ciphers="rick-128-roll")
        assert caught.value.code == "ERR_SSL_NO_CIPHER_MATCH"

    def test_one_that_is_given_is_used(self) -> None:
        context = create_secure_context()
        assert connect(secure_context=context).settings.context is context
        assert connect(secure_context=context, ca=None, ciphers=None).settings.context is context

    @pytest.mark.parametrize("option", ["ca", "ciphers", "min_version"])
    def test_its_options_may_not_stand_beside_it(self, option: str) -> None:
        refused(
            connect_parse,
            "ERR_INVALID_ARG_TYPE",
            option,
            port=1,
            secure_context=create_secure_context(),
            **{option: "x"},
        )

    def test_a_wrong_type(self) -> None:
        refused(connect_parse, "ERR_INVALID_ARG_TYPE", "secure_context", port=1, secure_context={})


class TestContextOptions:
    def test_defaults(self) -> None:
        options = ContextOptions.parse({})
        assert (options.min_version, options.max_version) == ("TLSv1.2", "TLSv1.3")
        assert options.ciphers == defaults.ciphers
        assert (options.ca, options.chains, options.keys) == (None, (), ())
        assert (options.ecdh_curve, options.sigalgs) == ("auto", None)
        assert options.session_timeout == 300
        assert len(options.session_id_context) == 16
        assert options.honor_cipher_order is False
        assert ContextOptions.parse({}, server=True).honor_cipher_order is True
        assert ContextOptions.parse({"honor_cipher_order": False}, server=True).honor_cipher_order is False

    def test_defaults_are_read_when_it_is_made(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(defaults, "ciphers", "HIGH")
        monkeypatch.setattr(defaults, "min_version", "TLSv1.3")
        monkeypatch.setattr(defaults, "ecdh_curve", "prime256v1")
        options = ContextOptions.parse({})
        assert (options.ciphers, options.min_version, options.ecdh_curve) == ("HIGH", "TLSv1.3", "prime256v1")

    @pytest.mark.parametrize("ciphers", [None, ""])
    def test_no_ciphers_are_the_default_ones(self, ciphers: str | None) -> None:
        assert ContextOptions.parse({"ciphers": ciphers}).ciphers == defaults.ciphers

    def test_none_is_absent(self) -> None:
        names = ("ciphers", "passphrase", "session_id_context", "session_timeout", "sigalgs", "secure_options", "ca")
        assert ContextOptions.parse(dict.fromkeys(names)) == ContextOptions.parse({})

    @pytest.mark.parametrize("option", ["min_version", "max_version"])
    @pytest.mark.parametrize("value", ["x", "TLSv1.4", "", 1, ssl.TLSVersion.SSLv3])
    def test_an_unknown_version(self, option: str, value: Any) -> None:
        refused(ContextOptions.parse, "ERR_TLS_INVALID_PROTOCOL_VERSION", option, **{option: value})

    def test_versions(self) -> None:
        options = ContextOptions.parse({"min_version": ssl.TLSVersion.TLSv1, "max_version": "TLSv1.2"})
        assert (options.min_version, options.max_version) == ("TLSv1", "TLSv1.2")

    @pytest.mark.parametrize(
        ("method", "minimum", "maximum"),
        [
            ("TLS_method", "TLSv1", "TLSv1.3"),
            ("TLS_server_method", "TLSv1", "TLSv1.3"),
            ("SSLv23_method", "TLSv1.2", "TLSv1.2"),
            ("TLSv1_method", "TLSv1", "TLSv1"),
            ("TLSv1_1_client_method", "TLSv1.1", "TLSv1.1"),
            ("TLSv1_2_method", "TLSv1.2", "TLSv1.2"),
        ],
    )
    def test_legacy_methods(self, method: str, minimum: str, maximum: str) -> None:
        options = ContextOptions.parse({"secure_protocol": method})
        assert (options.min_version, options.max_version) == (minimum, maximum)

    @pytest.mark.parametrize(
        "method", ["SSLv2_method", "SSLv3_method", "hokey-pokey", "%s_method", "TLSv1_3_method", ""]
    )
    def test_unknown_methods(self, method: str) -> None:
        refused(ContextOptions.parse, "ERR_TLS_INVALID_PROTOCOL_METHOD", "secure_protocol", secure_protocol=method)

    @pytest.mark.parametrize("option", ["min_version", "max_version"])
    def test_a_method_and_a_version(self, option: str) -> None:
        keywords = {"secure_protocol": "TLS_method", option: "TLSv1.2"}
        refused(ContextOptions.parse, "ERR_TLS_PROTOCOL_VERSION_CONFLICT", option, **keywords)

    @pytest.mark.parametrize("value", [-1, -100, -(2**31), 2**31, 1.5])
    def test_session_timeout_out_of_range(self, value: float) -> None:
        error = refused(ContextOptions.parse, "ERR_OUT_OF_RANGE", "session_timeout", session_timeout=value)
        assert str(value) in error.message
        assert ("an integer" if value == 1.5 else "0..2147483647") in error.message

    @pytest.mark.parametrize(
        ("option", "value"),
        [
            ("ciphers", 1),
            ("sigalgs", 1),
            ("ecdh_curve", None),
            ("ecdh_curve", 1),
            ("secure_options", "x"),
            ("secure_options", True),
            ("session_timeout", "5"),
            ("session_id_context", 5),
            ("honor_cipher_order", "yes"),
            ("allow_partial_trust_chain", 1),
            ("passphrase", 1),
            ("secure_protocol", 1),
        ],
    )
    def test_wrong_types(self, option: str, value: Any) -> None:
        refused(ContextOptions.parse, "ERR_INVALID_ARG_TYPE", option, **{option: value})

    @pytest.mark.parametrize(
        ("option", "value", "code"),
        [
            ("sigalgs", "", "ERR_INVALID_ARG_VALUE"),
            ("ecdh_curve", "", "ERR_INVALID_ARG_VALUE"),
            ("ciphers", "HIGH\0", "ERR_INVALID_ARG_VALUE"),
            ("secure_options", -1, "ERR_OUT_OF_RANGE"),
            ("session_id_context", "x" * 33, "ERR_OUT_OF_RANGE"),
        ],
    )
    def test_wrong_values(self, option: str, value: Any, code: str) -> None:
        refused(ContextOptions.parse, code, option, **{option: value})
