# SPDX-License-Identifier: GPL-3.0-or-later
"""What every store must do, over a real bucket."""
import os
import subprocess

import pytest

from conftest import need
from pbs3fs_test.paths import BUILD

SUITE = os.path.join(BUILD, "tests/unit/store/store_suite")


@pytest.mark.timeout(120)
def test_the_suite_of_stores_over_a_bucket(gateway):
    need(os.access(SUITE, os.X_OK), SUITE)
    access, secret = gateway.keys
    gateway.load("suite", [])
    env = dict(os.environ, AWS_ACCESS_KEY_ID=access,
               AWS_SECRET_ACCESS_KEY=secret)
    p = subprocess.run([SUITE, "s3", gateway.endpoint, "suite", "store"],
                       env=env, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True, check=False)
    assert p.returncode == 0, p.stdout
