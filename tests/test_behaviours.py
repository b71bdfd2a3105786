"""The table of behaviours: every id has a test, and what is printed is what the tests say."""

import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pytest

from tests import behaviours

CATALOGUE = behaviours.Catalogue.read()
TESTS = list(behaviours.find_tests(behaviours.ROOT / "tests"))
SHOWN_BY = behaviours.tests_by_id(TESTS, CATALOGUE.areas)
COUNT = 164


def test_every_behaviour_has_a_test_or_a_reason() -> None:
    """A docstring that names it, or an entry in behaviours.toml that says why not."""
    without = [id for id in CATALOGUE.titles if id not in SHOWN_BY and id not in CATALOGUE.reasons]
    assert " ".join(without) == ""
    assert not {*SHOWN_BY} & {*CATALOGUE.reasons}


def test_no_test_names_an_id_that_there_is_not() -> None:
    assert {id: names for id, names in SHOWN_BY.items() if id not in CATALOGUE.titles} == {}


def test_the_catalogue_is_complete_and_in_order() -> None:
    assert len(CATALOGUE.titles) == COUNT
    last = dict.fromkeys(CATALOGUE.areas, 0)
    for id in CATALOGUE.titles:
        area, _, number = id.partition("-")
        last[area] += 1
        assert number == f"{last[area]:02}"
    assert {*CATALOGUE.apart, *CATALOGUE.reasons} <= {*CATALOGUE.titles}
    assert not {*CATALOGUE.apart} & {*CATALOGUE.reasons}


def test_pytest_knows_the_tests_by_these_names() -> None:
    """Inherited ones and those of parametrized classes included: this file, and one with classes of another module."""
    files = ["tests/test_behaviours.py", "tests/interop/test_python_ssl.py"]
    collected = _python("-m", "pytest", "--collect-only", "-q", "-p", "no:randomly", *files, folder=behaviours.ROOT)
    known = {line.partition("[")[0] for line in collected.stdout.splitlines() if "::" in line}
    assert known == {test.name for test in TESTS if test.name.partition("::")[0] in files}


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("SES-05: a sentence.", ["SES-05"]),
        ("SES-05, KEY-01, failure model 13: both.", ["SES-05", "KEY-01"]),
        ("KEYS-02 and CVE-2021-44532.", ["KEYS-02"]),
        ("CA-08..CA-10, VER-05..06.", ["CA-08", "CA-09", "CA-10", "VER-05", "VER-06"]),
        ("CA-08 to CA-10, VER-05–06.", ["CA-08", "CA-09", "CA-10", "VER-05", "VER-06"]),
        ("CA-08 to 10 of them; CA-11-12", ["CA-08", "CA-11"]),
        ("(WRAP-12).", ["WRAP-12"]),
        ("UTF-08, CA-8, CA-080, XCA-08, KEY-01.", ["KEY-01"]),
        ("Nothing.", []),
    ],
)
def test_the_ids_in_a_text(text: str, ids: list[str]) -> None:
    assert behaviours.ids_in(text, CATALOGUE.areas) == ids


class TestFindingTests:
    def test_functions_methods_and_inherited_ones(self, tmp_path: Path) -> None:
        names = _names(
            tmp_path,
            {
                "base.py": '''
                    class Base:
                        """Not a test by itself: KEY-01."""

                        def test_a(self) -> None:
                            """SES-01."""

                        def test_b(self) -> None:
                            """SES-02."""
                ''',
                "test_it.py": '''
                    """A module: KEY-01."""

                    import sys
                    from tests import base

                    class TestIt(base.Base):
                        """SES-03."""

                        def test_b(self) -> None:
                            """SES-04."""

                        class TestInside:
                            async def test_c(self) -> None:
                                """SES-05."""

                    class Helper:
                        def test_never(self) -> None:
                            """SES-06."""

                    if sys.platform == "linux":
                        def test_d() -> None:
                            """SES-07."""

                            def test_e() -> None:
                                """SES-08."""
                    else:
                        def helper() -> None:
                            """SES-09."""
                ''',
            },
        )
        inside = "tests/test_it.py::TestIt::TestInside::test_c"
        assert names == {
            "SES-01": ["tests/test_it.py::TestIt::test_a"],
            "SES-03": ["tests/test_it.py::TestIt::test_a", "tests/test_it.py::TestIt::test_b", inside],
            "SES-04": ["tests/test_it.py::TestIt::test_b"],
            "SES-05": [inside],
            "SES-07": ["tests/test_it.py::test_d"],
        }

    def test_what_is_no_test_file_has_no_tests(self, tmp_path: Path) -> None:
        assert _names(tmp_path, {"other.py": 'def test_a() -> None:\n    """SES-01."""'}) == {}


