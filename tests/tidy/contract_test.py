"""The contract under buf's rules."""

import os
import pathlib
import subprocess

import pytest

SOURCE = pathlib.Path(os.environ.get("SONDE_SOURCE_DIR", pathlib.Path(__file__).parents[2]))
BUILD = pathlib.Path(os.environ.get("SONDE_BUILD_DIR", SOURCE / "build/dev"))
NOT_TO_BE_HAD = 77


def test_the_contract_passes_buf_lint():
    done = subprocess.run([SOURCE / "tools/buf_lint", BUILD], capture_output=True, text=True)
    if done.returncode == NOT_TO_BE_HAD:
        pytest.skip("no network")
    assert done.returncode == 0, done.stdout + done.stderr
