# SPDX-License-Identifier: GPL-3.0-or-later
"""
Limits and prices: a command that may not go on stops, says which limit it was
and how far it came, has a status of its own, and calls nothing done that is
not.
"""
import errno
import json
import os
import re
import shutil
import subprocess
from decimal import Decimal

import pytest

from pbs3fs_test import pbsgc, pbsgen, writing
from pbs3fs_test.mount import is_mounted, run

LIMIT = 6
OLD, NEW = "2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z"
SNAPS = [f"host/a/{OLD}", f"host/a/{NEW}", f"host/b/{OLD}"]
STREAM = os.urandom(3 << 16)


@pytest.fixture(scope="module")
def model(scratch):
    """A small datastore, to be copied."""
    top = writing.bare(os.path.join(scratch, "limits"))
    s = pbsgen.Store(top)
    for rel in SNAPS:
        kind, ident, when = rel.split("/")
        snap = s.snapshot(kind, ident, when)
        snap.dynamic("stream.didx", STREAM, 1 << 16)
        snap.blob("note.conf.blob", rel.encode())
        snap.finish()
    s.put(b"garbage")
    return top


def copy_of(model, tmp):
    top = os.path.join(tmp, "store")
    shutil.rmtree(top, ignore_errors=True)
    subprocess.run(["cp", "-a", model, top], check=True)
    return top


def exists(top, rel):
    return os.path.exists(f"{top}/{rel}/index.json.blob")


def is_whole(top, _out):
    """All that is referred to is there, and nothing is called damaged."""
    for rel in SNAPS:
        if exists(top, rel):
            with open(f"{top}/{rel}/index.json.blob", "rb") as f:
                assert b'"failed"' not in pbsgen.decode(f.read())
    return all(os.path.exists(pbsgc.chunk_path(top, d))
               for d in pbsgc.referenced(top))


def is_copied(top, _out):
    """What has a manifest has all of its chunks."""
    return is_whole(top + ".target", None)


def is_mended(top, out):
    """It is only said to be if it is."""
    return ("1 repaired" not in out) or is_whole(top, out)


# What is run, and whether what it claims to have done is so.
COMMANDS = {
    "ls": (["ls", "-R", "{}", "--json"], None),
    "cat": (["cat", "{}", SNAPS[0] + "/stream", SNAPS[2] + "/note.conf"],
            None),
    "export": (["export", "{}", "host/a"], None),
    "forget": (["forget", "{}", *SNAPS],
               lambda top, out: all(not exists(top, rel) for rel in
                                    re.findall(r"^(\S+): forgotten$", out,
                                               re.M))),
    "verify": (["verify", "{}"],
               lambda top, out: all(
                   exists(top, rel) for rel in
                   re.findall(r"^(\S+): ok$", out, re.M)) and not
               re.search("damaged|missing", out)),
    "protect": (["protect", "{}", "on", *SNAPS],
                lambda top, out: all(
                    os.path.exists(f"{top}/{rel}/.protected") for rel in
                    re.findall(r"^(\S+): \S*protected$", out, re.M))),
    "gc": (["gc", "{}", "--cutoff", "0"], is_whole),
    "prune": (["prune", "{}", "-R", "--keep-last=1"], is_whole),
    "verify": (["verify", "{}"], is_whole),
    "copy": (["copy", "{}", "{}.target"], is_copied),
    "repair": (["repair", "{}", "--from", "{}.target"], is_mended),
}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_commands(model, tmp, name):
    """Stopped at each of their requests, and at last not stopped."""
    args, holds = COMMANDS[name]
    whole = None
    for n in range(1, 80):
        top = copy_of(model, tmp)
        shutil.rmtree(top + ".target", ignore_errors=True)
        if name == "copy":
            writing.bare(top + ".target")
        elif name == "repair":
            subprocess.run(["cp", "-a", top, top + ".target"], check=True)
            os.unlink(pbsgc.chunk_path(top, sorted(
                pbsgc.referenced(top))[0]))
        p = run(*[a.format(top) for a in args], "-o", f"max-requests={n}",
                check=False, text=False)
        err = p.stderr.decode()
        if holds:
            assert holds(top, p.stdout.decode())
        if p.returncode == 0:
            whole = p.stdout
            break
        assert p.returncode == LIMIT, err
        told = re.findall(r"max-requests: (\d+) were made, and no more than "
                          r"(\d+) may be.*\n.*hint: raise max-requests", err)
        assert told == [(str(n), str(n))], err
        # Two stores have a limit each.
        for cost in "".join(re.findall("^cost.*", err, re.M)).split(";"):
            assert sum(map(int, re.findall(
                r"(\d+) (?:GET|LIST|STAT|PUT|DELETE|COPY)", cost))) <= n
    assert whole is not None and n > 1
    if name == "cat":
        assert whole == STREAM + SNAPS[2].encode()
    if name == "gc":
        assert b"Removed chunks: 1" in re.sub(rb" +", b" ", whole)
    if name == "repair":
        assert is_whole(top, None)
    if name == "forget":
        assert not any(exists(top, rel) for rel in SNAPS)


def test_download(model, tmp):
    """A stream that is cut short is no success."""
    top = copy_of(model, tmp)
    for limit in ("1K", "70K", "100K"):
        p = run("cat", top, SNAPS[0] + "/stream", "-o",
                f"max-download={limit},fetchers=1,decoders=1", check=False, text=False)
        assert p.returncode == LIMIT
        assert STREAM.startswith(p.stdout) and p.stdout != STREAM
        assert b"max-download: " in p.stderr
        assert b"hint: raise max-download" in p.stderr
    p = run("cat", top, SNAPS[0] + "/stream", "-o", "max-download=1M",
            text=False)
    assert p.stdout == STREAM


