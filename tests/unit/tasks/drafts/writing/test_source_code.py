"""Source is laid out as ``ruff format`` does it."""

from tasks.drafts.writing.source_code import Call, Name, comment, literal, source, width_of


def test_source_is_laid_out_in_a_hundred_columns() -> None:
    call = Call("Column", {"name": "가" * 40, "kind": Name("k"), "categories": ("x" * 10,) * 6})
    lines = source(call).splitlines()
    assert max(map(width_of, lines)) <= 100
    assert lines[0] == "Column("
    assert literal('a "b"') == "'a \"b\"'"
    assert literal("it's") == '"it\'s"'
    assert max(map(len, comment(["word " * 60], 8))) <= 92
