"""The test set along every process: what is drawn is what the comparison has."""

import numpy as np

from drawn import assert_drawn, lines, panels, rows_of
from rodflow.figures.rod_flow import held_out
from synthetic_results import make_run


def test_every_process_has_its_test_loss_and_accuracy(tmp_path) -> None:
    def tested(process, data):
        share = np.linspace(0.1, 0.9, data.sizes["snapshot"])
        return data.assign(test_loss=("snapshot", 1 / share), test_accuracy=("snapshot", share))

    settings = {"dataset": {"name": "digits", "samples": 500, "test": 9}}
    run = make_run(tmp_path, change=tested, settings=settings)
    drawing = held_out.draw([run])
    ((_, loss, accuracy),) = panels(drawing)
    for process in run.processes:
        for axes, name in ((loss, "test_loss"), (accuracy, "test_accuracy")):
            (line,) = lines(axes, process)
            assert assert_drawn(line, rows_of(drawing.table, process, name)) > 5
