"""The server that a good engineer writes in an evening: FastAPI, pydantic, pandas and the pipeline
from joblib.

    PIPELINE=pipeline.joblib uvicorn benchmarks.serving.peers.plain_fastapi:app

It imports nothing of Laurel.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import joblib
import pandas as pd
from fastapi import FastAPI, Request
from pydantic import BaseModel, Field

Minute = Annotated[float, Field(ge=0, lt=1440)]
Share = Annotated[float, Field(ge=0, le=1)]


class Flight(BaseModel):
    carrier: str
    origin: str
    destination: str
    day_of_week: str
    departure_minute: Minute
    arrival_minute: Minute
    distance_miles: float = Field(ge=10, le=6000)
    block_minutes: float | None = Field(None, ge=20, le=1200)
    padding_minutes: float | None = Field(None, ge=-180, le=360)
    scheduled_departures_1h: float = Field(ge=1, le=200)
    plane_seats: float | None = Field(None, ge=1, le=900)
    plane_age_years: float | None = Field(None, ge=0, le=90)
    temperature_f: float | None = Field(None, ge=-40, le=130)
    dew_point_f: float | None = Field(None, ge=-60, le=100)
    humidity_percent: float | None = Field(None, ge=0, le=100)
    wind_direction_degrees: float | None = Field(None, ge=0, le=360)
    wind_speed_mph: float | None = Field(None, ge=0, le=100)
    rain_1h_inches: float | None = Field(None, ge=0, le=5)
    rain_3h_inches: float | None = Field(None, ge=0, le=12)
    pressure_hpa: float | None = Field(None, ge=870, le=1085)
    visibility_miles: float | None = Field(None, ge=0, le=10)
    origin_departures_2h: float = Field(ge=0, le=400)
    origin_mean_delay_2h: float | None = Field(None, ge=-120, le=3000)
    origin_late_share_2h: Share | None = None
    origin_overdue_departures: float = Field(ge=0, le=400)
    carrier_mean_delay_24h: float | None = Field(None, ge=-120, le=3000)
    network_mean_delay_3h: float | None = Field(None, ge=-120, le=3000)
    destination_mean_delay_4h: float | None = Field(None, ge=-180, le=3000)
    destination_mean_delay_24h: float | None = Field(None, ge=-180, le=3000)
    destination_late_share_7d: Share | None = None


class Flights(BaseModel):
    rows: list[Flight] = Field(min_length=1)


class Scores(BaseModel):
    scores: list[float]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.pipeline = joblib.load(os.environ["PIPELINE"])
    yield


app = FastAPI(lifespan=lifespan)


@app.post("/predict")
def predict(flights: Flights, request: Request) -> Scores:
    frame = pd.DataFrame([flight.model_dump() for flight in flights.rows])
    return Scores(scores=request.app.state.pipeline.predict_proba(frame)[:, 1].tolist())