class TestRunning:
    TABLE = """
        [A]
        area = "letters"
        01 = "passes"
        02 = "fails"
        03 = "is skipped"
        04 = "has none"
        [B]
        area = "more letters"
        01 = "cannot be"
        02 = "is set up in vain"
        [apart]
        A-01 = "a part of it"
        [reasons]
        B-01 = "there is nothing to test"
    """
    SUITE = '''
        import pytest

        class TestLetters:
            """A-01."""

            @pytest.mark.parametrize("number", [1, 2])
            def test_passes(self, number: int) -> None: ...

        @pytest.mark.parametrize("number", [1, 2])
        def test_fails(number: int) -> None:
            """A-02: for 2."""
            assert number == 1

        @pytest.mark.skip
        def test_skipped() -> None:
            """A-03."""

        @pytest.fixture
        def broken() -> None:
            raise ValueError

        def test_is_not_set_up(broken: None) -> None:
            """B-02."""
    '''
    FILES: ClassVar = {"behaviours.toml": TABLE, "test_letters.py": SUITE}

    @pytest.mark.parametrize("workers", [[], ["-n", "1"]], ids=["here", "xdist"])
    def test_what_the_tests_say_is_printed(self, tmp_path: Path, workers: list[str]) -> None:
        ended = self._main(tmp_path, "-p", "no:randomly", *workers)
        assert ended.returncode == 1
        rows = {line[2:6]: line.split(maxsplit=1)[1] for line in ended.stdout.splitlines() if line[2:6] in _IDS}
        assert {id: " ".join(row.split()) for id, row in rows.items()} == {
            "A-01": "passes 1 passed",
            "A-02": "fails 1 failed",
            "A-03": "is skipped 1 skipped",
            "A-04": "has none 0 NO TEST",
            "B-01": "cannot be 0 does not apply",
            "B-02": "is set up in vain 1 failed",
        }
        assert "\n            apart: a part of it\n" in ended.stdout
        assert "\n            there is nothing to test\n" in ended.stdout
        assert "\nfailed:\n  tests/test_letters.py::test_fails[2]\n" in ended.stdout
        assert ended.stdout.rstrip().endswith("4 tests, run 6 times")

    @pytest.mark.parametrize(
        ("words", "code"),
        [
            ("--only A-01", 0),
            ("--only A-01,A-03", 0),
            ("--only A-01..A-02", 1),
            ("--only A-01 --unknown-option", 4),
        ],
    )
    def test_the_exit_code_of_a_run(self, tmp_path: Path, words: str, code: int) -> None:
        assert self._main(tmp_path, *words.split()).returncode == code

    @pytest.mark.parametrize(
        ("words", "code"), [("--list", 1), ("--list --only A-01..03", 0), ("--only B-01", 0), ("--only A-04", 1)]
    )
    def test_the_exit_code_where_nothing_runs(self, tmp_path: Path, words: str, code: int) -> None:
        _write(tmp_path, self.FILES)
        assert behaviours.main(words.split(), tmp_path) == code

    def test_an_id_that_there_is_not(self, tmp_path: Path) -> None:
        _write(tmp_path, self.FILES)
        with pytest.raises(SystemExit, match="there is no C-01, A-1"):
            behaviours.main(["--only", "C-01,A-1,A-01"], tmp_path)

    def test_a_list_runs_nothing(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        _write(tmp_path, self.FILES)
        behaviours.main(["--list", "--tests", "--only", "A"], tmp_path)
        printed = capsys.readouterr().out
        assert "            tests/test_letters.py::test_fails\n" in printed
        assert "failed" not in printed
        assert printed.endswith("4 behaviours: 3 shown, 1 NO TEST\n3 tests\n")

    def _main(self, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
        _write(folder, self.FILES)
        (folder / "pytest.ini").write_text("[pytest]\n")
        program = (
            f"import sys; sys.path.insert(0, {str(behaviours.ROOT)!r}); from pathlib import Path\n"
            "from tests import behaviours; sys.exit(behaviours.main(sys.argv[1:], Path.cwd()))"
        )
        return _python("-c", program, *arguments, folder=folder)


_IDS = {"A-01", "A-02", "A-03", "A-04", "B-01", "B-02"}


def _names(folder: Path, files: Mapping[str, str]) -> dict[str, list[str]]:
    _write(folder, files)
    return behaviours.tests_by_id(behaviours.find_tests(folder / "tests"), CATALOGUE.areas)


def _write(folder: Path, files: Mapping[str, str]) -> None:
    (folder / "tests").mkdir()
    for name, text in files.items():
        (folder / "tests" / name).write_text(textwrap.dedent(text))


def _python(*arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
