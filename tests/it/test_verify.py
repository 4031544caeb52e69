# SPDX-License-Identifier: GPL-3.0-or-later
"""verify: what it finds, what it costs, what it leaves behind."""
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import time

import pytest

from conftest import write_credentials
from pbs3fs_test import fixtures, pbsgen
from pbs3fs_test.mount import Mount, run, wait_for
from pbs3fs_test.paths import DATA, PBS3FS

CASES = fixtures.damaged_cases()
T1, T2 = "2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z"
ONE, TWO, VM = f"host/h1/{T1}", f"host/h1/{T2}", f"vm/100/{T1}"

# The real server finds nothing wrong in these.
STRICTER = {"chunk-wrong-length", "didx-bad-csum-header",
            "fidx-bad-csum-header"}
# What it calls failed is no finished snapshot.
UNFINISHED = {"unfinished"}
# With the key there is more to see.
SECRET = {"enc-chunk-data-crc-fixed", "enc-chunk-iv", "enc-chunk-tag",
          "enc-signature"}
UPID = re.compile(
    r"UPID:[a-zA-Z0-9-]+:[0-9A-F]{8}:[0-9A-F]{8,9}:[0-9A-F]{8,16}:"
    r"([0-9A-F]{8}):verify:[^:\s]*:root@pam:$")


def verify(store, *args, check=False, **kw):
    """Exit status and what --json says."""
    p = run("verify", store, "--json", *args, check=check, **kw)
    return p.returncode, json.loads(p.stdout)


def states(j):
    return {s["snapshot"]: s["state"] for s in j["snapshots"]}


@pytest.fixture(scope="session")
def stores(fx):
    return lambda case: os.path.join(fx["damaged"], case)


@pytest.fixture
def key(tmp):
    path = os.path.join(tmp, "key.json")
    shutil.copy(os.path.join(DATA, "keys/key-none.json"), path)
    os.chmod(path, 0o600)
    return f"--keyfile={path}"


def test_cases(stores, tmp):
    """What the real server calls failed is failed, and what it calls good is
    good, but for what it does not look at."""
    for case, what in CASES.items():
        status, j = verify(stores(case), "--no-record")
        bad = what["server_verify"] != "ok" and case not in UNFINISHED
        assert status == (3 if bad or case in STRICTER else 0), (case, j)
        assert j["unknown"] == 0, case
        assert (j["failed"] > 0) == (status == 3), case


def test_cases_with_key(stores, key):
    for case in sorted(c for c in CASES if c.startswith("enc-")):
        bad = CASES[case]["server_verify"] != "ok" or case in SECRET
        status, j = verify(stores(case), "--no-record", key)
        assert status == (3 if bad else 0), (case, j)


def test_encrypted(fx, key):
    for args in ([], [key]):
        status, j = verify(fx["encrypted"], "--no-record", *args)
        assert status == 0, j["findings"]
        assert j["chunks"] > 0 and set(states(j).values()) == {"ok"}


def test_files_are_named(stores):
    """One chunk of one large file, in both forms of an archive."""
    chunk = CASES["chunk-bitflip-data"]["detail"]
    for case in ("chunk-bitflip-data", "chunk-missing"):
        for level in ("full", "size", "exists"):
            status, j = verify(stores(case), "--no-record", f"--level={level}")
            if case != "chunk-missing" and level != "full":
                assert status == 0
                continue
            assert status == 3
            assert [(f["snapshot"], f["file"], f["chunk"], f["offset"],
                     f["length"]) for f in j["findings"]] == [
                (ONE, "root.pxar.didx", chunk, 318648, 22810),
                (TWO, "root.ppxar.didx", chunk, 314808, 22810)]
            assert [(p["snapshot"], p["path"], p["part"], p["offset"],
                     p["length"]) for p in j["paths"]] == [
                (s, "var/log/big.log", "content", 308267, 22810)
                for s in (ONE, TWO)]
    p = run("verify", stores("chunk-vm-missing"), "--no-record", check=False)
    assert p.returncode == 3
    assert f"missing: {VM}/drive-scsi0.img bytes 4194304-8388608: chunk " in \
        p.stdout
    assert f"{ONE}: ok\n" in p.stdout and f"{VM}: missing\n" in p.stdout


def test_paths_given(stores):
    case = stores("chunk-vm-missing")
    assert verify(case, "host/h1", "--no-record")[0] == 0
    status, j = verify(case, f"vm/100/{T1}", "--no-record")
    assert status == 3 and list(states(j)) == [VM]
    # The other one needs the same chunk.
    status, j = verify(stores("chunk-missing"), ONE, "--no-record")
    assert list(states(j)) == [ONE] and j["others"] == 1
    assert {f["snapshot"] for f in j["findings"]} == {ONE, TWO}
    for path, code in (("host/h2", 1), ("../x", 2)):
        p = run("verify", case, path, "--no-record", check=False)
        assert p.returncode == code and path in p.stderr
    for args in (["--level=most"], ["--level=sample=0%"], ["--within=1h"],
                 ["--level=sample=x"], ["--level=full", "--within=3d"]):
        p = run("verify", case, *args, check=False)
        assert p.returncode == 2, p.stderr


