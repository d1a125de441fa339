"""The model service: it answers with the champion, follows the crown, and keeps a log of what it said.

One prediction, from the first byte to the lake:

    protocol      takes it from uvicorn's parser          (any other request: app, boundary, and a route's own module)
                  (framing: where it ends; predict_call; refusals and encodings: how answers look)
    admission     asks whether the caller may             keys, keys_file, keys_command, peers, proxies, security_headers, access_log
    scoring       gathers, scores, logs, answers          large_requests; service holds all that lives as long as the process
    formats       rows in, answers out                    rows, columns, csv_rows, arrow_rows, arrow_messages; feedback, event_window
    predictions   from rows to the answer's JSON          remarks: what it says beside the scores
    package       the champion's model and schema
    prediction_log    keeps what was answered             log_policy, log_columns, segments, log_folders
    uploader      sees that the lake gets it              carrier, parquet, log_tables, column_tables, sieve, line_halves, lake

A champion, from the registry to the next prediction: use_cases, registry, package_cache, champion; webhook lets it look sooner, trouble and
slack tell what hinders it. model_folder stands in the registry's stead where the package comes as files.

Other protocols: mlflow_protocol, mlflow_rows, mlflow_pieces, local_times; inference_protocol, inference_openapi, tensors. For people: page,
routes_page, explain, history, history_routes, lake_records, ledger_records, openapi. For operators: description, metrics, traffic.
Processes: __main__, server, supervisor, workers, siblings, log_output. For people who decide: operator_routes and slack_actions
(slack_press, slack_replies), by way of approvals and prefect_api; callbacks has what signed calls have in common.
In containers: health, sagemaker. errors has the tree of what can go wrong.
"""

VERSION = "0.1.0"
