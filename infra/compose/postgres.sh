#!/bin/sh
# Run once by the PostgreSQL image, when its volume is empty: a database of its own for each program, owned by a role that can do nothing else.
set -eu
psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<SQL
CREATE ROLE prefect LOGIN PASSWORD '$PREFECT_DATABASE_PASSWORD';
CREATE ROLE mlflow LOGIN PASSWORD '$MLFLOW_DATABASE_PASSWORD';
CREATE DATABASE prefect OWNER prefect;
CREATE DATABASE mlflow OWNER mlflow;
CREATE DATABASE mlflow_users OWNER mlflow;
REVOKE CONNECT ON DATABASE prefect, mlflow, mlflow_users FROM PUBLIC;
\connect prefect
CREATE EXTENSION IF NOT EXISTS pg_trgm;
SQL
