# SPDX-License-Identifier: GPL-3.0-or-later
"""Which snapshots are kept: against another implementation of the rules."""
import calendar
import json
import os
import random
import subprocess
import time

from conftest import need
from pbs3fs_test import fixtures, pbsgen, retention
from pbs3fs_test.mount import run
from pbs3fs_test.paths import BUILD, DATA

LISTS = os.path.join(BUILD, "tests/unit/maint/prune_lists")
HOUR, DAY = 3600, 86400
ZONES = ("UTC0", "CET-1CEST,M3.5.0,M10.5.0/3", "EST5EDT,M3.2.0,M11.1.0",
         "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0", "NZT-13", "<-1130>11:30")
# Days on which clocks change, weeks and years turn.
NEAR = [calendar.timegm(t) for t in (
    (2024, 3, 31, 0, 0, 0), (2024, 10, 27, 0, 0, 0), (2024, 12, 30, 0, 0, 0),
    (2021, 1, 3, 0, 0, 0), (2024, 2, 29, 0, 0, 0), (2016, 1, 1, 0, 0, 0),
    (1970, 1, 2, 0, 0, 0), (2038, 1, 19, 0, 0, 0))]


def generate(r):
    """A list of some shape that people have, or none has."""
    start = r.choice(NEAR) + r.randrange(-3 * DAY, 3 * DAY)
    step = r.choice((60, 20 * 60, HOUR, 6 * HOUR, DAY, 3 * DAY, 20 * DAY))
    n = r.choice((0, 1, 2, 5, 12, 12, 30, 60))
    times = {max(0, start + i * step + r.randrange(-step // 3, step // 3 + 1))
             for i in range(n)}
    odd = r.choice((0, 0, 0.1, 0.6))
    snapshots = {t: (r.random() >= odd, r.random() < odd) for t in times}
    keep = {rule: r.choice((1, 1, 2, 3, 7, 40))
            for rule in retention.RULES if r.random() < 0.4}
    return r.choice(ZONES), snapshots, keep


def compute(cases):
    """What the program makes of them."""
    text = "".join(
        " ".join([tz, *(str(keep.get(r, 0)) for r in retention.RULES),
                  *(f"{t}:{'f' * f}{'p' * p}"
                    for t, (f, p) in snapshots.items())]) + "\n"
        for tz, snapshots, keep in cases)
    need(os.access(LISTS, os.X_OK), LISTS)
    p = subprocess.run([LISTS], input=text, stdout=subprocess.PIPE,
                       text=True, check=True)
    lines = p.stdout.split("\n")[:-1]
    assert len(lines) == len(cases)
    for line in lines:
        out = {}
        for word in line.split():
            when, mark, rule = word.split(":")
            out[int(when)] = mark, rule
        yield out


def test_generated_lists():
    r = random.Random(12)
    cases = [generate(r) for _ in range(10000)]
    cases = [c if c[2] else (*c[:2], {"last": 1}) for c in cases]
    for zone in ZONES:
        some = [c for c in cases if c[0] == zone]
        assert len(some) > 1000
        with retention.zone(zone):
            for case, got in zip(some, compute(some)):
                want = retention.prune(*case[1:])
                assert list(got.items()) == list(want.items()), case


def test_the_table_says_the_same():
    """The cases of tests/data, which the unit test looks at."""
    with open(os.path.join(DATA, "prune/cases.json")) as f:
        cases = json.load(f)
    for c in cases:
        snapshots, want = {}, {}
        for s in c["snapshots"]:
            t = calendar.timegm(time.strptime(s["time"],
                                              "%Y-%m-%dT%H:%M:%SZ"))
            snapshots[t] = s.get("finished", True), s.get("protected", False)
            want[t] = s["mark"]
        keep = {k.removeprefix("keep-"): n for k, n in c["keep"].items()}
        with retention.zone(c["tz"]):
            got = retention.prune(snapshots, keep)
        assert {t: rule or mark for t, (mark, rule) in got.items()} == want, \
            c["name"]


# The command.

def fill(top):
    """Two groups that begin alike, and one in a namespace; a day apart."""
    s = pbsgen.Store(top)
    for ns, ident in (("", "1"), ("", "10"), ("a", "1"), ("a/b", "1")):
        for day in range(1, 6):
            snap = s.snapshot("vm", ident, f"2024-01-0{day}T12:00:00Z", ns=ns)
            snap.blob("a.conf.blob", b"text")
            if day != 3 or ident != "10":
                snap.finish()
            if day == 1 and ident == "10":
                open(f"{snap.dir}/.protected", "w").close()
    return top


def days(top, group):
    return [int(n[8:10]) for n in sorted(os.listdir(os.path.join(top, group)))
            if n.startswith("2024")]


def test_a_group(tmp):
    top = fill(f"{tmp}/store")
    before = {g: days(top, g) for g in ("vm/1", "ns/a/vm/1")}
    args = ["prune", top, "vm/10", "--keep-last=2", "--json"]
    p = run(*args, "--dry-run", env={"TZ": "UTC0"})
    said = json.loads(p.stdout)
    assert days(top, "vm/10") == [1, 2, 3, 4, 5]
    assert said["dry_run"] and said["keep"]["keep-last"] == 2
    assert [(s["backup-time"], s["keep"], s["protected"], s["action"],
             s["rule"]) for s in said["snapshots"]] == [
        (1704110400 + i * DAY, keep, action == "protected", action, rule)
        for i, (keep, action, rule) in enumerate([
            (True, "protected", ""), (False, "remove", ""),
            (False, "remove", ""), (True, "keep", "keep-last"),
            (True, "keep", "keep-last")])]
    assert (said["kept"], said["removed"], said["failed"]) == (3, 2, 0)
    assert said["estimate"]["requests"]["delete"] == 4
    did = json.loads(run(*args, env={"TZ": "UTC0"}).stdout)
    assert did["snapshots"] == said["snapshots"] and not did["dry_run"]
    assert days(top, "vm/10") == [1, 4, 5]
    assert before == {g: days(top, g) for g in before}
    # Nothing is left to do; people get a table.
    p = run("prune", top, "vm/10", "--keep-last=2")
    assert "3 kept, 0 removed" in p.stdout
    lines = p.stdout.splitlines()
    assert lines[0].split() == ["snapshot", "date", "action", "why"]
    assert lines[1].split()[0] == "vm/10/2024-01-01T12:00:00Z"
    assert lines[1].split()[-1] == "protected"
    assert lines[3].split()[-2:] == ["keep", "keep-last"]


def test_namespaces(tmp):
    top = fill(f"{tmp}/store")
    run("prune", top, "--keep-daily=4", "-q")
    assert days(top, "vm/1") == [2, 3, 4, 5]
    assert days(top, "vm/10") == [1, 2, 4, 5]
    assert days(top, "ns/a/vm/1") == days(top, "ns/a/ns/b/vm/1") == \
        [1, 2, 3, 4, 5]
    run("prune", top, "ns/a", "--keep-daily=3", "-q")
    assert days(top, "ns/a/vm/1") == [3, 4, 5]
    assert days(top, "ns/a/ns/b/vm/1") == [1, 2, 3, 4, 5]
    run("prune", top, "--keep-daily=2", "-q", "--recursive")
    assert days(top, "vm/1") == days(top, "ns/a/vm/1") == \
        days(top, "ns/a/ns/b/vm/1") == [4, 5]
    assert days(top, "vm/10") == [1, 4, 5]


def test_time_zone(tmp):
    """One day there is two days elsewhere."""
    top = f"{tmp}/store"
    s = pbsgen.Store(top)
    for when in ("2024-01-01T01:00:00Z", "2024-01-01T23:00:00Z"):
        s.snapshot("vm", "1", when).finish()
    args = ["prune", top, "vm/1", "--keep-daily=9", "--dry-run", "--json"]
    for tz, n in (("UTC0", 1), ("EST5", 0)):
        said = json.loads(run(*args, env={"TZ": tz}).stdout)
        assert said["removed"] == n, tz


def test_what_is_refused(tmp):
    top = fill(f"{tmp}/store")
    for args, said in (
            (["vm/1"], "nothing says what to keep"),
            (["vm/1", "--keep-last=0"], "nothing says what to keep"),
            (["vm/1/2024-01-01T12:00:00Z", "--keep-last=1"], "not the path"),
            (["vm", "--keep-last=1"], "not the path"),
            (["vm/1", "--keep-last=-1"], "keep-last"),
            (["vm/1", "--keep-lost=1"], "keep-lost")):
        p = run("prune", top, *args, check=False)
        assert p.returncode == 2 and said in p.stderr, args
    for args in (["vm/2"], ["ns/b"]):
        p = run("prune", top, *args, "--keep-last=1", check=False)
        assert p.returncode == 1 and "there is no such" in p.stderr
    assert days(top, "vm/1") == [1, 2, 3, 4, 5]


def test_one_that_cannot_go(tmp):
    """The others go, and the exit status tells."""
    top = fill(f"{tmp}/store")
    with open(f"{tmp}/fault", "w") as f:
        f.write("delete *2024-01-02* error=EACCES\n")
    p = run("prune", top, "vm/1", "--keep-last=1", "-o",
            f"fault={tmp}/fault", check=False)
    assert p.returncode == 5
    assert "3 removed, 1 could not be removed" in p.stdout
    assert days(top, "vm/1") == [2, 5]


def test_rules_in_the_configuration(tmp):
    top = fill(f"{tmp}/store")
    with open(f"{tmp}/conf", "w") as f:
        f.write(f"[s]\nbackend=dir\npath={top}\nkeep-last=3\n")
    os.chmod(f"{tmp}/conf", 0o600)
    run("prune", "s", "vm/1", "--config", f"{tmp}/conf")
    assert days(top, "vm/1") == [3, 4, 5]
    run("prune", "s", "vm/1", "--config", f"{tmp}/conf", "--keep-last=1")
    assert days(top, "vm/1") == [5]


def test_in_a_bucket(tmp, new_bucket):
    top = fill(f"{tmp}/store")
    b = new_bucket(fixtures.store_objects(top, "store"))
    opts = ["-o", ",".join([*b.options(), f"cache={tmp}/c", f"state={tmp}/s"])]
    mark = b.gateway.mark()
    run("prune", b.store, "--keep-last=2", "-n", "-R", *opts)
    # Who only looks sends nothing else.
    assert b.gateway.counts(mark) == {"LIST": 1}
    run("prune", b.store, "--keep-last=2", "-R", *opts)
    keys = [o["Key"] for o in b.gateway.client().list_objects_v2(
        Bucket=b.name)["Contents"]]
    for group, want in (("vm/1", "45"), ("vm/10", "145"),
                        ("ns/a/vm/1", "45"), ("ns/a/ns/b/vm/1", "45")):
        at = f"store/.cnt/{group}/2024-01-0"
        assert sorted({k[len(at)] for k in keys if k.startswith(at)}) == \
            list(want), group


def test_beside_a_writing_mount(tmp, mounts):
    """Its daemon does it, and shows it; what current was made of stays."""
    top = fill(f"{tmp}/store")
    m = mounts(top, f"state={tmp}/s", mode="rw")
    with open(m / "vm/1/current/a.conf", "a") as f:
        f.write("changed")
    opts = ["-o", f"state={tmp}/s"]
    assert days(m.path, "vm/1") == [1, 2, 3, 4, 5]
    run("prune", top, "--keep-last=2", "-R", *opts)
    for group, want in (("vm/1", [4, 5]), ("ns/a/vm/1", [4, 5])):
        assert days(top, group) == want
        assert days(m.path, group) == want
    base = "vm/1/2024-01-05T12:00:00Z"
    p = run("forget", top, base, "vm/1/2024-01-04T12:00:00Z", *opts,
            check=False)
    assert p.returncode == 1 and "current/ is based on it" in p.stderr
    assert days(top, "vm/1") == [5] == days(m.path, "vm/1")
    run("protect", top, "on", base, *opts)
    assert os.getxattr(m / base, "user.pbs3fs.protected") == b"1"
    p = run("forget", top, "vm/10", "ns/a", "-R", *opts, check=False)
    assert p.returncode == 5 and "protected" in p.stderr
    assert not os.path.exists(m / "ns/a")
    assert days(m.path, "vm/10") == [1]
