/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Garbage collection beside writers: doc/GC.md, which has the names of what is
 * here.  One chunk, because nothing in the protocol connects two of them.  Two
 * writers of one process, who upload the chunk, or find that it is known, and
 * refer to it from a journal, a snapshot, or first one and then the other; one
 * who learns known chunks from snapshots; one who forgets snapshots; a
 * collector in a process of its own.  The process of the writers and the
 * collector may die at any step, and begin again with what is on disk.  There
 * is no cutoff: the chunk is as old as it needs to be.
 *
 * What must hold: a finished snapshot, or a record in a journal, never refers
 * to a chunk that is not in the store.
 *
 * Each of these makes it wrong, and has to be found:
 *	MARK_LATE	the chunk is marked when it is in the store
 *	MARK_EARLY	the mark goes before what refers to the chunk is there
 *	BEGIN_LATE	the collector says that it begins after it has listed
 *	END_EARLY	marks are not kept while it is at work
 *	NO_JOURNALS	it does not read journals
 *	KEEP_KNOWN	what is condemned stays known
 *	KEEP_KNOWN_FILE	... in the file
 *	NO_ERA		an index that was read before is learnt later
 *	NO_WAIT		who marks what is condemned does not wait
 *	NO_GRACE	what was not answered is taken for done
 *	NO_FILE		what is condemned is not kept over a crash
 */

#ifndef SNAPS
#define SNAPS 2		/* there ever are; 3 at most */
#endif
#ifndef FORGETS
#define FORGETS 1	/* of the first two */
#endif
#ifndef DEATHS
#define DEATHS 1	/* of the writers' process or a collector */
#endif

/* The store. */
bool present;
bool flying;		/* a delete was sent, and not carried out yet */
bool late;		/* a put likewise, that nobody waits for any more */
bool index_of[3];
bool finished[3];
byte made;		/* snapshots, so far */

/* The state directory. */
bool journal;
bool known_file;
bool doomed_file;

/* The process of the writers. */
bool up = true;
bool known;
bool hold[2];
bool marked;
bool needs[2];		/* holds that were there when it was marked */
bool collecting;
bool doomed, grace;
bool stale;		/* some were condemned since the learner looked */

/* The collector's. */
bool linked;		/* to the process that it has begun with */
bool permit;		/* to send a delete; it has a deadline */

bool kill_gc;
byte gone;		/* threads that have noticed that they are dead */
byte deaths;

#define REFERRED (finished[0] || finished[1] || finished[2] || \
	journal)

inline tidy()
{
#ifdef END_EARLY
	if
	:: !needs[0] && !needs[1] -> marked = false
	:: else
	fi
#else
	if
	:: !needs[0] && !needs[1] && !collecting -> marked = false
	:: else
	fi
#endif
}

inline release(w)
{
	d_step {
		hold[w] = false;
		needs[w] = false;
		tidy()
	}
}

/* Holds, and marks. */
inline mark(w)
{
	atomic {
#ifdef NO_WAIT
		true;
#else
		!doomed && !grace;
#endif
		hold[w] = true;
		marked = true;
		needs[0] = hold[0];
		needs[1] = hold[1]
	}
}

/* The chunk gets into the store, or is there; or there is an error. */
inline upload(w)
{
	have = false;
	if
	:: known -> have = true
	:: !known ->
		if
		:: present = true;
			/* It was answered. */
			atomic {
				known = true;
				known_file = true;
				have = true
			}
		:: late = true
		fi
	fi
}

inline get_chunk(w)
{
#ifdef MARK_LATE
	upload(w);
	mark(w);
#else
	mark(w);
	upload(w);
#endif
#ifdef MARK_EARLY
	release(w);
#endif
}

/* Who dies forgets all. */
inline die(order)
{
	!up;
	atomic {
		gone == order -> gone++;
		have = false;
		s = 0
	};
	up
}

proctype writer(byte w)
{
	byte s;
	bool have;

again:
	{
end:		do
		:: w == 0 && !journal && made < SNAPS ->	/* a spill job */
			get_chunk(w);
			if
			:: have ->
				atomic { journal = true; assert(present) }
			:: else
			fi;
			release(w);
			have = false
		:: made < SNAPS ->			/* a publish */
			get_chunk(w);
			if
			:: have ->
				if
				:: atomic {
						made < SNAPS -> s = made;
						made++;
						index_of[s] = true
					};
					atomic {
						finished[s] = true;
						assert(present)
					};
					if
					:: w == 0 -> journal = false
					:: else
					fi
				:: made == SNAPS
				fi
			:: else
			fi;
			release(w);
			have = false;
			s = 0
		od
	} unless {
		die(w)
	};
	goto again
}

