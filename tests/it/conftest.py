# SPDX-License-Identifier: GPL-3.0-or-later
"""
What the integration tests share.  They need root, /dev/fuse and the packages
of tests/packages.  A missing piece skips a test; with CI set it fails.
"""
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))

from pbs3fs_test import fixtures  # noqa: E402
from pbs3fs_test.mount import Mounts  # noqa: E402
from pbs3fs_test.paths import PBS3FS, SLOW  # noqa: E402
from pbs3fs_test.place import Place  # noqa: E402
from pbs3fs_test.rgw import Rgw  # noqa: E402

TIMEOUT = 120


def need(condition, what):
    """Skips where something is missing, but never in CI."""
    if condition:
        return
    if os.environ.get("CI"):
        pytest.fail(what + " is missing")
    pytest.skip(what + " is missing")


@pytest.fixture(scope="session", autouse=True)
def program():
    assert os.access(PBS3FS, os.X_OK), f"{PBS3FS} is not built"
    need(os.getuid() == 0, "root")
    need(os.path.exists("/dev/fuse"), "/dev/fuse")
    # Nothing of the caller's may decide how the program behaves.
    for name in list(os.environ):
        if name.startswith(("AWS_", "PBS3FS_")) or \
                name.lower().endswith("_proxy"):
            del os.environ[name]
    return PBS3FS


@pytest.fixture(scope="session")
def scratch():
    """A directory for the whole run."""
    path = tempfile.mkdtemp(prefix="pbs3fs-it.")
    os.chmod(path, 0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def tmp(scratch):
    """A directory for one test."""
    path = tempfile.mkdtemp(dir=scratch)
    os.chmod(path, 0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def mounts(tmp, request):
    """mounts(store, *options): a mount that ends with the test."""
    m = Mounts(tmp)
    marker = request.node.get_closest_marker("timeout")
    seconds = (marker.args[0] if marker else TIMEOUT) * SLOW
    # A test that hangs in a mount gets errors once the daemon is gone.
    dog = threading.Timer(seconds, m.abort)
    dog.daemon = True
    dog.start()
    yield m
    timed_out = not dog.is_alive()
    dog.cancel()
    m.stop(check=not timed_out)
    assert not timed_out, f"not done after {seconds} s"


@pytest.fixture(autouse=True)
def alarm(request):
    """The same for a test that waits for anything else."""
    marker = request.node.get_closest_marker("timeout")
    seconds = (marker.args[0] if marker else TIMEOUT) * SLOW + 15

    def late(_signal, _frame):
        raise TimeoutError(f"not done after {seconds} s")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(int(seconds))
    yield
    signal.alarm(0)


class Fixtures:
    """The datastores of tests/data, unpacked when first asked for."""
    def __init__(self, into):
        self.into = into

    def __getitem__(self, name):
        path = os.path.join(self.into, name)
        return path if os.path.isdir(path) else \
            fixtures.unpack(name, self.into)

    def copy(self, name, to):
        """A copy that may be changed."""
        subprocess.run(["cp", "-a", self[name], to], check=True)
        return to


@pytest.fixture(scope="session")
def fx(scratch):
    return Fixtures(os.path.join(scratch, "fx"))


@pytest.fixture(scope="session")
def gateway(scratch):
    """One radosgw for all tests; those that hurt it mend it again."""
    need(shutil.which("radosgw"), "radosgw")
    g = Rgw(os.path.join(scratch, "rgw")).up()
    yield g
    g.down()


class Bucket:
    """A bucket of the gateway and how to mount it."""
    def __init__(self, gateway, name, datastore, credentials):
        self.gateway = gateway
        self.name = name
        self.datastore = datastore
        self.credentials = credentials

    @property
    def store(self):
        return f"s3://{self.name}/{self.datastore}"

    def options(self, tls=False):
        where = [f"endpoint={self.gateway.endpoint}", "insecure-http"]
        if tls:
            where = [f"endpoint={self.gateway.endpoint_tls}",
                     f"fingerprint={self.gateway.fingerprint}"]
        return [*where, "path-style", "region=us-east-1",
                f"credentials={self.credentials}"]


@pytest.fixture(scope="session")
def credentials(scratch, gateway):
    """A credentials file of the gateway's first user."""
    return write_credentials(os.path.join(scratch, "credentials"),
                             *gateway.keys)


def write_credentials(path, access, secret, mode=0o600):
    with open(path, "w") as f:
        f.write(f"access-key={access}\nsecret-key={secret}\n")
    os.chmod(path, mode)
    return path


@pytest.fixture(scope="session")
def bucket(gateway, credentials, fx):
    """bucket(name): a fixture as a bucket; loaded once, never changed."""
    made = {}

    def get(name):
        if name not in made:
            if name == "s3-bucket":
                datastore, objects = "s3store", \
                    fixtures.bucket_objects(fx[name])
            else:
                base = "damaged" if name.startswith("damaged/") else name
                top = fx[base]
                if name != base:
                    top = os.path.join(top, name.split("/", 1)[1])
                datastore = "store"
                objects = fixtures.store_objects(top, datastore)
            b = Bucket(gateway, "fx-" + name.replace("/", "-"), datastore,
                       credentials)
            gateway.load(b.name, objects)
            made[name] = b
        return made[name]

    return get


@pytest.fixture
def new_bucket(gateway, credentials):
    """new_bucket(objects, datastore): a bucket of this test's own."""
    made = []

    def make(objects, datastore="store"):
        name = f"own-{os.getpid()}-{new_bucket.count}"
        new_bucket.count += 1
        gateway.load(name, objects)
        b = Bucket(gateway, name, datastore, credentials)
        made.append(b)
        return b

    return make


new_bucket.count = 0


@pytest.fixture(params=["new", "base"])
def place(request, tmp):
    """For files that are new, and for those of the snapshot before."""
    p = Place(tmp, request.param == "base")
    yield p
    try:
        p.finish()
    finally:
        p.site.stop(check=False)
