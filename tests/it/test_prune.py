# SPDX-License-Identifier: GPL-3.0-or-later
"""Which snapshots are kept: against another implementation of the rules."""
import calendar
import json
import os
import random
import subprocess
import time

from conftest import need
from pbs3fs_test import retention
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
