# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands that change a store beside a mount that writes into it."""
import errno
import glob
import os
import signal
import subprocess
import time

import pytest

from pbs3fs_test import writing
from pbs3fs_test.mount import run, wait_for
from pbs3fs_test.paths import PBS3FS

GROUP = "host/web1"


@pytest.fixture(params=["directory", "bucket"])
def site(request, tmp):
    options = []
    if request.param == "bucket":
        b = request.getfixturevalue("new_bucket")({}, "store")
        store, options = b.store, b.options()
        run("create", "-q", store, "-o", ",".join(options))
    else:
        store = writing.bare(os.path.join(tmp, "store"))
    s = writing.Site(store, tmp, options)
    yield s
    s.stop(check=False)


@pytest.fixture
def local(tmp):
    s = writing.Site(writing.bare(os.path.join(tmp, "store")), tmp)
    yield s
    s.stop(check=False)


def opts(site, state=None):
    return ",".join([f"state={state or site.local + '/state'}",
                     f"cache={site.local}/cmd-cache", *site.options])


def command(site, name, *args, state=None):
    p = subprocess.run([PBS3FS, name, site.store, *args, "-q", "-o",
                        opts(site, state)], stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, text=True, timeout=120)
    return p.returncode, p.stderr


def write(path, data):
    with open(path, "wb") as f:
        f.write(data)


def chunks(site):
    return {os.path.basename(p)
            for p in glob.glob(site.store + "/.chunks/*/*")}


def test_seen_at_once(site):
    """Forget, protect and gc while the mount writes."""
    first, second = os.urandom(400_000), os.urandom(400_000)
    with site.mount() as m:
        top = writing.begin(m)
        write(top + "/a", first)
        one = writing.publish(m)
        write(top + "/a", second)
        two = writing.publish(m)
        with open(top + "/b", "wb") as f:
            f.write(b"x" * 100_000)
            assert command(site, "protect", "on", one) == (0, "")
            assert os.getxattr(m / one, "user.pbs3fs.protected") == b"1"
            r, said = command(site, "forget", one)
            assert r != 0 and "is protected" in said
            assert command(site, "protect", "off", one) == (0, "")
            assert command(site, "forget", one) == (0, "")
            assert os.path.basename(one) not in os.listdir(m / GROUP)
            # What current/ was made of stays, whoever asks.
            r, said = command(site, "forget", two)
            assert r != 0 and "current/" in said and "hint: " in said
            with pytest.raises(OSError) as e:
                os.rmdir(m / two)
            assert e.value.errno == errno.EBUSY
            r, said = command(site, "gc", "--cutoff=0")
            assert r == 0, said
            f.write(b"y" * 100_000)
        three = writing.publish(m)
        assert m.errors() == [] or all(
            "protected" in e or "current/" in e for e in m.errors())
    with site.mount() as m:
        with open(m / three + "/a", "rb") as f:
            assert f.read() == second
        with open(m / three + "/b", "rb") as f:
            assert f.read() == b"x" * 100_000 + b"y" * 100_000


def test_gc_dies(local):
    """Killed in the middle of it: the mount goes on, and so does the next."""
    with local.mount("fsync=s3") as m:
        top = writing.begin(m)
        for i in range(8):
            write(top + f"/f{i}", os.urandom(300_000))
        one = writing.publish(m)
        for i in range(4, 8):
            os.unlink(top + f"/f{i}")
        writing.publish(m)
        os.rmdir(m / one)
        for wait in (0.02, 0.1, 0.3):
            p = subprocess.Popen([PBS3FS, "gc", local.store, "-q",
                                  "--cutoff=0", "-o", opts(local)],
                                 stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL)
            time.sleep(wait)
            p.send_signal(signal.SIGKILL)
            p.wait()
            write(top + "/new", os.urandom(200_000))
        r = said = None
        for _ in range(50):
            r, said = command(local, "gc", "--cutoff=0")
            if r == 0:
                break
            time.sleep(0.2)
        assert r == 0, said
        last = writing.publish(m)
        for i in range(4):
            with open(m / last + f"/f{i}", "rb") as f:
                assert len(f.read()) == 300_000


def test_daemon_dies(local):
    """What its journals refer to is not garbage, for whoever has them."""
    data = os.urandom(500_000)
    m = local.mount("fsync=s3")
    top = writing.begin(m)
    with open(top + "/a", "wb") as f:
        f.write(data)
        f.flush()
        os.fsync(f.fileno())
    before = chunks(local)
    assert before
    m.kill()
    # Nobody who does not see them may take it for garbage.
    r, said = command(local, "gc", "--cutoff=0", state=local.dir + "/other")
    assert r != 0 and "state" in said and "hint: " in said
    assert chunks(local) == before
    r, said = command(local, "gc", "--cutoff=0")
    assert r == 0, said
    assert chunks(local) >= before
    with local.mount() as m:
        with open(m / GROUP + "/current/a", "rb") as f:
            assert f.read() == data
        writing.publish(m)
    # Now nothing is in it any more: any other will do.
    r, said = command(local, "gc", "--cutoff=0", state=local.dir + "/other")
    assert r == 0, said
    assert chunks(local) >= before


def test_without_a_mount(local):
    """The rule holds where nothing is mounted, too."""
    with local.mount() as m:
        top = writing.begin(m)
        write(top + "/a", b"one")
        one = writing.publish(m)
        write(top + "/a", b"two")
    r, said = command(local, "forget", one)
    assert r != 0 and "current/" in said
    r, said = command(local, "forget", GROUP, "--recursive")
    assert r != 0 and "current/" in said
    with local.mount() as m:
        assert os.path.isdir(m / one)
        writing.publish(m)
    assert command(local, "forget", one) == (0, "")


def test_socket_goes_with_the_mount(local):
    def sockets():
        return set(glob.glob("/run/pbs3fs/*.sock"))
    before = sockets()
    with local.mount():
        wait_for(lambda: len(sockets() - before) >= 1, 10, "socket")
        new = sockets() - before
    assert any(not os.path.exists(s) for s in new)
