"""Write the command ``laurel`` beside the interpreter that runs this: it finds the repository from
any folder."""

import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
SCRIPT = """#!{interpreter}
import sys
sys.path.insert(0, {repository!r})
from laurel.main import main
sys.exit(main())
"""


def main() -> None:
    script = Path(sys.executable).with_name("laurel")
    script.write_text(
        SCRIPT.format(interpreter=sys.executable, repository=str(REPOSITORY)), encoding="utf-8"
    )
    script.chmod(0o755)


if __name__ == "__main__":
    main()
