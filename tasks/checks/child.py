"""The process in which the checks run: findings go out as lines of JSON, each as it is known.

The code of a use case may hang, exit, crash or print: none of that reaches whoever asked."""

import json
import os
import sys
import traceback
from dataclasses import asdict
from typing import Any

BEGIN, FINDING, END = "begin", "finding", "end"
START = "start"  # the libraries are loaded


def main(use_case: str, rows: int) -> None:
    """Check ``use_case``; the answers go to what is the standard output now, and all that is
    printed meanwhile to the standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr

    def say(kind: str, content: Any) -> None:
        answers.write(f"{json.dumps([kind, content], ensure_ascii=False, default=str)}\n")
        answers.flush()

    code: int | str | None = 1
    try:
        say(BEGIN, START)
        from tasks.checks.course import run_checks

        for finding in run_checks(use_case, rows, begin=lambda check: say(BEGIN, check)):
            say(FINDING, asdict(finding))
        say(END, "")
        code = 0
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        sys.stderr.flush()
        # Threads that the code of a use case left behind are not waited for.
        os._exit(code if isinstance(code, int) else 1)
