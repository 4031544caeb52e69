# SPDX-License-Identifier: GPL-3.0-or-later
"""A mount that collects garbage in its own time."""
import glob
import json
import os
import subprocess

import pytest

from pbs3fs_test import writing
from pbs3fs_test.mount import run, wait_for
from pbs3fs_test.paths import PBS3FS


@pytest.fixture
def site(tmp):
    store = os.path.join(tmp, "store")
    s = writing.Site(writing.bare(store), tmp)
    yield s
    s.stop(check=False)


def gc_of(m):
    return m.status()["writing"]["gc"]


def state(site):
    return f"state={site.local}/state"


def test_runs_and_tells(site):
    with site.mount("gc-schedule=1s", "cutoff=0") as m:
        with open(writing.begin(m) + "/a", "wb") as f:
            f.write(os.urandom(300_000))
        gone = writing.publish(m)
        with open(m / "host/web1/current/b", "wb") as f:
            f.write(os.urandom(300_000))
        writing.publish(m)
        os.rmdir(m / gone)
        wait_for(lambda: gc_of(m)["runs"] >= 2, 60, "two collections")
        gc = gc_of(m)
        assert gc["schedule"] == "1s" and gc["failed"] == 0
        assert gc["last"]["status"] == 0
        assert gc["last"]["result"]["indices"] >= 1
        assert gc["last"]["finished"] >= gc["last"]["started"]
        with open(m / ".pbs3fs/metrics") as f:
            text = f.read()
        assert "pbs3fs_gc_last_status{" in text
        # Both files are still whole.
        assert os.path.getsize(m / "host/web1/current/a") == 300_000
    kept = glob.glob(site.local + "/state/*/gc.json")
    assert len(kept) == 1
    with open(kept[0]) as f:
        assert json.load(f)["status"] == 0


def test_missed_ones_are_made_up_for(site):
    with site.mount("gc-schedule=1s") as m:
        wait_for(lambda: gc_of(m)["runs"] >= 1, 60, "a collection")
    path = glob.glob(site.local + "/state/*/gc.json")[0]
    with open(path) as f:
        last = json.load(f)
    last["started"] -= 7 * 86400
    with open(path, "w") as f:
        json.dump(last, f)
    with site.mount("gc-schedule=daily") as m:
        wait_for(lambda: gc_of(m)["runs"] == 1, 60, "the missed one")
        assert gc_of(m)["next"] > "2026"


def test_no_option_is_an_argument(site):
    """And it ends with the mount."""
    with site.mount("gc-schedule=1s",
                    "proxy=http://user:geheim@127.0.0.1:1") as m:
        def child():
            with open(f"/proc/{m.pid}/task/{m.pid}/children") as f:
                now = f.read().split()
            for tid in os.listdir(f"/proc/{m.pid}/task"):
                with open(f"/proc/{m.pid}/task/{tid}/children") as f:
                    now += f.read().split()
            return now
        seen = set()

        def look():
            for pid in child():
                try:
                    with open(f"/proc/{pid}/cmdline") as f:
                        seen.add(f.read())
                except OSError:
                    pass
            return any("gc" in s.split("\0") for s in seen)
        wait_for(look, 60, "a collection")
        assert not any("geheim" in s for s in seen)
        pids = child()
    for pid in pids:
        assert not os.path.exists(f"/proc/{pid}/exe")


def test_a_bad_schedule_is_refused(site):
    where = os.path.join(site.dir, "mnt")
    os.mkdir(where)
    p = subprocess.run([PBS3FS, "mount", site.store, where, "-o",
                        f"gc-schedule=sometimes,{state(site)}"],
                       stderr=subprocess.PIPE, text=True, timeout=60)
    assert p.returncode == 2
    assert "gc-schedule" in p.stderr and "hint: " in p.stderr
    assert run("ls", site.store, "-q").returncode == 0
