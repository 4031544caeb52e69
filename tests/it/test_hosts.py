# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may write into a bucket: one mount of one host at a time."""
import json
import os
import threading

import pytest

from pbs3fs_test import writing
from pbs3fs_test.mount import run, wait_for
from pbs3fs_test.paths import SLOW

GROUP = "host/web1"
THEIRS = b'{"hostname":"elsewhere"}'


@pytest.fixture
def site(new_bucket, tmp):
    b = new_bucket({}, "none")
    store = f"s3://{b.name}/store"
    run("create", "-q", store, "-o", ",".join(b.options()))
    s = writing.Site(store, tmp, b.options())
    s.bucket, s.client = b.name, b.gateway.client()
    dog = threading.Timer(110 * SLOW, s.abort)
    dog.daemon = True
    dog.start()
    yield s
    dog.cancel()
    s.stop(check=False)


def marker(site):
    return json.loads(site.client.get_object(
        Bucket=site.bucket, Key="store/.in-use")["Body"].read())["hostname"]


def mark(site, body=THEIRS):
    site.client.put_object(Bucket=site.bucket, Key="store/.in-use", Body=body)


def refused(site, tmp, *opts):
    """A writable mount that must fail: what it says."""
    os.makedirs(tmp + "/no", exist_ok=True)
    p = run("mount", "-f", site.store, tmp + "/no", "-o",
            ",".join(["rw", *opts, *site.options]), check=False)
    assert p.returncode == 1
    assert not os.path.ismount(tmp + "/no")
    return p.stderr


def put(top, text):
    os.makedirs(top + "/data", exist_ok=True)
    with open(top + "/data/file", "w") as f:
        f.write(text)


def get(top):
    with open(top + "/data/file") as f:
        return f.read()


def test_two_on_one_host(site, tmp):
    """Whatever their state directories are."""
    m = site.mount()
    put(writing.begin(m), "one")
    said = refused(site, tmp, f"state={site.local}/state",
                   f"cache={tmp}/c2")
    assert "-o ro" in said
    assert "-o ro" in refused(site, tmp, f"state={tmp}/s2", f"cache={tmp}/c2")
    path = writing.publish(m)
    assert get(m / path) == "one"
    m.stop()
    # And then the next one may.
    m = site.mount()
    assert get(writing.begin(m)) == "one"
    m.stop()


def test_another_host(site, tmp):
    ours = marker(site)
    assert ours == os.uname().nodename.split(".")[0] or \
        ours == os.uname().nodename
    mark(site)
    said = refused(site, tmp, f"state={tmp}/s2", f"cache={tmp}/c2")
    assert "elsewhere" in said and "takeover" in said and "-o ro" in said
    assert marker(site) == "elsewhere"
    m = site.mount(mode="ro")
    assert os.listdir(m.path) == [".pbs3fs"]
    m.stop()
    m = site.mount("takeover")
    assert marker(site) == ours
    put(writing.begin(m), "one")
    writing.publish(m)
    m.stop()
    # It is ours now.
    m = site.mount()
    m.stop()


def test_taken_over_meanwhile(site):
    """Who was taken from finds out before a snapshot of his appears."""
    ours = marker(site)
    m = site.mount()
    top = writing.begin(m)
    put(top, "one")
    mark(site)
    with pytest.raises(OSError):
        writing.publish(m)
    assert "elsewhere" in m.log()
    assert sorted(os.listdir(m / GROUP)) == ["current", "owner"]
    assert get(top) == "one"
    m.stop()
    m = site.mount("takeover")
    assert marker(site) == ours
    assert get(writing.begin(m)) == "one"
    path = writing.publish(m)
    assert get(m / path) == "one"
    m.stop()


def test_reader_beside(site, mounts, tmp):
    """A reader shows what was published when it looks again, by itself too."""
    m = site.mount()
    top = writing.begin(m)
    put(top, "one")
    first = writing.publish(m)
    asked = mounts(site.store, *site.options, f"cache={tmp}/r1", name="asked")
    alone = mounts(site.store, *site.options, f"cache={tmp}/r2", "refresh=1s",
                   name="alone")
    assert get(asked / first) == get(alone / first) == "one"
    assert sorted(os.listdir(asked / GROUP)) == sorted(
        [os.path.basename(first), "latest", "owner"])
    put(top, "two")
    second = writing.publish(m)
    assert not os.path.exists(asked / second)
    run("refresh", asked.path)
    assert get(asked / second) == "two" and get(asked / first) == "one"
    assert os.readlink(asked / GROUP + "/latest") == os.path.basename(second)
    wait_for(lambda: os.path.exists(alone / second), 20, "a second look")
    assert get(alone / second) == "two"
    # One that is forgotten goes.
    os.rmdir(m / first)
    run("refresh", asked.path)
    assert not os.path.exists(asked / first)
    m.stop()
