"""The words that choose the defaults of a program."""

from collections.abc import Iterator

import pytest

import aiotls
from aiotls import switches
from aiotls.defaults import Defaults
from aiotls.errors import OptionError
from aiotls.switches import SWITCHES, Choices, choose, environment_words, inherit, read
from tests.support.programs import printed, python

SHOW = "import aiotls; d = aiotls.defaults; print(d.min_version, d.max_version, d.ciphers)"


@pytest.fixture
def untouched(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test changes for the whole process is undone."""
    monkeypatch.setenv("AIOTLS_OPTIONS", "")
    monkeypatch.setattr(switches, "_taken", Choices())
    before = {name: getattr(aiotls.defaults, name) for name in ("ciphers", "min_version", "max_version")}
    yield
    for name, value in before.items():
        setattr(aiotls.defaults, name, value)


# ---- reading


def test_every_switch_is_known() -> None:
    words = [f"{switch.word}={switch.takes}" if switch.takes else switch.word for switch in SWITCHES]
    assert read(words) == words
    assert len(words) == 11


def test_a_value_may_be_the_next_word() -> None:
    assert read(["--tls-keylog", "--odd", "--trace-tls"]) == ["--tls-keylog=--odd", "--trace-tls"]
    assert read(["--tls-cipher-list=a=b"]) == ["--tls-cipher-list=a=b"]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--tls-min-v1.4"], "there is no switch '--tls-min-v1.4'; did you mean --tls-min-v1."),
        (["--tls-keylogs=x"], "did you mean --tls-keylog?"),
        (["--use-bundled-ca"], "did you mean --use-"),
        (["program.py"], "there is no switch 'program.py'; there are --tls-cipher-list, "),
        (["--bogus"], "there is no switch '--bogus'; there are --tls-cipher-list, "),
        (["show.py"], "there is no switch 'show.py'; there are --tls-cipher-list, "),
        (["--"], "there is no switch '--'"),
        ([""], "there is no switch ''"),
        (["--trace-tls=1"], "--trace-tls takes no value"),
        (["--trace-tls="], "--trace-tls takes no value"),
        (["--tls-keylog"], "--tls-keylog needs a value: --tls-keylog=FILE"),
        (["--tls-keylog="], "--tls-keylog needs a value"),
        (["--tls-cipher-list", ""], "--tls-cipher-list needs a value: --tls-cipher-list=LIST"),
    ],
)
def test_what_is_refused(words: list[str], complaint: str) -> None:
    with pytest.raises(OptionError) as caught:
        read(words)
    assert complaint in caught.value.message
    assert caught.value.code == "ERR_INVALID_ARG_VALUE"


# ---- choosing


@pytest.mark.parametrize(
    ("words", "choices"),
    [
        ([], Choices()),
        (["--tls-min-v1.0"], Choices(min_version="TLSv1")),
        (["--tls-min-v1.3", "--tls-min-v1.1", "--tls-min-v1.2"], Choices(min_version="TLSv1.1")),
        (["--tls-max-v1.2"], Choices(max_version="TLSv1.2")),
        (["--tls-max-v1.3", "--tls-max-v1.2"], Choices(max_version="TLSv1.3")),
        (["--tls-max-v1.2", "--tls-max-v1.3"], Choices(max_version="TLSv1.3")),
        (["--tls-min-v1.2", "--tls-max-v1.2"], Choices(min_version="TLSv1.2", max_version="TLSv1.2")),
        (["--tls-cipher-list=a", "--tls-cipher-list=b=c"], Choices(ciphers="b=c")),
        (["--tls-keylog=a", "--tls-keylog=b"], Choices(key_log="b")),
        (["--trace-tls", "--use-system-ca", "--trace-tls"], Choices(trace=True, use_system_ca=True)),
        (["--use-openssl-ca"], Choices(use_openssl_ca=True)),
    ],
)
def test_the_lowest_minimum_the_highest_maximum_the_last_of_the_rest(words: list[str], choices: Choices) -> None:
    assert choose(words) == choices


@pytest.mark.parametrize(
    "words",
    [
        ["--tls-min-v1.3", "--tls-max-v1.2"],
        ["--tls-max-v1.2", "--tls-min-v1.0", "--tls-min-v1.3"],
        ["--tls-max-v1.2", "--tls-min-v1.3", "--tls-max-v1.3"],
    ],
)
def test_ver_04_what_excludes_each_other(words: list[str]) -> None:
    """VER-04: a minimum of 1.3 with a maximum of 1.2, also when a lower minimum is given as well."""
    with pytest.raises(OptionError, match=r"--tls-min-v1\.3 and --tls-max-v1\.2 .* not both may be given"):
        choose(words)


def test_what_is_chosen_is_assigned() -> None:
    defaults = Defaults()
    Choices(ciphers="HIGH", min_version="TLSv1.1").apply(defaults)
    assert (defaults.ciphers, defaults.min_version, defaults.max_version) == ("HIGH", "TLSv1.1", "TLSv1.3")


def test_a_cipher_list_that_openssl_does_not_take() -> None:
    defaults = Defaults()
    with pytest.raises(OptionError, match=r"--tls-cipher-list: .*no cipher match") as caught:
        Choices(ciphers="nope").apply(defaults)
    assert caught.value.code == "ERR_SSL_NO_CIPHER_MATCH"
    assert defaults.ciphers == Defaults().ciphers


# ---- the environment


@pytest.mark.usefixtures("untouched")
class TestEnvironment:
    def test_it_is_split_as_a_shell_does(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIOTLS_OPTIONS", "  --tls-keylog='a file'  --tls-cipher-list HIGH:!aNULL\n--trace-tls")
        assert environment_words() == ["--tls-keylog=a file", "--tls-cipher-list=HIGH:!aNULL", "--trace-tls"]

    def test_what_is_left_to_children_is_what_they_read(self) -> None:
        words = ['--tls-keylog=it\'s a "file"', "--tls-min-v1.0", "--tls-cipher-list=A:!B $C"]
        inherit(words)
        assert environment_words() == words

    def test_the_same_words_do_not_pile_up(self) -> None:
        inherit(["--tls-cipher-list=A", "--trace-tls", "--tls-cipher-list=B", "--trace-tls", "--tls-cipher-list=A"])
        assert environment_words() == ["--tls-cipher-list=B", "--trace-tls", "--tls-cipher-list=A"]

    def test_it_is_taken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIOTLS_OPTIONS", "--tls-min-v1.1 --tls-max-v1.2 --tls-cipher-list=HIGH --use-system-ca")
        switches.take_environment()
        assert (aiotls.defaults.min_version, aiotls.defaults.max_version) == ("TLSv1.1", "TLSv1.2")
        assert aiotls.defaults.ciphers == "HIGH"
        assert switches.taken().use_system_ca

    @pytest.mark.parametrize(
        ("text", "complaint", "code"),
        [
            ("--tls-min-v1.9", "there is no switch", "ERR_INVALID_ARG_VALUE"),
            ("--tls-keylog='x", "No closing quotation", "ERR_INVALID_ARG_VALUE"),
            ("--tls-min-v1.3 --tls-max-v1.2", "not both may be given", "ERR_INVALID_ARG_VALUE"),
            ("--tls-cipher-list=nope", "--tls-cipher-list: .*no cipher match", "ERR_SSL_NO_CIPHER_MATCH"),
        ],
    )
    def test_an_error_names_it(self, monkeypatch: pytest.MonkeyPatch, text: str, complaint: str, code: str) -> None:
        monkeypatch.setenv("AIOTLS_OPTIONS", text)
        with pytest.raises(OptionError, match=f"^\\[{code}\\] AIOTLS_OPTIONS: .*{complaint}") as caught:
            switches.take_environment()
        assert (caught.value.option, caught.value.code) == ("AIOTLS_OPTIONS", code)
        assert switches.taken() == Choices()


class TestImport:
    """AIOTLS_OPTIONS is read when aiotls is imported."""

    def test_nothing_is_chosen(self) -> None:
        assert printed(SHOW).split() == ["TLSv1.2", "TLSv1.3", aiotls.constants.DEFAULT_CORE_CIPHER_LIST]

    def test_the_words_are_the_defaults(self) -> None:
        words = "--tls-min-v1.3 --tls-min-v1.0 --tls-max-v1.3 --tls-cipher-list=HIGH"
        assert printed(SHOW, AIOTLS_OPTIONS=words).split() == ["TLSv1", "TLSv1.3", "HIGH"]

    @pytest.mark.parametrize("word", ["--tls-min-v9", "--tls-cipher-list=nope", "nonsense", "--tls-keylog"])
    def test_an_unknown_word_is_an_error(self, word: str) -> None:
        done = python("-c", SHOW, AIOTLS_OPTIONS=word)
        assert done.returncode == 1
        assert "OptionError" in done.stderr.splitlines()[-1]
        assert "AIOTLS_OPTIONS" in done.stderr.splitlines()[-1]
        assert word.partition("=")[0] in done.stderr.splitlines()[-1]

    def test_ver_04_without_the_launcher(self) -> None:
        """VER-04: the same words in AIOTLS_OPTIONS."""
        done = python("-c", SHOW, AIOTLS_OPTIONS="--tls-max-v1.2 --tls-min-v1.3")
        assert done.returncode != 0
        assert "--tls-min-v1.3 and --tls-max-v1.2 exclude each other: not both may be given" in done.stderr
