"""How fast the service is, beside its peers and beside the floor, on the real flights champion.

    python -m benchmarks.serving                          every server and case, and a swap under
                                                          load: about 20 minutes
    python -m benchmarks.serving --quick                  four servers, four cases: less than two
                                                          minutes
    python -m benchmarks.serving --only laurel,mlflow,floor-asgi --json FILE
    python -m benchmarks.serving --use-case diabetes      a number instead of a yes or no, without
                                                          the peers that are written for flights;
                                                          digits: an image, and ten classes
    python -m benchmarks.serving targets                  a yes or no, a number and classes by
                                                          equally many trees: ratios, one minute
    python -m benchmarks.serving trees                    CatBoost's symmetric trees in numpy, by
                                                          ONNX Runtime alone and by mlflow
    python -m benchmarks.serving profile                  where the microseconds of one request go
                                                          (--picture FILE: drawn)
    python -m benchmarks.serving rows                     where those of 1,000 rows go, in JSON and
                                                          in Arrow
    python -m benchmarks.serving mixed                    small requests alone and beside large
                                                          ones: ratios, and the service's memory

Medians of three rounds; in each round every server is started, checked against the pipeline, loaded
and ended, in turn, so that noise hits all alike. The servers and how each is run:
``serving_servers.py``. A wrong answer, a refusal or a broken connection makes the run fail. The
load generator shares the machine's cores with the server that it measures."""

import argparse
import signal
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "what",
        nargs="?",
        choices=("profile", "rows", "mixed", "targets", "trees"),
        help="see above",
    )
    parser.add_argument("--use-case", choices=("flights", "diabetes", "digits"), default="flights")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument(
        "--only", type=lambda names: names.split(","), help="servers, separated by commas"
    )
    parser.add_argument("--quick", action="store_true", help="fewer servers and cases, shorter")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--seconds", type=float, help="of load for each case (default: 5, quick: 1)"
    )
    parser.add_argument(
        "--generator", choices=("wrk", "python"), help="default: wrk where it is installed"
    )
    parser.add_argument(
        "--swap",
        action=argparse.BooleanOptionalAction,
        help="move the alias under load (default: in the full run)",
    )
    parser.add_argument("--picture", type=Path, help="of the profile, as .svg or .png")
    # A run that is told to end ends its servers too: they are in sessions of their own.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    from benchmarks.serving.run import run

    sys.exit(run(parser.parse_args()))


if __name__ == "__main__":
    if __package__ is None or __package__ == "":
        # Run by its path: `benchmarks` comes first on the path of modules, and this file would be
        # taken for the service.
        sys.path[0] = str(REPOSITORY)
    main()