def test_bucket(new_bucket, tmp):
    """Making one, and a mount that writes: neither begins with less than it
    needs, and nobody is left as its writer."""
    b = new_bucket({}, "none")
    store, where = f"s3://{b.name}/store", tmp + "/mnt"
    os.mkdir(where)
    opts = [f"cache={tmp}/c", f"state={tmp}/s", *b.options()]

    def until_done(*args):
        for n in range(1, 20):
            mark = b.gateway.mark()
            p = run(*args, "-o", ",".join([*opts, f"max-requests={n}"]),
                    check=False)
            assert sum(b.gateway.counts(mark).values()) <= n
            if p.returncode != LIMIT:
                return n, p
            assert f"max-requests: {n} were made" in p.stderr, p.stderr
            assert not is_mounted(where)
        raise AssertionError("never enough")

    n, p = until_done("create", store)
    assert n > 1 and p.returncode == 0, p.stderr
    # A directory that is not in it ends what could begin.
    n, p = until_done("mount", "-f", store, where, "-o", "rw,subdir=vm/no")
    assert n > 1 and p.returncode == 1, p.stderr


def test_mount(model, mounts, tmp):
    """Reads fail with the error of a quota, the message is in the mount, and
    what was read before still is there."""
    top = copy_of(model, tmp)
    m = mounts(top, "max-download=100K", "fetchers=1", "decoders=1")
    path = m / SNAPS[0] + "/stream"
    with open(path, "rb") as f:
        start = f.read(4096)
        assert start == STREAM[:4096]
        with pytest.raises(OSError) as e:
            f.seek(2 << 16)
            while f.read(4096):
                pass
            os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            f.seek(1 << 16)
            f.read(4096)
        # What comes through the page cache is EIO with some kernels.
        assert e.value.errno in (errno.EDQUOT, errno.EIO)
    said = [x["text"] for x in m.status()["messages"]]
    assert len([x for x in said if x.startswith("max-download: ")]) == 1, said
    assert any("hint: raise max-download" in x for x in said)


def test_publish(model, tmp):
    """No snapshot appears that is not whole; what was written stays, and a
    mount without the limit publishes it."""
    top = copy_of(model, tmp)
    data = os.urandom(9 << 20)
    failed = 0
    for n in (3, 9, 12, 14, 16, 18, 20):
        shutil.rmtree(tmp + "/local", ignore_errors=True)
        site = writing.Site(top, tmp, [])
        try:
            m = site.mount(f"max-requests={n}")
        except AssertionError as e:
            assert "max-requests" in str(e)
            continue
        begun = writing.begin(m, "host/new")
        with open(begun + "/data.bin", "wb") as f:
            f.write(data)
        p = run("snapshot", m / "host/new", check=False)
        if p.returncode != 0:
            assert p.returncode == LIMIT, p.stderr
            assert "max-requests" in p.stderr
            assert not [x for _, _, files in os.walk(top + "/host/new")
                        for x in files if x == "index.json.blob"]
            failed += 1
            site.stop(check=False)
            m = site.mount()
            p = run("snapshot", m / "host/new")
        site.stop(check=False)
        path = p.stdout.strip()[len(m.path) + 1:]
        p = run("cat", top, path + "/data.bin", text=False)
        assert p.stdout == data
        shutil.rmtree(top + "/host/new")
    assert failed


def test_prices(model, bucket, mounts, tmp):
    """In the line at the end, for programs, and of a mount."""
    b = bucket("plain")
    conf = tmp + "/conf"
    with open(conf, "w") as f:
        f.write("price-list = 0.005\nprice-get = 0.0004\n"
                "price_out = 0.09\ncurrency = EUR\n"
                f"[dir]\npath = {model}\n"
                f"[dear]\npath = {model}\nprice-list = 1000\n"
                "currency = shells\n")
    opts = [f"config={conf}", f"cache={tmp}/c", f"state={tmp}/s",
            *b.options()]

    def bill(c):
        r = c["requests"]
        parts = [r["list"] * Decimal("0.005") / 1000,
                 (r["get"] + r["stat"]) * Decimal("0.0004") / 1000,
                 c["bytes_read"] * Decimal("0.09") / (1 << 30)]
        return sum(p.quantize(Decimal("1e-9")) for p in parts)

    p = run("ls", b.store, "vm/100", "--json", "-o", ",".join(opts))
    cost = json.loads(p.stdout)["cost"]
    assert cost["price"]["currency"] == "EUR"
    assert abs(Decimal(cost["price"]["amount"]) - bill(cost)) <= \
        Decimal("1e-9")
    assert re.search(r"^cost: .*, 0\.\d+ EUR$", p.stderr, re.M)
    m = mounts(b.store, *opts)
    with open(m / "vm/100/2024-01-03T00:00:00Z/drive-scsi0.img", "rb") as f:
        f.read(1 << 20)
    cost = m.status()["cost"]
    assert cost["requests"]["get"] > 0
    assert abs(Decimal(cost["price"]["amount"]) - bill(cost)) <= \
        Decimal("1e-9")
    with open(m / ".pbs3fs/metrics") as f:
        assert re.search(r'^pbs3fs_cost_total\{.*,currency="EUR"\} 0\.\d+$',
                         f.read(), re.M)
    assert re.search(r"^cost .* EUR$", run("status", m.path).stdout, re.M)
    p = run("umount", m.path)
    assert re.search(r"^cost: .*GET.* EUR$", p.stderr, re.M), p.stderr
    # A directory has no price list but its own.
    assert "EUR" not in run("ls", "--config", conf, "dir").stderr
    assert "1.00 shells" in run("ls", "--config", conf, "dear").stderr
