"""A program in a shadow's place; its task's ``use_case`` says what ails it.

python -m tests.fakes.sick_shadow <task>

``healthy`` counts copies, ``crashes`` at its first copy, ``hangs`` without a report, ``leaks`` from
its second report on, ``babbles`` what is no report, ``slow`` takes no copy and lives."""

import select
import socket
import sys
import time

import msgspec

from serving.rollouts.copies import Report, read_task, unpack


def main() -> None:
    task = read_task(sys.argv[1])
    report, source = Report(memory_bytes=10**6), socket.socket(fileno=task.socket)
    if task.use_case == "babbles":
        print("hello", flush=True)
    while True:
        if task.use_case not in ("hangs", "babbles"):
            print(msgspec.json.encode(report).decode(), flush=True)
        if task.use_case == "leaks":
            report.memory_bytes += 10**9
        wanted = [sys.stdin] if task.use_case == "slow" else [sys.stdin, source]
        readable, _, _ = select.select(wanted, [], [], 0.05)
        if sys.stdin in readable:
            return
        if source in readable:
            report.requests += len(unpack(source.recv(2**20)))
            if task.use_case == "crashes":
                sys.exit(7)
        if task.use_case in ("hangs", "babbles"):
            time.sleep(600)


main()
