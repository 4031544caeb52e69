# SPDX-License-Identifier: GPL-3.0-or-later
"""The real datastores of tests/data and their expected listings."""
import json
import os
import subprocess

from .paths import DATA


def unpack(name, into):
    """Unpacks NAME.tar.zst; returns the directory with its content."""
    path = os.path.join(into, name)
    if name == "s3-bucket":     # which has no directory of that name
        into = path
    os.makedirs(into, exist_ok=True)
    subprocess.run(
        ["tar", "--zstd", "--numeric-owner", "-xf",
         os.path.join(DATA, name + ".tar.zst"), "-C", into], check=True)
    return path


def expected(name):
    """What expected/NAME.json.zst holds."""
    path = os.path.join(DATA, "expected", name + ".json.zst")
    out = subprocess.run(["zstd", "-dcq", path], check=True,
                         stdout=subprocess.PIPE).stdout
    return json.loads(out)


def damaged_cases():
    with open(os.path.join(DATA, "expected/damaged-cases.json")) as f:
        return json.load(f)


def bucket_objects(unpacked):
    """(key, path) of each object of the unpacked s3-bucket fixture."""
    base = os.path.join(unpacked, "bucket")
    for parent, _, files in os.walk(base):
        for f in files:
            path = os.path.join(parent, f)
            yield os.path.relpath(path, base), path


def store_objects(directory, datastore):
    """
    (key, path or bytes) of the objects that a directory datastore would be in
    a bucket.  Empty namespaces exist there as marker objects.
    """
    for parent, dirs, files in os.walk(directory):
        rel = os.path.relpath(parent, directory)
        rel = "" if rel == "." else rel + "/"
        in_chunks = rel.startswith(".chunks/")
        if os.path.basename(parent) == "ns":
            for d in dirs:
                yield f"{datastore}/.cnt/{rel}{d}/.namespace", b""
        for f in files:
            path = os.path.join(parent, f)
            if in_chunks:
                yield f"{datastore}/{rel}{f}", path
            elif rel:
                yield f"{datastore}/.cnt/{rel}{f}", path
