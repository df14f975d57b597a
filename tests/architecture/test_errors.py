"""Every reason that a caller can be given is explained in docs/errors.md."""

from __future__ import annotations

import inspect

from domain.kernel import Refusal
from server.pipeline.errors import reason
from tests.architecture.errors_page import PAGE, page, refusals


class TestErrorsPage:
    def test_is_what_the_code_says(self) -> None:
        assert page() == PAGE.read_text(encoding="utf-8")

    def test_has_a_word_on_each_refusal(self) -> None:
        silent = [kind.__name__ for kind in refusals() if inspect.getdoc(kind) == inspect.getdoc(Refusal)]

        assert silent == []

    def test_gives_no_reason_twice(self) -> None:
        names = [reason(kind) for kind in refusals()]

        assert len(set(names)) == len(names)
