"""Reading a scenario, and writing its answers back."""

from __future__ import annotations

import pytest
from tests.scenarios.grammar import do, pairs, seconds
from tests.scenarios.script import read

TEXT = """\
A title.

Some prose.

zone Europe/Berlin

catalogue
    plans:
      pro: {}

2026-03-29 01:00  acme checks 1 chat
    an old answer
    of two lines
2026-03-29 03:00:01  acme checks 2 chat

More prose.
"""


def test_a_script_has_a_title_a_catalogue_and_dated_steps() -> None:
    script = read(TEXT)
    assert script.title == "A title."
    assert script.catalogue == "plans:\n  pro: {}"
    assert [step.command for step in script.steps] == ["acme checks 1 chat", "acme checks 2 chat"]
    assert script.steps[0].answer == ["an old answer", "of two lines"]


def test_dates_are_local_to_the_zone() -> None:
    first, second = read(TEXT).steps
    assert first.at.isoformat() == "2026-03-29T00:00:00+00:00"
    assert second.at.isoformat() == "2026-03-29T01:00:01+00:00"


def test_answers_replace_what_was_there_and_nothing_else() -> None:
    written = read(TEXT).with_answers([["one"], ["two", "three"]])
    assert written == TEXT.replace("    an old answer\n    of two lines\n", "    one\n").replace(
        "acme checks 2 chat\n", "acme checks 2 chat\n    two\n    three\n"
    )


def test_writing_the_same_answers_again_changes_nothing() -> None:
    script = read(TEXT)
    assert script.with_answers([step.answer for step in script.steps]) == TEXT


def test_indented_text_below_nothing_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="line 3 is indented below nothing"):
        read("A title.\n\n    what is this\n")


def test_a_command_nobody_knows_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="0 verbs mean 'acme flies'"):
        do(None, "acme flies")  # type: ignore[arg-type]


def test_words_of_commands() -> None:
    assert pairs("workspace=lab user=ann") == {"workspace": "lab", "user": "ann"}
    assert pairs(None) == {}
    assert [seconds(text) for text in ("30s", "5m", "2h", "1d")] == [30, 300, 7200, 86_400]
