# SPDX-License-Identifier: GPL-3.0-or-later
"""
Which snapshots Proxmox Backup's prune keeps: section 12.2 of the format
document, word by word, and none of the program's code.
"""
import contextlib
import datetime
import os
import time

RULES = "last", "hourly", "daily", "weekly", "monthly", "yearly"


@contextlib.contextmanager
def zone(tz):
    """The local time zone, meanwhile."""
    old = os.environ.get("TZ")
    os.environ["TZ"] = tz
    time.tzset()
    try:
        yield
    finally:
        if old is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = old
        time.tzset()


def period(rule, when):
    """What a snapshot of that time stands for."""
    if rule == "last":
        return when
    t = time.localtime(when)
    day = datetime.date(t.tm_year, t.tm_mon, t.tm_mday)
    return {
        "hourly": (day, t.tm_hour),
        "daily": day,
        "weekly": tuple(day.isocalendar())[:2],
        "monthly": (day.year, day.month),
        "yearly": day.year,
    }[rule]


def prune(snapshots, keep):
    """
    snapshots: {time: (finished, protected)}; keep: {rule: number}.  What
    becomes of each: {time: (mark, rule)}.
    """
    order = sorted(snapshots, reverse=True)
    mark = {}
    maybe_running = True
    for when in order:
        finished, _ = snapshots[when]
        if not finished:
            mark[when] = ("keep-partial" if maybe_running
                          else "remove-partial", "")
        maybe_running = False
    for rule in RULES:
        if not keep.get(rule):
            continue
        done = {period(rule, t) for t, (m, _) in mark.items() if m == "keep"}
        seen = set()
        for when in order:
            if when in mark:
                continue
            if snapshots[when][1]:
                mark[when] = "protected", ""
                continue
            p = period(rule, when)
            if p in done:
                continue
            if p in seen:
                mark[when] = "remove", ""
                continue
            if len(seen) >= keep[rule]:
                break
            seen.add(p)
            mark[when] = "keep", "keep-" + rule
    return {when: ("protected", "") if snapshots[when][1]
            else mark.get(when, ("remove", "")) for when in order}
