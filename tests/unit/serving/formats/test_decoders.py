import re

from blocks.settings import REPOSITORY

# Types that msgspec knows without asking Python for the fields of a class.
BUILT_IN = re.compile(
    r"(str|dict|_Parts|list\[dict\[str, Any\]\]|dict\[str, (Any|msgspec\.Raw)\])\)"
)


def test_no_struct_is_met_for_the_first_time_while_requests_are_answered() -> None:
    """Two threads that meet one together may end the process (docs/decisions/0012-hot-path.md):
    decoders are made at import.
    """
    types = [
        f"{path.name}: {type_}"
        for path in sorted((REPOSITORY / "serving").rglob("*.py"))
        for type_ in re.findall(r"json\.decode\(.*?type=(.*)", path.read_text())
        if not BUILT_IN.match(type_)
    ]
    assert types == []
