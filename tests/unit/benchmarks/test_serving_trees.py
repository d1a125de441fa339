from benchmarks.serving.trees import CASES, ENGINES, MLFLOW, NUMPY, ONNX, table


def test_ratios_are_those_of_rounds_and_mlflow_is_asked_at_one_connection_only() -> None:
    """The machine was twice as slow in one round: all engines were."""
    of = {NUMPY: [10.0, 20.0, 10.0], ONNX: [20.0, 40.0, 20.0], MLFLOW: [200.0, 400.0, 800.0]}
    micros = {
        engine: {case: of[engine] for case in CASES if engine != MLFLOW or case[1] == 1}
        for engine in ENGINES
    }
    lines = table(micros).splitlines()
    assert lines[2] == "| numpy |" + " 10 (2× as fast) |" * 4
    assert lines[3] == "| ONNX Runtime |" + " 20 |" * 4
    assert lines[4].split(" | ")[1:3] == ["400 (0.1× as fast)", "–"]
