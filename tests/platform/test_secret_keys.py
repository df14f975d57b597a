"""What is sealed is opened here alone, as it was sealed, by servers old and new."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.secret_keys import Seal

TEXT = "seven geese, 七羽"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


class TestOpen:
    def test_returns_what_was_sealed(self, folder: Path) -> None:
        sealed = Seal(folder, "tests").close(TEXT)

        assert TEXT == Seal(folder, "tests").open(sealed)
        assert "geese" not in sealed

    def test_refuses_what_was_sealed_for_something_else(self, folder: Path) -> None:
        with pytest.raises(ValueError, match="not sealed here for this"):
            Seal(folder, "tests").open(Seal(folder, "other tests").close(TEXT))

    @given(data=st.data(), length=st.integers(0, 8))
    def test_refuses_whatever_was_changed(self, folder: Path, data: st.DataObject, length: int) -> None:
        """The last letters too, of which some bits stand for nothing."""
        sealed = Seal(folder, "tests").close(TEXT[:length])
        place = data.draw(st.integers(0, len(sealed) - 1))
        letter = data.draw(st.characters(max_codepoint=300).filter(lambda letter: letter != sealed[place]))

        with pytest.raises(ValueError, match=r".") as fault:
            Seal(folder, "tests").open(sealed[:place] + letter + sealed[place + 1 :])

        assert TEXT not in str(fault.value)

    @given(text=st.text(max_size=100))
    def test_refuses_any_other_text(self, folder: Path, text: str) -> None:
        with pytest.raises(ValueError, match=r"."):
            Seal(folder, "tests").open(text)

    def test_knows_keys_that_come_while_it_is_in_use(self, tmp_path: Path) -> None:
        older = Seal(tmp_path, "tests")
        before = older.close(TEXT)
        (tmp_path / "2.key").write_bytes(b"n" * 32)
        newer = Seal(tmp_path, "tests")

        assert newer.close(TEXT).startswith("2.")
        assert TEXT == older.open(newer.close(TEXT)) == newer.open(before)

    def test_reads_the_folder_for_unknown_keys_no_more_than_once_a_second(self, tmp_path: Path) -> None:
        times = count(10.0, 0.4)
        seal = Seal(tmp_path, "tests", clock=lambda: next(times))
        found = []
        with pytest.raises(ValueError, match="is not there"):
            seal.open("2.c2VhbGVk")
        (tmp_path / "2.key").write_bytes(b"n" * 32)
        sealed = Seal(tmp_path, "tests").close(TEXT)

        for _ in range(4):
            try:
                found.append(seal.open(sealed))
            except ValueError:
                found.append("")

        assert ["", "", TEXT, TEXT] == found
