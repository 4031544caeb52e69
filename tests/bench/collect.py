# SPDX-License-Identifier: GPL-3.0-or-later
"""
Garbage collection in a bucket beside the listing that it cannot do without.
Collection in memory and in a directory is in gc.c.

BENCH_CHUNKS: how many (100,000); a tenth of them is garbage.
"""
import concurrent.futures
import hashlib
import http.client
import json
import os
import re
import subprocess
import time
import urllib.parse

from pbs3fs_test import fixtures, pbsgen
from pbs3fs_test.paths import PBS3FS

CHUNKS = int(os.environ.get("BENCH_CHUNKS", "100000"))
BUCKET = "bench-gc"
PUTTERS = 8


def names():
    return sorted(hashlib.sha256(b"%d" % i).hexdigest()
                  for i in range(CHUNKS))


def fill(gateway, work):
    """An index that refers to nine of ten chunks, and all of them, small."""
    s = pbsgen.Store(os.path.join(work, "gc-store"))
    snap = s.snapshot("vm", "1")
    all_names = names()
    used = [bytes.fromhex(n) for i, n in enumerate(all_names) if i % 10]
    snap.fixed_digests("d.img.fidx", used, len(used) << 22)
    snap.finish()
    gateway.load(BUCKET, fixtures.store_objects(s.path, "store"))
    gateway.client().put_bucket_policy(Bucket=BUCKET, Policy=json.dumps({
        "Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": "*",
            "Action": ["s3:PutObject", "s3:ListBucket"],
            "Resource": [f"arn:aws:s3:::{BUCKET}",
                         f"arn:aws:s3:::{BUCKET}/*"]}]}))
    host = urllib.parse.urlparse(gateway.endpoint).netloc
    body = pbsgen.blob(b"x")

    def put(part):
        c = http.client.HTTPConnection(host)
        for n in part:
            c.request("PUT", f"/{BUCKET}/store/.chunks/{n[:4]}/{n}", body)
            r = c.getresponse()
            r.read()
            assert r.status == 200, r.status

    with concurrent.futures.ThreadPoolExecutor(PUTTERS) as pool:
        list(pool.map(put, [all_names[i::PUTTERS] for i in range(PUTTERS)]))
    return host


def bare_list(host):
    """Seconds for all pages, nothing done with them; how many."""
    c = http.client.HTTPConnection(host)
    token, pages, start = "", 0, time.monotonic()
    while True:
        c.request("GET", f"/{BUCKET}/?list-type=2&prefix=store%2F.chunks%2F" +
                  (f"&continuation-token={token}" if token else ""))
        text = c.getresponse().read().decode()
        pages += 1
        found = re.search("<NextContinuationToken>(.*?)</", text)
        if not found:
            return time.monotonic() - start, pages
        token = urllib.parse.quote(found[1], safe="")


def collect(opts, *more):
    """The report, seconds, peak of memory in MiB."""
    start = time.monotonic()
    p = subprocess.Popen([PBS3FS, "gc", f"s3://{BUCKET}/store", "--cutoff",
                          "0", "--json", *more, "-o", ",".join(opts)],
                         stdout=subprocess.PIPE, text=True)
    said = p.stdout.read()
    _, status, usage = os.wait4(p.pid, 0)
    assert status == 0, said
    return (json.loads(said), time.monotonic() - start,
            usage.ru_maxrss >> 10)


def measure(work, gateway, opts):
    host = fill(gateway, work)
    opts = [*opts, f"state={work}/gc-state", f"cache={work}/gc-cache"]
    for what, more in (("dry run", ["--dry-run"]), ("first run", []),
                       ("nothing to do", [])):
        listing, pages = bare_list(host)
        said, took, rss = collect(opts, *more)
        print(f"gc in a bucket, {what:14} {took:6.1f} s   LIST alone "
              f"{listing:6.1f} s, {pages} pages   ratio {took / listing:.2f}"
              f"   {rss} MiB   {json.dumps(said['cost'])}")
