"""The model service: it answers with the champion, follows the crown, and keeps a log of what it
said.

Rooms, from the lowest to the highest; each may import those above it in this list, and no other:

    errors        what can go wrong
    package       the model package: manifest, model (it encodes rows and scores them),
                  symmetric_trees (many rows at once), row_columns (rows that lie by column),
                  outputs (what it says of a row), kinds, values, times; encoders (encoder, dates,
                  images, pictures, texts, token_patterns)
    words         what the codes of reasons and of needs say in each language: contest, drift,
                  ledger, outcomes, rollouts, needs; wording and template render them
    records       what flows write and the service reads: contest, performance, drift, ledger,
                  rollout, chain, heads, traffic; reasons (a sentence with its code), record
    metrics       counters and variants (of a rollout) for Prometheus, traffic for the page
    outside       registry (MLflow), model_folder in its stead, prefect_api, slack, lake
    formats       rows in: bodies by media type; rows, columns, csv_rows, tensors, arrow (rows,
                  and many of them as arrays by their buffers), mlflow, form_data; encodings,
                  event_window, feedback; outputs in every form
    log           prediction_log, segments, folders, policy
    upload        uploader, carrier, parquet, row_tables, column_tables, sieve, line_halves
    rollouts      terms (a rollout's step), routing (whom it sends to the challenger), guards;
                  shadow (feeds and keeps a process that scores copies), copies
    champions     use_cases, package_cache, champion, trouble; canary, reverts
    scoring       scorer, large_requests, predictions, pixels, column_lines, remarks,
                  answers
    keys          scopes, admission; keyring, file, command; peers, proxies
    edge          middleware, requests, answers, framing, refusals, access_log, log_output,
                  security_headers, openapi, language
    history       checks, window_order, drift, ledger, decisions, reigns, comparisons, series,
                  traffic, rollouts, fleet, approvals
    shadow        the process of a shadow: __main__, pairs
    service       service, served_use_cases, workers, siblings, variants, description
    callbacks     signatures; webhook (MLflow), slack_actions, slack_press, slack_replies
    routes        predict, mlflow_protocol, inference_protocol, inference_openapi, explain,
                  history, decisions, fleet, lake_reader, operate, rollout; pages (page,
                  routes_page)
    server        app, protocol (the hot path), predict_call, server, accepting, supervisor

Beside them stand what Docker and SageMaker start by name: __main__, health, sagemaker.
``docs/loop.md`` follows a prediction through them."""

VERSION = "0.1.0"
