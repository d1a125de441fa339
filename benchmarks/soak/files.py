"""The files that a service leaves on a day: predictions, late labels, and its traffic by hour.

The service answers rows of each hour, and its own code makes a segment of them and the segment's
Parquet. A real day has more files than hours: an hour's file is written under as many names as it
takes. Ids come again, therefore; number and size of the files are real."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta
from pathlib import Path

import httpx
import msgspec
import polars as pl

from benchmarks.soak.orders import rows_of_day
from benchmarks.soak.plan import ROWS, USE_CASE, Day
from blocks.clients.registry import CHAMPION
from blocks.lake import Lake
from blocks.registry import ModelRegistry
from serving.log.segments import feedback_header, header_of, line_of
from serving.metrics.counters import LATENCY_BOUNDS
from serving.package.manifest import Manifest
from serving.records.record import encode
from serving.records.traffic import Hour, TrafficMonth
from serving.upload.parquet import convert
from tasks.packages.registered import read_manifest

HOURS = 24
STRANGERS = 0.4
_WRITERS = 4
_REQUESTS_AN_HOUR = 720


class Writer:
    """Writes day after day. ``scratch`` is a folder for segments."""

    def __init__(
        self, lake: Lake, registry: ModelRegistry, service: httpx.Client, scratch: Path
    ) -> None:
        self._lake, self._registry, self._service = lake, registry, service
        self._scratch = scratch
        self._manifests: dict[str, Manifest] = {}
        self._labels: list[list[dict[str, object]]] = []
        self._traffic: dict[str, dict[str, Hour]] = {}

    def write(self, day: Day) -> None:
        labels, self._labels = self._labels, []
        contents = [self._hour(day, rows) for rows in self._rows(day)]
        folder = f"predictions/{USE_CASE}/date={day.date}"
        self._put(
            {
                f"{folder}/{day.date:%Y%m%d}T000000-ab12cd34-{number:06d}.parquet": contents[
                    number * HOURS // day.files
                ]
                for number in range(day.files)
            }
        )
        self._put(dict(self._feedback(day, hour, each) for hour, each in enumerate(labels)))
        self.note_traffic(day.date)

    def note_traffic(self, day: date) -> None:
        """Write the month's file of the service's one process, which grows by the day."""
        self._put(self._traffic_of(day))

    def _put(self, objects: dict[str, bytes]) -> None:
        with ThreadPoolExecutor(_WRITERS) as writers:
            list(writers.map(self._lake.write, objects, objects.values()))

    def _rows(self, day: Day) -> list[pl.DataFrame]:
        midnight = datetime.combine(day.date, datetime.min.time())
        strangers = STRANGERS if day.broken else 0.0
        rows = rows_of_day(midnight, HOURS * ROWS, day.shift, strangers)
        return list(rows.iter_slices(ROWS))

    def _hour(self, day: Day, rows: pl.DataFrame) -> bytes:
        asked = rows.drop("number", "returned").with_columns(pl.col("at").dt.to_string("iso"))
        body = msgspec.json.encode({"rows": asked.to_dicts()})
        answer = self._service.post(f"/v1/{USE_CASE}/predict?log=false", content=body)
        answer.raise_for_status()
        told = msgspec.json.decode(answer.content)
        self._labels.append(
            [
                {"id": one["id"], "label": int(label), "event_time": at}
                for one, label, at in zip(
                    told["predictions"], rows["returned"], asked["at"], strict=True
                )
            ]
        )
        header = header_of(self._manifest(told["model_version"]), told["model_version"])
        line = line_of(body, answer.content, len(rows))
        return self._converted(header, line, "predictions")[1]

    def _feedback(self, day: Day, hour: int, labels: list[dict[str, object]]) -> tuple[str, bytes]:
        body = msgspec.json.encode({"feedback": labels})
        line = line_of(body, b"", len(labels))
        name = f"{day.date:%Y%m%d}T{hour:02d}0000-ab12cd34-000001"
        return self._converted(feedback_header(USE_CASE), line, name)

    def _converted(self, header: bytes, line: bytes, name: str) -> tuple[str, bytes]:
        """The one file, by its key, that the service's uploader makes of a segment."""
        segment = self._scratch / f"{name}.jsonl"
        segment.write_bytes(header + b"\n" + line)
        ((key, data),) = convert(segment).files.items()
        segment.unlink()
        return key, bytes(data)

    def _manifest(self, version: str) -> Manifest:
        if version not in self._manifests:
            champion = self._registry.at(USE_CASE, CHAMPION)
            if champion is None or champion.number != version:
                raise RuntimeError(f"The service answers with version {version}, not {champion}.")
            self._manifests = {version: read_manifest(self._registry, champion)}
        return self._manifests[version]

    def _traffic_of(self, day: date) -> dict[str, bytes]:
        month = f"{day:%Y-%m}"
        hours = self._traffic.setdefault(month, {})
        latency = [0] * (len(LATENCY_BOUNDS) + 1)
        latency[2] = _REQUESTS_AN_HOUR
        midnight = datetime.combine(day, datetime.min.time())
        for hour in range(HOURS):
            name = f"{midnight + timedelta(hours=hour):%Y-%m-%dT%H}"
            rows = ROWS * _REQUESTS_AN_HOUR
            hours[name] = Hour(requests=_REQUESTS_AN_HOUR, rows=rows, latency=latency)
        content = TrafficMonth(bounds=list(LATENCY_BOUNDS), hours=hours)
        return {f"traffic/{USE_CASE}/{month}/{month}-ab12cd34.json": encode(content)}
