"""The service with a stopwatch at each stage of a prediction: what ``serving_profile.py`` starts in
place of ``python -m serving``.

    python -m benchmarks.serving.stages FILE      LAUREL_* as for the service; FILE is written when
                                                  it ends

Time is the thread's own CPU time: what others do on the machine, or with the interpreter, does not
count. A stage's is its own: without the stages that it calls, and without the stopwatch, whose cost
(0.6 µs a call) is measured first and taken off."""

import json
import sys
import threading
import time
from array import array
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

READ, KEY, DECODE = "HTTP: parse, headers, request id", "key", "decode and check JSON"
BATCH, ENCODE, MODEL = "gather, ids, decisions", "encode the matrix", "ONNX Runtime"
ANSWER, LOG, COUNT, WRITE = "answer as JSON", "prediction log", "metrics, access log", "HTTP: write"
STAGES = {
    "serving.server.protocol:PredictProtocol.data_received": READ,
    "serving.keys.admission:Admission.admit": KEY,
    "serving.scoring.scorer:read_json": DECODE,
    "serving.scoring.scorer:Scorer._flush": BATCH,
    "serving.package.model:Package.encode_rows": ENCODE,
    "serving.package.model:Package.score": MODEL,
    "serving.scoring.scorer:answer_json": ANSWER,
    "serving.scoring.scorer:Scorer._keep": LOG,
    "serving.service.service:Service.account": COUNT,
    "serving.server.protocol:PredictProtocol.respond": WRITE,
}
WARM_UP_SHARE = 0.2


class Stopwatch:
    """Own seconds of each call of each stage, on this thread only.

    What it costs itself: ``inner`` is part of a call's own time, ``outer`` of its caller's.
    """

    def __init__(self, clock: Callable[[], float] = time.thread_time) -> None:
        self._clock = clock
        self.seconds: dict[str, array[float]] = {}
        self.inner = self.outer = 0.0
        self._below: list[float] = []
        self._thread = threading.get_ident()

    def calibrate(self, calls: int = 100_000) -> None:
        """Measure the stopwatch on a function that does nothing."""
        nothing: Callable[[], None] = lambda: None  # noqa: E731
        timed = self.timed(nothing, "nothing")
        start = self._clock()
        for _ in range(calls):
            nothing()
        middle = self._clock()
        for _ in range(calls):
            timed()
        end = self._clock()
        overhead = self.seconds.pop("nothing")
        bare = (middle - start) / calls
        self.inner = max(0.0, _mean(overhead) - bare)
        self.outer = max(0.0, (end - middle) / calls - bare - self.inner)

    def watch(self, where: str, stage: str) -> None:
        """Put the stopwatch around ``module:Class.function`` or ``module:function``. Raises
        ``AttributeError`` where there is none.
        """
        module, _, path = where.partition(":")
        owner: Any = import_module(module)
        *classes, name = path.split(".")
        for class_ in classes:
            owner = getattr(owner, class_)
        setattr(owner, name, self.timed(getattr(owner, name), stage))

    def timed(self, original: Callable[..., Any], stage: str) -> Callable[..., Any]:
        kept, below, clock = self.seconds.setdefault(stage, array("d")), self._below, self._clock
        ident, thread = threading.get_ident, self._thread

        def timed(*args: Any, **kwargs: Any) -> Any:
            if ident() != thread:
                return original(*args, **kwargs)
            below.append(0.0)
            start = clock()
            try:
                return original(*args, **kwargs)
            finally:
                spent = clock() - start
                kept.append(spent - below.pop() - self.inner)
                if below:
                    below[-1] += spent + self.outer

        return timed


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def microseconds(seconds: dict[str, "array[float]"]) -> dict[str, float]:
    """Of each stage for each request: a stage that is called once for several requests is shared by
    them. Warm-up is left out.
    """
    requests = len(seconds[COUNT])
    return {
        stage: 1e6 * _mean(spent[int(WARM_UP_SHARE * len(spent)) :]) * len(spent) / requests
        for stage, spent in seconds.items()
    }


def main(file: Path) -> int:
    """The service's own exit code."""
    from serving.__main__ import main as serve

    watch = Stopwatch()
    watch.calibrate()
    for where, stage in STAGES.items():
        watch.watch(where, stage)
    code = serve([])
    requests = len(watch.seconds[COUNT])
    batches = len(watch.seconds[MODEL])
    calls = sum(len(spent) for spent in watch.seconds.values())
    document = {
        "requests_a_batch": requests / batches,
        "microseconds": microseconds(watch.seconds),
        "stopwatch_microseconds": 1e6 * calls * (watch.inner + watch.outer) / requests,
    }
    file.write_text(json.dumps(document))
    return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
