# SPDX-License-Identifier: GPL-3.0-or-later
"""Chunks that are damaged or missing come back from another copy."""
import hashlib
import json
import os
import shutil

import pytest

from pbs3fs_test import fixtures, fmtcheck
from pbs3fs_test.mount import run

TREE = "host/myhost/2024-01-04T00:00:07Z/root"


def chunks(store, least=1000):
    """Paths of those that are large enough to be hurt anywhere."""
    return [k.split("/", 1)[1]
            for k, v in sorted(fixtures.store_objects(store, "x"))
            if "/.chunks/" in k and os.path.getsize(v) > least]


def flip(path, at=500):
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)
        f.seek(at)
        f.write(bytes([byte[0] ^ 1]))


def export(store, *opts):
    """What comes out; as it is large, only its digest."""
    out = run("export", store, TREE, "-o", ",".join(["cache-floor=1M", *opts]),
              text=False).stdout
    return hashlib.sha256(out).hexdigest()


@pytest.fixture
def repair(tmp):
    def go(store, *args, opts=(), status=0):
        p = run("repair", "--json", store, *args, "-o",
                ",".join([f"state={tmp}/state", *opts]), check=False)
        assert p.returncode == status, p.stderr
        return json.loads(p.stdout)
    return go


@pytest.fixture
def hurt(fx, tmp):
    """A directory of this test's own."""
    return fx.copy("plain", os.path.join(tmp, "hurt"))


def test_a_flipped_byte(fx, hurt, repair, tmp):
    """verify finds it, repair heals it, verify is content."""
    name = chunks(hurt)[3]
    flip(os.path.join(hurt, name))
    state = ["-o", f"state={tmp}/state"]
    assert run("verify", hurt, *state, check=False).returncode == 3
    # It is in the manifests now, so nobody has to say where.
    out = repair(hurt, f"--from={fx['plain']}")
    assert (out["damaged"], out["healed"], out["lost"]) == (1, 1, 0)
    assert {f["what"] for f in out["found"]} == {os.path.basename(name)}
    assert all(f["outcome"] == "healed" for f in out["found"])
    run("verify", hurt, *state)
    assert export(hurt) == export(fx["plain"])
    fmtcheck.clean(fmtcheck.Directory(hurt), modes=False,
                   all_chunk_dirs=False)


def test_missing_and_bad(fx, hurt, repair):
    """As a server leaves them: renamed, or gone; what is good stays."""
    gone, bad, lost = chunks(hurt)[:3]
    os.unlink(os.path.join(hurt, gone))
    os.rename(os.path.join(hurt, bad), os.path.join(hurt, bad + ".0.bad"))
    os.unlink(os.path.join(hurt, lost))
    good = os.path.join(hurt, chunks(hurt)[5])
    before = os.stat(good)
    # All but one of them, in a directory that is nothing else.
    some = os.path.join(os.path.dirname(hurt), "some")
    for name in (gone, bad):
        os.makedirs(os.path.dirname(os.path.join(some, name)))
        shutil.copy(os.path.join(fx["plain"], name),
                    os.path.join(some, name))
    dry = repair(hurt, "-n", f"--from={some}", status=3)
    assert dry["healed"] == 2
    assert not os.path.exists(os.path.join(hurt, gone))
    out = repair(hurt, f"--from={some}", status=3)
    assert (out["missing"], out["healed"], out["lost"]) == (3, 2, 1)
    left = [f for f in out["found"] if f["outcome"] == "lost"]
    assert {f["what"] for f in left} == {os.path.basename(lost)}
    assert all("/20" in f["path"] for f in left)
    for name in (gone, bad):
        with open(os.path.join(hurt, name), "rb") as a, \
                open(os.path.join(fx["plain"], name), "rb") as b:
            assert a.read() == b.read()
    assert os.path.exists(os.path.join(hurt, bad + ".0.bad"))
    after = os.stat(good)
    assert (before.st_ino, before.st_mtime_ns) == \
        (after.st_ino, after.st_mtime_ns)
    # The digest alone, from somebody who has it.
    out = repair(hurt, os.path.basename(lost), f"--from={some}",
                 f"--from={fx['plain']}")
    assert out["healed"] == 1


def test_from_the_cache(new_bucket, fx, repair, tmp, gateway):
    """A chunk that was read yesterday and is damaged in the bucket today."""
    b = new_bucket(fixtures.store_objects(fx["plain"], "store"))
    opts = [*b.options(), f"cache={tmp}/cache"]
    whole = export(b.store, *opts)
    c = gateway.client()
    cached = chunks(os.path.join(tmp, "cache", "data"))
    assert cached
    key = "store/" + cached[0]
    body = c.get_object(Bucket=b.name, Key=key)["Body"].read()
    c.put_object(Bucket=b.name, Key=key,
                 Body=body[:100] + bytes([body[100] ^ 1]) + body[101:])
    c.delete_object(Bucket=b.name, Key="store/" + cached[1])
    since = gateway.mark()
    out = repair(b.store, os.path.basename(cached[0]),
                 os.path.basename(cached[1]), "--from=cache", opts=opts)
    assert (out["damaged"], out["missing"], out["healed"]) == (1, 1, 2)
    puts = [r for r in gateway.requests(since)
            if r.verb == "PUT" and "/.chunks/" in r.key]
    assert len(puts) == 2
    assert c.get_object(Bucket=b.name, Key=key)["Body"].read() == body
    assert export(b.store, *b.options(), "cache-size=0") == whole


def test_wrong_words(hurt, tmp):
    p = run("repair", hurt, check=False)
    assert p.returncode == 2 and "--from" in p.stderr
    p = run("repair", hurt, "--from=/nowhere", check=False)
    assert p.returncode == 1 and "/nowhere" in p.stderr
    p = run("repair", hurt, "--from=cache", check=False)
    assert p.returncode == 2 and "cache" in p.stderr
