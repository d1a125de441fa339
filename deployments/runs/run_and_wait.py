"""Start a flow of a use case on the work pool, wait for its end, and report the outcome.

    python -m deployments.runs.run_and_wait --use-case flights \\
        --parameter reason="pull request 12" --report contest.md

It uses only the Prefect API (LAUREL_PREFECT_URL, LAUREL_PREFECT_AUTH). Exit code 0: the run
completed; 1: it did not, and the report says why."""

import argparse
import logging
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx
from prefect.client.orchestration import SyncPrefectClient

from blocks.settings import Settings
from blocks.slack import SlackNotifier
from deployments.local.settings import read_stack_settings
from deployments.runs.remote_run import Patience, RemoteRuns, RunProblem
from deployments.runs.run_report import Report, as_lines, read_report


def run_and_wait(settings: Settings, options: argparse.Namespace, patience: Patience) -> Report:
    """Start a run, wait for it and report; the report has any problem."""
    links = dict(options.link)
    api = f"The Prefect API at {settings.prefect_api_url}"
    problem = ""
    auth = settings.prefect_auth.get_secret_value() if settings.prefect_auth else None
    try:
        with SyncPrefectClient(settings.prefect_api_url, auth_string=auth) as prefect:
            runs = RemoteRuns(
                prefect, settings.prefect_api_url.removesuffix("/").removesuffix("/api"), say
            )
            run = runs.start(options.flow, options.use_case, dict(options.parameter), options.image)
            links = {"flow run": runs.page(run), **links}
            run = runs.wait(run, patience)
            return read_report(prefect, options.flow, options.use_case, run, runs.parts(run), links)
    except RunProblem as error:
        problem = str(error)
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        hint = (
            " Set LAUREL_PREFECT_AUTH to the server's user:password."
            if status in (401, 403)
            else ""
        )
        problem = f"{api} answered {status}.{hint}"
    except httpx.HTTPError as error:
        problem = (
            f"{api} does not answer ({type(error).__name__}). Is LAUREL_PREFECT_URL right, "
            "and reachable from here?"
        )
    return Report(
        options.use_case, options.flow, f"{options.flow} did not finish", problem, links=links
    )


def say(line: str) -> None:
    print(line, flush=True)


def pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def parser() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(
        prog="python -m deployments.runs.run_and_wait", description=(__doc__ or "").splitlines()[0]
    )
    arguments.add_argument("--use-case", required=True, help="name of its file in usecases/")
    arguments.add_argument(
        "--flow",
        default="retrain",
        help="a flow with a deployment for each use case (default: retrain)",
    )
    arguments.add_argument(
        "--parameter",
        type=pair,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter of the flow",
    )
    arguments.add_argument(
        "--image",
        help=("container image of the run, if the pool runs containers; default: the deployment's"),
    )
    patience = "limit for the whole run (default: as long as Prefect hears from it)"
    arguments.add_argument("--timeout-minutes", type=float, default=math.inf, help=patience)
    arguments.add_argument(
        "--worker-minutes",
        type=float,
        default=5,
        help="how long to wait for a worker if none is online (default: 5)",
    )
    arguments.add_argument(
        "--poll-seconds", type=float, default=5, help="pause between two polls (default: 5)"
    )
    arguments.add_argument(
        "--report", type=Path, metavar="FILE", help="write the outcome to this file, as Markdown"
    )
    arguments.add_argument(
        "--print-report",
        action="store_true",
        help="print the report, encoded, for deployments.aws.ecs_command to write to a file",
    )
    arguments.add_argument(
        "--link",
        type=pair,
        action="append",
        default=[],
        metavar="LABEL=URL",
        help="a link that the report shows",
    )
    arguments.add_argument(
        "--tell-slack",
        action="store_true",
        help="send the outcome to Slack (LAUREL_SLACK_TOKEN, LAUREL_SLACK_CHANNEL)",
    )
    return arguments


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    options, settings = parser().parse_args(arguments), read_stack_settings()
    patience = Patience(
        options.timeout_minutes * 60, options.worker_minutes * 60, poll_seconds=options.poll_seconds
    )
    report = run_and_wait(settings, options, patience)
    if options.report:
        options.report.write_text(report.markdown)
    for line in as_lines(report.markdown) if options.print_report else []:
        say(line)
    if options.tell_slack:
        SlackNotifier.of(settings).send(report.message)
    print(report.problem or report.outcome, file=sys.stderr if report.problem else sys.stdout)
    return 1 if report.problem else 0


if __name__ == "__main__":
    sys.exit(main())
