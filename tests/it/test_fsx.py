# SPDX-License-Identifier: GPL-3.0-or-later
"""
Random operations through the kernel, on files of every kind at once, with
snapshots, kills and new mounts in between, and so little room that most of it
has to go into the store meanwhile.  FSX_OPS: for each file in each round;
50000 make a million, as the test of drafts without a kernel does.
"""
import os
import subprocess

import pytest

from pbs3fs_test import writing
from pbs3fs_test.paths import BUILD, SLOW

FSX = os.path.join(BUILD, "tests/it/fsx")
OPS = int(os.environ.get("FSX_OPS", "8000"))
# Where, and how large it may become.
FILES = {"data/one": 9 << 20, "data/two": 300_000, "disk.img": 17 << 20,
         "stream": 6 << 20}


def rounds(site, tmp, ops):
    """ops for each file in each of 5 rounds."""
    shadows = {name: os.path.join(tmp, name.replace("/", "-"))
               for name in FILES}
    m = site.mount("staging-size=24M", "memory=32M")
    top = writing.begin(m)
    os.mkdir(top + "/data")
    last = None
    for r in range(5):
        procs = [subprocess.Popen(
            [FSX, os.path.join(top, name), shadows[name], str(size),
             str(ops), str(100 * r + i)], stderr=subprocess.PIPE, text=True)
            for i, (name, size) in enumerate(FILES.items())]
        for p in procs:
            _, said = p.communicate()
            assert p.returncode == 0, said + m.log()
        if r % 2 == 0:
            for name in FILES:
                # No snapshot holds an empty stream.
                if "/" not in name and \
                        os.path.getsize(os.path.join(top, name)) == 0:
                    with open(os.path.join(top, name), "w") as f:
                        f.write("x")
                    with open(shadows[name], "w") as f:
                        f.write("x")
            last = writing.publish(m)
            for name in FILES:
                subprocess.run(["cmp", shadows[name],
                                os.path.join(m / last, name)], check=True)
        if r == 1:
            m.kill()
        elif r != 4:
            m.stop()
        if r != 4:
            m = site.mount("staging-size=24M", "memory=32M")
            top = writing.begin(m)
            for name in FILES:
                subprocess.run(["cmp", shadows[name],
                                os.path.join(top, name)], check=True)
    m.stop()
    site.forget_host()
    there = site.mount(mode="ro")
    for name in FILES:
        subprocess.run(["cmp", shadows[name],
                        os.path.join(there / last, name)], check=True)
    there.stop()


@pytest.mark.timeout(600)
def test_directory(tmp):
    site = writing.Site(writing.bare(os.path.join(tmp, "store")), tmp)
    try:
        rounds(site, tmp, OPS)
    finally:
        site.stop(check=False)


@pytest.mark.sanitize
@pytest.mark.thread
@pytest.mark.timeout(300)
def test_bucket(tmp, new_bucket):
    b = new_bucket({}, "none")
    store = f"s3://{b.name}/store"
    writing.run("create", "-q", store, "-o", ",".join(b.options()))
    site = writing.Site(store, tmp, b.options())
    try:
        rounds(site, tmp, int(2000 / SLOW))
    finally:
        site.stop(check=False)
