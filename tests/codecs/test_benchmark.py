from __future__ import annotations

from benchmarks.codecs import cases, made_up


def test_all_that_the_benchmark_runs_is_right() -> None:
    for case in cases(made_up()):
        assert case.is_right(case.run()), f"{case.codec} of {case.input}"
