"""The tab while a real `fit` runs in another process, which unfreezes at its second epoch without a recompile, then recompiles."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.browser.conftest import Open
from tests.browser.tab import expect
from tests.tb.processes import run_tensorboard

TRAINING = """
import os, sys, time
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
import numpy as np, keras, introspect
backbone = keras.Sequential([keras.layers.Dense(8, name="low"), keras.layers.Dense(8, name="high")], name="backbone")
backbone.trainable = False
model = keras.Sequential([keras.Input((4,)), backbone, keras.layers.Dense(1, name="head")], name="probe")
model.compile("adam", "mse")
x, y = np.ones((64, 4), "float32"), np.ones((64, 1), "float32")

class Unfreeze(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            sys.stdin.readline()
            backbone.trainable = True

callback = introspect.IntrospectCallback(log_dir=sys.argv[1], on_mismatch="log")
model.fit(x, y, batch_size=32, epochs=4, verbose=0, callbacks=[Unfreeze(), callback])
sys.stdin.readline()
model.compile("adam", "mse")
model.fit(x, y, batch_size=32, epochs=1, verbose=0, callbacks=[callback])
"""


@pytest.mark.tf
def test_the_tab_follows_a_real_training(open_tab: Open, tmp_path: Path) -> None:
    logs, work = tmp_path / "logs", tmp_path / "work"
    logs.mkdir()
    work.mkdir()
    command = [sys.executable, "-c", TRAINING, str(logs)]
    with run_tensorboard(logs, work) as server, (tmp_path / "training.log").open("w") as log:
        training = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, stdout=log, stderr=log)
        try:
            assert training.stdin is not None
            tab = open_tab(server)
            expect(tab.find(".empty h2")).to_have_text("No report yet")
            verdict = tab.find(".verdict h2")
            expect(verdict).to_contain_text("2 of 6 variables train, 4 do not.")
            tab.find(".row", has_text="backbone").first.click()

            training.stdin.write("unfreeze\n")
            training.stdin.flush()
            expect(verdict).to_contain_text("4 of 6 variables that you set trainable do not train")
            expect(tab.find(".fix")).to_contain_text("introspect.recompile(model")
            expect(tab.find(".detail")).to_contain_text("INT103")
            expect(tab.find(".drawing .node.goal").first).to_be_visible()

            training.stdin.write("recompile\n")
            training.stdin.flush()
            expect(verdict).to_contain_text("What trains is what you meant: 6 of 6 variables train.")
            assert training.wait(180) == 0, (tmp_path / "training.log").read_text()
            tab.finish()
        finally:
            training.kill()
            training.wait()