proctype learner()
{
	byte s;
	bool have;

again:
	{
end:		do
		:: !known ->
			/* The era; then whether there is a snapshot. */
			stale = false;
			if
			:: finished[0] || finished[1] || finished[2] ->
#ifdef NO_ERA
				known = true
#else
				atomic {
					if
					:: !stale -> known = true
					:: else
					fi
				}
#endif
			:: else
			fi
		od
	} unless {
		die(2)
	};
	goto again
}

/* While the writers die nobody else need move: it makes no difference whether
 * he does so before or after. */
proctype forgetter() provided (up)
{
	byte n;

end:	do
	:: atomic { n < FORGETS && finished[0] -> finished[0] = false; n++ };
		index_of[0] = false
	:: atomic { n < FORGETS && finished[1] -> finished[1] = false; n++ };
		index_of[1] = false
	od
}

/* What networks and clocks do. */
proctype world() provided (up)
{
end:	do
	:: atomic { late -> late = false; present = true }
	:: atomic {
			flying -> flying = false;
			present = false;
			assert(!REFERRED)
		}
	/* After a grace nothing is under way of before, nor sent. */
	:: atomic {
			grace -> grace = false;
			flying = false;
			permit = false
		}
	od
}

inline guard_end()
{
	atomic {
		if
		:: doomed ->
			doomed = false;
#ifndef NO_GRACE
			grace = true
#endif
		:: else
		fi;
		if
		:: !grace -> doomed_file = false
		:: else
		fi;
		collecting = false;
		linked = false;
		tidy()
	}
}

proctype gc() provided (up)
{
	bool refd, listed[3];
	byte s;

again:
	{
end:		do
		:: up && !collecting && present ->
#ifndef BEGIN_LATE
			atomic {
				up && !collecting ->
				collecting = true;
				linked = true
			};
#endif
#ifndef NO_JOURNALS
			refd = journal;
#endif
			d_step {
				s = 0;
				do
				:: s < SNAPS -> listed[s] = index_of[s]; s++
				:: else -> break
				od;
				s = 0
			};
			/* It reads them; one that is gone has nothing. */
			d_step {
				do
				:: s < SNAPS ->
					refd = refd || (listed[s] &&
					    index_of[s]);
					listed[s] = false;
					s++
				:: else -> break
				od;
				s = 0
			};
#ifdef BEGIN_LATE
			atomic {
				up && !collecting ->
				collecting = true;
				linked = true
			};
#endif
			if
			:: refd || !present -> goto over
			:: else
			fi;
			/* Condemned: from the first step on who marks waits. */
			atomic {
				if
				:: linked && !marked -> doomed = true
				:: else -> goto over
				fi
			};
			atomic {
				if
				:: linked ->
#ifndef KEEP_KNOWN
					known = false;
#ifndef KEEP_KNOWN_FILE
					known_file = false;
#endif
#endif
#ifndef NO_FILE
					doomed_file = true;
#endif
					stale = true
				:: else -> goto over
				fi
			};
			atomic {
				if
				:: linked -> permit = true
				:: else -> goto over
				fi
			};
			/* The deadline was looked at. */
			atomic {
				if
				:: permit -> permit = false; flying = true
				:: else -> goto over
				fi
			};
			if
			:: !flying ->		/* answered */
				atomic {
					if
					:: linked ->
						doomed = false;
						if
						:: !grace -> doomed_file = false
						:: else
						fi
					:: else
					fi
				}
			:: true			/* the answer is lost */
			fi;
over:			atomic {
				refd = false;
				permit = false;
				if
				:: linked -> guard_end()
				:: else
				fi
			}
		od
	} unless {
		atomic {
			kill_gc -> kill_gc = false;
			refd = false;
			s = 0;
			listed[0] = false;
			listed[1] = false;
			listed[2] = false;
			permit = false;
			if
			:: linked -> guard_end()
			:: else
			fi
		}
	};
	goto again
}

proctype death()
{
end:	do
	:: atomic {
			deaths < DEATHS && up -> deaths++;
			up = false;
			marked = false;
			hold[0] = false;
			hold[1] = false;
			needs[0] = false;
			needs[1] = false;
			collecting = false;
			linked = false;
			doomed = false;
			grace = false;
			known = false;
			stale = true
		};
		/* It begins again. */
		atomic {
			gone == 3 -> gone = 0;
			known = known_file;
#ifndef NO_GRACE
			grace = doomed_file;
#endif
			up = true
		}
	:: atomic {
			deaths < DEATHS && !kill_gc -> deaths++;
			kill_gc = true
		};
		!kill_gc
	od
}

/* A store with one snapshot, of which an earlier process has uploaded the chunk
 * or not. */
init {
	atomic {
		present = true;
		index_of[0] = true;
		finished[0] = true;
		made = 1;
		if
		:: known_file = true; known = true
		:: true
		fi;
		run writer(0);
		run writer(1);
		run learner();
		run forgetter();
		run world();
		run gc();
		run death()
	}
}
