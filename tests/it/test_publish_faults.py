# SPDX-License-Identifier: GPL-3.0-or-later
"""
The store misbehaves while a snapshot is published: the result is right, or
the error is clean; the repeat succeeds, and what had arrived is not sent again.
"""
import os
import re

import pytest

from conftest import write_credentials
from pbs3fs_test import pbsgen, writing
from pbs3fs_test.script import ACCESS, SECRET, Script

CHUNK = re.compile(r"store/\.chunks/[0-9a-f]{4}/[0-9a-f]{64}")
IMAGE = 24 << 20


@pytest.fixture
def server():
    with Script() as s:
        yield s


@pytest.fixture
def site(server, tmp):
    c = write_credentials(f"{tmp}/key", ACCESS, SECRET)
    options = [f"endpoint={server.endpoint}", "insecure-http", "path-style",
               "region=us-east-1", f"credentials={c}", "timeout=6",
               "retries=2"]
    writing.run("create", "-q", "s3://scripted/store", "-o",
                ",".join(options))
    s = writing.Site("s3://scripted/store", tmp, options)
    yield s
    s.stop(check=False)


def fill(top):
    os.mkdir(top + "/data")
    for i in range(20):
        with open(f"{top}/data/f{i}", "wb") as f:
            f.write(pbsgen.noise(50_000, i))
    with open(top + "/disk.img", "wb") as f:
        f.write(pbsgen.noise(IMAGE, 99))
    with open(top + "/stream", "wb") as f:
        f.write(pbsgen.noise(9 << 20, 98))
    with open(top + "/job.conf", "w") as f:
        f.write("a: b\n")


def sent(server):
    """Keys of the PUTs that were done, with how often."""
    out = {}
    for r in server.log():
        if r["verb"] == "PUT" and r["status"] in (200, 204):
            out[r["key"]] = out.get(r["key"], 0) + 1
    return out


# What the server does to PUTs, and whether publishing can still succeed.
FAULTS = {
    "slow down": ({"every": 3, "status": 503, "code": "SlowDown",
                   "headers": {"Retry-After": "0"}}, True),
    "internal error": ({"every": 4, "status": 500,
                        "code": "InternalError"}, True),
    "conflict": ({"every": 3, "status": 409,
                  "code": "ConditionalRequestConflict"}, True),
    "closed before": ({"every": 4, "drop": "before"}, True),
    "done, then closed": ({"every": 4, "drop": "done"}, True),
    "half an answer": ({"every": 4, "drop": "headers"}, True),
    "slow": ({"every": 5, "delay": 0.5}, True),
    "no etag": ({"omit": ["ETag"]}, True),
    "200 with an error": ({"count": 1, "status": 200,
                           "code": "InternalError"}, True),
    "always 500": ({"status": 500, "code": "InternalError"}, False),
    "denied": ({"status": 403, "code": "AccessDenied"}, False),
    "gone after some": ({"after": 5, "drop": "before"}, False),
    "chunks denied": ({"key": "*/.chunks/*", "after": 3, "status": 403,
                       "code": "AccessDenied"}, False),
    "index denied": ({"key": "*.fidx", "status": 403,
                      "code": "AccessDenied"}, False),
    "manifest denied": ({"key": "*/index.json.blob", "status": 403,
                         "code": "AccessDenied"}, False),
    "manifest lost": ({"key": "*/index.json.blob", "drop": "before"}, False),
    "manifest done, answer lost": ({"key": "*/index.json.blob",
                                    "drop": "done"}, True),
}


@pytest.mark.sanitize
@pytest.mark.parametrize("what", FAULTS)
def test_put(what, server, site):
    rule, survives = FAULTS[what]
    m = site.mount()
    top = writing.begin(m)
    server.rules({"verb": "PUT", **rule})
    try:
        fill(top)
        want = writing.contents(top)
        first = writing.publish(m)
        assert survives, "it should have failed"
    except OSError:
        assert not survives, m.log()
        # Nothing of it is a snapshot for anybody, and nothing is lost.
        names = [r for r in os.listdir(m / "host/web1") if r.endswith("Z")]
        assert names == []
        server.rules()
        arrived = {k for k in sent(server) if CHUNK.fullmatch(k)}
        want = writing.contents(top)
        server.reset()
        first = writing.publish(m)
        again = arrived & set(sent(server))
        assert not again, "sent again: " + " ".join(sorted(again))
    server.rules()
    writing.same(want, writing.contents(m / first))
    writing.same(want, writing.contents(top))
    m.stop()
    site.forget_host()
    there = site.mount(mode="ro")
    writing.same(want, writing.contents(there / first))
    assert there.errors() == ""


@pytest.mark.parametrize("what", ["absent", "away"])
def test_away(what, server, site):
    """The store cannot be reached at all: writing goes on locally, publishing
    fails in time, and works when it is back."""
    m = site.mount("timeout=2", "retries=1")
    top = writing.begin(m)
    server.rules({"drop": "before"} if what == "absent"
                 else {"delay": 20, "drop": "before"})
    fill(top)
    for d in (top, top + "/data"):
        fd = os.open(d, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)
    with pytest.raises(OSError):
        writing.publish(m)
    server.rules()
    want = writing.contents(top)
    path = writing.publish(m)
    m.stop()
    site.forget_host()
    there = site.mount(mode="ro")
    writing.same(want, writing.contents(there / path))


def test_conditional_put_is_a_duplicate(server, site):
    """What another writer has put counts as there, once asked by PUT."""
    m = site.mount()
    top = writing.begin(m)
    server.rules({"verb": "PUT", "key": "*/.chunks/*", "status": 412,
                  "code": "PreconditionFailed"})
    with open(top + "/disk.img", "wb") as f:
        f.write(pbsgen.noise(8 << 20, 5))
    writing.publish(m)
    puts = [r["key"] for r in server.log() if r["verb"] == "PUT" and
            CHUNK.fullmatch(r["key"])]
    assert len(puts) == len(set(puts)) == 2