def manifest(store, snap):
    with open(os.path.join(store, snap, "index.json.blob"), "rb") as f:
        return json.loads(pbsgen.decode(f.read()))


def test_record(fx, stores, tmp):
    """As the server writes it, and so that the next run leaves it out."""
    store = os.path.join(tmp, "store")
    shutil.copytree(stores("chunk-vm-missing"), store)
    opts = [f"--state={tmp}/state"]
    before = manifest(store, ONE)
    for level in ("exists", "size", "sample=100%"):
        verify(store, "host/h1", f"--level={level}", *opts)
        assert manifest(store, ONE) == before
    now = time.time()
    status, j = verify(store, *opts)
    assert status == 3 and j["recorded"] == 3
    for snap, state in ((ONE, "ok"), (TWO, "ok"), (VM, "failed")):
        m = manifest(store, snap)
        s = m["unprotected"].pop("verify_state")
        assert s["state"] == state
        start = UPID.match(s["upid"])
        assert start and abs(int(start[1], 16) - now) < 60
        if snap == ONE:
            before["unprotected"].pop("verify_state", None)
            assert m == before
    status, j = verify(store, "--since=1h", *opts)
    assert status == 3
    assert states(j) == {ONE: "skipped", TWO: "skipped", VM: "missing"}
    assert verify(fx["plain"], "--no-record", "--since=1s")[0] == 0


def test_quarantine(stores, tmp):
    """Those that the real server renames, and no others."""
    for case in ("chunk-bitflip-data", "chunk-truncated", "enc-chunk-plain",
                 "enc-chunk-bitflip", "chunk-missing", "chunk-wrong-length",
                 "enc-chunk-tag", "didx-bad-magic"):
        store = os.path.join(tmp, case)
        shutil.copytree(stores(case), store)
        status, j = verify(store, "--quarantine", f"--state={tmp}/state-{case}")
        renamed = CASES[case]["server_renamed_chunk_to_bad"]
        assert j["quarantined"] == renamed, case
        d = CASES[case].get("detail")
        if renamed:
            path = os.path.join(store, ".chunks", d[:4], d)
            assert not os.path.exists(path)
            assert os.path.getsize(path + ".0.bad") > 0
        bad = [f for _, _, names in os.walk(store) for f in names
               if f.endswith(".bad")]
        assert len(bad) == renamed, case


def options(b):
    return ["-o", ",".join(b.options())]


def chunk_gets(gateway, mark):
    return [r for r in gateway.requests(mark)
            if "/.chunks/" in r.key and r.verb == "GET"]


def test_bucket(new_bucket, fx, tmp):
    """A listing for the chunks, or a GET for each of them."""
    b = new_bucket(fixtures.store_objects(fx["plain"], "store"))
    opts = [f"--state={tmp}/state", f"--cache={tmp}/cache", *options(b)]
    g = b.gateway
    mark = g.mark()
    status, j = verify(b.store, "--level=exists", *opts)
    assert status == 0 and j["chunks"] > 100
    c = g.counts(mark)
    assert chunk_gets(g, mark) == []
    assert set(c) == {"LIST", "GET"} and c["LIST"] <= 3
    mark = g.mark()
    status, again = verify(b.store, "--level=size", *opts)
    # Manifests and indices are in the cache.
    assert status == 0 and g.counts(mark) == {"LIST": 2}
    assert again["chunks"] == j["chunks"]
    mark = g.mark()
    status, full = verify(b.store, "--no-record", *opts)
    assert status == 0 and full["chunks"] == j["chunks"]
    keys = [r.key for r in chunk_gets(g, mark)]
    assert len(keys) == len(set(keys)) == full["chunks"]
    c = g.counts(mark)
    assert c == {"LIST": 1, "GET": full["chunks"] + full["objects"]}
    # One that is gone is asked for by name, twice.
    victim = keys[0]
    g.client().delete_object(Bucket=b.name, Key=victim)
    mark = g.mark()
    status, j = verify(b.store, "--level=exists", *opts)
    assert status == 3 and j["missing"] == 1
    asked = [r.verb for r in g.requests(mark) if r.key == victim]
    assert asked == ["HEAD", "HEAD"]
    status, j = verify(b.store, *opts)
    assert status == 3 and j["recorded"] == len(j["snapshots"])
    status, j = verify(b.store, "--since=1h", *opts)
    assert status == 3
    assert set(states(j).values()) == {"skipped", "missing"}


def test_read_only_key(new_bucket, stores, tmp):
    """Enough to verify, and to be told that nothing is recorded."""
    b = new_bucket(fixtures.store_objects(stores("chunk-vm-missing"), "store"))
    b.gateway.client().put_bucket_policy(Bucket=b.name, Policy=json.dumps({
        "Version": "2012-10-17", "Statement": [{
            "Resource": [f"arn:aws:s3:::{b.name}", f"arn:aws:s3:::{b.name}/*"],
            "Effect": "Allow",
            "Principal": {"AWS": ["arn:aws:iam:::user/other"]},
            "Action": ["s3:ListBucket", "s3:GetObject"]}]}))
    b.credentials = write_credentials(f"{tmp}/key", *b.gateway.keys_2)
    opts = [f"--state={tmp}/state", f"--cache={tmp}/cache", *options(b)]
    p = run("verify", b.store, "--json", *opts, check=False)
    assert p.returncode == 3 and "will not be recorded" in p.stderr
    j = json.loads(p.stdout)
    assert states(j) == {ONE: "ok", TWO: "ok", VM: "missing"}
    assert j["recorded"] == j["unrecorded"] == 0
    p = run("verify", b.store, "--quarantine", *opts, check=False)
    assert p.returncode == 5, p.stderr


def test_failing_store(stores, tmp):
    """Errors, whatever they are: nothing is damaged."""
    rules = os.path.join(tmp, "rules")
    for seed in range(4):
        with open(rules, "w") as f:
            f.write(f"get .chunks/* error=EIO rate=75% seed={seed}\n")
        status, j = verify(stores("ok"), "--no-record", f"--fault={rules}")
        assert status in (0, 4)
        assert j["damaged"] == j["missing"] == j["failed"] == 0
        assert (j["unknown_chunks"] > 0) == (status == 4)


def spoil(path):
    with open(path, "r+b") as f:
        f.seek(-1, os.SEEK_END)
        last = f.read(1)[0]
        f.seek(-1, os.SEEK_END)
        f.write(bytes([last ^ 1]))


def test_beside_mount(stores, tmp):
    """The mount records results, forgets what it knew of a bad chunk, and sends
    it again when somebody brings it."""
    store = os.path.join(tmp, "store")
    shutil.copytree(stores("ok"), store)
    data = os.urandom(1 << 20)
    state = f"--state={tmp}/state"
    with Mount(store, os.path.join(tmp, "mnt"), [f"state={tmp}/state"],
               mode="rw") as m:
        os.mkdir(m / "host/w")

        def publish(when):
            with open(m / "host/w/current/data.img", "wb") as f:
                f.write(data)
            os.mkdir(m / f"host/w/{when}")

        publish(T1)
        status, j = verify(store, "host/w", state)
        assert status == 0 and j["recorded"] == 1
        with open(m / f"host/w/{T1}/index.json") as f:
            seen = json.load(f)
        assert seen["unprotected"]["verify_state"]["state"] == "ok"
        index = manifest(store, f"host/w/{T1}")
        assert index == seen
        digest = hashlib.sha256(data).hexdigest()
        chunk = os.path.join(store, ".chunks", digest[:4], digest)
        spoil(chunk)
        status, j = verify(store, "host/w", "--quarantine", state)
        assert status == 3 and j["quarantined"] == 1
        assert not os.path.exists(chunk)
        publish(T2)
        assert os.path.exists(chunk)
        # That heals both of them.
        status, j = verify(store, state)
        assert status == 0 and set(states(j).values()) == {"ok"}


def catches(pid, sig):
    with open(f"/proc/{pid}/status") as f:
        mask = re.search(r"^SigCgt:\s*([0-9a-f]+)", f.read(), re.M)
    return int(mask[1], 16) >> (sig - 1) & 1


def test_interrupt(stores, tmp):
    rules = os.path.join(tmp, "rules")
    with open(rules, "w") as f:
        f.write("get .chunks/* delay=300\n")
    store = os.path.join(tmp, "store")
    shutil.copytree(stores("ok"), store)
    before = manifest(store, ONE)
    p = subprocess.Popen(
        [PBS3FS, "verify", store, "--json", f"--fault={rules}",
         "--fetchers=1", f"--state={tmp}/state"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: catches(p.pid, signal.SIGINT), 20, "the verification")
    p.send_signal(signal.SIGINT)
    out, err = p.communicate(timeout=30)
    assert p.returncode == 1, err
    assert "interrupted" in err
    j = json.loads(out)
    assert not j["complete"] and j["failed"] == j["recorded"] == 0
    assert manifest(store, ONE) == before
