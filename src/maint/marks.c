/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/marks.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/num.h"
#include "maint/digest_merge.h"
#include "maint/marks_dir.h"
#include "maint/marks_run.h"
#include "repo/known_set.h"

#define MEMORY_DEFAULT (64 * MIB)
#define MEMORY_MIN (256 * KIB)
/* In memory: itself, and twice a slot to find it by. */
#define DIGEST_COST 48
/* More are not read at once: each takes a file and a block of memory. */
#define FAN_IN 64
/* What qsort is given at once: it may take as much memory again. */
#define PIECE ((size_t)1 << 16)
#define COUNT_MAX (((size_t)1 << 30) - 1)

struct run_list {
	struct marks_run *v;	/* owned, and their files */
	size_t n, room;
};

struct reading {
	struct marks_reader *readers;	/* owned */
	struct digest_piece *pieces;	/* owned */
	struct digest_list **lists;	/* owned; of the two above */
	size_t n_readers, n_lists;
	struct digest_merge merge;
};

struct marks {
	bool has_dir;
	struct marks_dir dir;		/* if has_dir */
	size_t limit;			/* digests of set */
	struct known_set set;		/* not written yet */
	bool lasting;			/* set and parts are of sources */
	struct digest *sources;		/* owned: those */
	size_t n_sources, room_sources;
	struct run_list parts;		/* of what does not fit into set */
	struct run_list runs;		/* of sources, and for the next time */
	struct run_list loose;		/* of nothing that lasts */
	struct digest *kept;		/* owned, sorted: sources of runs that
					 * were there */
	size_t n_kept, room_kept;
	bool finished, counted;
	struct reading reading;
	struct marks_stats stats;
};

static int
list_add(struct run_list *l, const struct marks_run *run)
{
	if (l->n == l->room) {
		size_t room = MAX(2 * l->room, (size_t)16);
		struct marks_run *v = reallocarray(l->v, room, sizeof(*v));

		if (v == NULL)
			return -ENOMEM;
		l->v = v;
		l->room = room;
	}
	l->v[l->n++] = *run;
	return 0;
}

/* Takes run over. */
static int
list_take(struct run_list *l, struct marks_run *run)
{
	int r = list_add(l, run);

	if (r < 0)
		marks_run_close(run);
	return r;
}

static void
list_drop(struct run_list *l, size_t n)
{
	for (size_t i = 0; i < n; i++)
		marks_run_close(&l->v[i]);
	l->n -= n;
	if (l->n > 0)
		memmove(l->v, l->v + n, l->n * sizeof(*l->v));
}

static void
list_fini(struct run_list *l)
{
	list_drop(l, l->n);
	free(l->v);
	memset(l, 0, sizeof(*l));
}

static int
digests_add(struct digest **v, size_t *n, size_t *room, const struct digest *d)
{
	if (*n == *room) {
		size_t more = MAX(2 * *room, (size_t)64);
		struct digest *p = reallocarray(*v, more, sizeof(*p));

		if (p == NULL)
			return -ENOMEM;
		*v = p;
		*room = more;
	}
	(*v)[(*n)++] = *d;
	return 0;
}

static void
reading_fini(struct reading *x)
{
	digest_merge_fini(&x->merge);
	for (size_t i = 0; i < x->n_readers; i++)
		marks_reader_fini(&x->readers[i]);
	free(x->readers);
	free(x->pieces);
	free(x->lists);
	memset(x, 0, sizeof(*x));
}

/* Of what was put into set: each piece becomes sorted, and stays where it is;
 * the set cannot be asked any more. */
static void
sort_pieces(struct known_set *set)
{
	for (size_t i = 0; i < set->n; i += PIECE)
		qsort(set->v + i, MIN(PIECE, set->n - i), sizeof(*set->v),
		    digest_cmp);
}

/* n runs of each list from its beginning, and what is in set, sorted before;
 * set may be NULL. */
struct input {
	const struct run_list *lists[2];
	size_t n[2];
	const struct known_set *set;
	enum marks_part part;
};

static int
reading_init(struct reading *x, const struct input *in)
{
	size_t runs = in->n[0] + in->n[1], pieces = 0;
	int r = 0;

	memset(x, 0, sizeof(*x));
	if (in->set != NULL)
		pieces = in->set->n / PIECE + (in->set->n % PIECE != 0);
	x->readers = calloc(runs + 1, sizeof(*x->readers));
	x->pieces = calloc(pieces + 1, sizeof(*x->pieces));
	x->lists = calloc(runs + pieces + 1, sizeof(struct digest_list *));
	if (x->readers == NULL || x->pieces == NULL || x->lists == NULL)
		r = -ENOMEM;
	for (size_t i = 0; i < runs && r == 0; i++) {
		const struct marks_run *run = i < in->n[0] ?
		    &in->lists[0]->v[i] : &in->lists[1]->v[i - in->n[0]];

		r = marks_reader_init(&x->readers[i], run, in->part);
		if (r == 0) {
			x->n_readers++;
			x->lists[x->n_lists++] = &x->readers[i].l;
		}
	}
	for (size_t i = 0; i < pieces && r == 0; i++) {
		digest_piece_init(&x->pieces[i], in->set->v + i * PIECE,
		    MIN(PIECE, in->set->n - i * PIECE));
		x->lists[x->n_lists++] = &x->pieces[i].l;
	}
	if (r == 0)
		r = digest_merge_init(&x->merge, x->lists, x->n_lists);
	if (r < 0)
		reading_fini(x);
	return r;
}

static int
write_all(const struct input *in, struct marks_writer *w,
    int (*add)(struct marks_writer *w, const struct digest *d))
{
	struct reading x;
	struct digest d;
	int r;

	r = reading_init(&x, in);
	if (r < 0)
		return r;
	while ((r = digest_merge_next(&x.merge, &d)) == 0) {
		r = add(w, &d);
		if (r < 0)
			break;
	}
	reading_fini(&x);
	return r == 1 ? 0 : r;
}

static int
fail(const struct marks *m, int err)
{
	if (err == -EBADMSG)
		log_err("%s: a file in it is damaged since it was checked",
		    m->dir.path);
	else if (err != -ENOMEM)
		log_err("%s: cannot write to it: %s%s", m->dir.path,
		    strerror(-err), err == -ENOSPC || err == -EDQUOT ?
		    "\nhint: garbage collection keeps 32 bytes of each chunk "
		    "there" : "");
	return err;
}

/* What is in the set goes into a file without a name. */
static int
spill(struct marks *m)
{
	const struct input in = {.set = &m->set};
	struct marks_writer w;
	struct marks_run run;
	int r;

	if (m->set.n == 0)
		return 0;
	r = marks_dir_temp(&m->dir, &w);
	if (r < 0)
		return r;
	sort_pieces(&m->set);
	r = write_all(&in, &w, marks_writer_add);
	if (r == 0)
		r = marks_writer_finish(&w, &run);
	marks_writer_fini(&w);
	if (r < 0)
		return fail(m, r);
	known_set_clear(&m->set);
	return list_take(m->lasting ? &m->parts : &m->loose, &run);
}

/* So many of the first of l become one, at its end. */
static int
merge_first(struct marks *m, struct run_list *l, size_t n)
{
	const struct input in = {
	    .lists = {l, l}, .n = {n, 0}, .part = MARKS_DIGESTS};
	struct marks_writer w;
	struct marks_run run;
	int r;

	r = marks_dir_temp(&m->dir, &w);
	if (r < 0)
		return r;
	r = write_all(&in, &w, marks_writer_add);
	if (r == 0)
		r = marks_writer_finish(&w, &run);
	marks_writer_fini(&w);
	if (r < 0)
		return fail(m, r);
	list_drop(l, n);
	return list_take(l, &run);
}

static int
run_cmp(const void *a, const void *b)
{
	const struct marks_run *x = a, *y = b;

	return x->n < y->n ? -1 : x->n > y->n;
}

/* The smallest runs become one, with all their sources. */
static int
compact(struct marks *m)
{
	size_t n = MIN(m->runs.n, (size_t)FAN_IN);
	struct input in = {
	    .lists = {&m->runs, &m->runs}, .n = {n, 0}, .part = MARKS_SOURCES};
	struct marks_writer w;
	struct marks_run run;
	int r;

	qsort(m->runs.v, m->runs.n, sizeof(*m->runs.v), run_cmp);
	r = marks_dir_begin(&m->dir, &w);
	if (r < 0)
		return r;
	r = write_all(&in, &w, marks_writer_source);
	in.part = MARKS_DIGESTS;
	if (r == 0)
		r = write_all(&in, &w, marks_writer_add);
	if (r < 0)
		fail(m, r);
	else
		r = marks_dir_commit(&m->dir, &w, &run);
	marks_writer_fini(&w);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++)
		marks_dir_remove(&m->dir, &m->runs.v[i]);
	list_drop(&m->runs, n);
	return list_take(&m->runs, &run);
}

static int
write_sources(struct marks *m, struct marks_writer *w)
{
	int r = 0;

	qsort(m->sources, m->n_sources, sizeof(*m->sources), digest_cmp);
	for (size_t i = 0; i < m->n_sources && r == 0; i++)
		if (i == 0 || !digest_eq(&m->sources[i], &m->sources[i - 1]))
			r = marks_writer_source(w, &m->sources[i]);
	return r;
}

/* All that was added of sources so far becomes a run that stays. */
static int
seal(struct marks *m)
{
	struct input in = {.lists = {&m->parts, &m->parts},
	    .part = MARKS_DIGESTS, .set = &m->set};
	struct marks_writer w;
	struct marks_run run;
	int r = 0;

	if (m->n_sources == 0)
		return 0;
	while (r == 0 && m->parts.n > FAN_IN)
		r = merge_first(m, &m->parts, FAN_IN);
	if (r == 0)
		r = marks_dir_begin(&m->dir, &w);
	if (r < 0)
		return r;
	in.n[0] = m->parts.n;
	sort_pieces(&m->set);
	r = write_sources(m, &w);
	if (r == 0)
		r = write_all(&in, &w, marks_writer_add);
	if (r < 0)
		fail(m, r);
	else
		r = marks_dir_commit(&m->dir, &w, &run);
	marks_writer_fini(&w);
	if (r < 0)
		return r;
	known_set_clear(&m->set);
	list_drop(&m->parts, m->parts.n);
	m->n_sources = 0;
	r = list_take(&m->runs, &run);
	return r == 0 && m->runs.n >= 2 * FAN_IN ? compact(m) : r;
}

int
marks_new(const struct marks_opts *o, struct marks **ret)
{
	size_t memory = o->memory != 0 ? o->memory : (size_t)MEMORY_DEFAULT;
	struct marks *m = calloc(1, sizeof(*m));
	int r = 0;

	if (m == NULL)
		return -ENOMEM;
	m->has_dir = o->dir != NULL;
	m->limit = m->has_dir ?
	    MAX(memory, (size_t)MEMORY_MIN) / DIGEST_COST : COUNT_MAX;
	if (m->has_dir)
		r = marks_dir_open(&m->dir, o->dir);
	if (r < 0) {
		free(m);
		return r;
	}
	r = known_set_init(&m->set, COUNT_MAX + 1);
	if (r < 0) {
		marks_free(m);
		return r;
	}
	*ret = m;
	return 0;
}

void
marks_free(struct marks *m)
{
	if (m == NULL)
		return;
	reading_fini(&m->reading);
	list_fini(&m->parts);
	list_fini(&m->runs);
	list_fini(&m->loose);
	known_set_fini(&m->set);
	if (m->has_dir)
		marks_dir_close(&m->dir);
	free(m->sources);
	free(m->kept);
	free(m);
}

static int
keep_run(void *arg, struct marks_run *run)
{
	struct marks *m = arg;
	struct marks_reader x;
	const struct digest *v;
	size_t n;
	int r;

	r = marks_reader_init(&x, run, MARKS_SOURCES);
	while (r == 0 && (r = x.l.next(&x.l, &v, &n)) == 0)
		for (size_t i = 0; i < n && r == 0; i++)
			r = digests_add(&m->kept, &m->n_kept, &m->room_kept,
			    &v[i]);
	marks_reader_fini(&x);
	if (r != 1) {
		marks_run_close(run);
		return r;
	}
	m->stats.runs_kept++;
	r = list_take(&m->runs, run);
	return r == 0 && m->runs.n >= 2 * FAN_IN ? compact(m) : r;
}

int
marks_keep(struct marks *m, const struct digest *sources, size_t n)
{
	_cleanup_free_ struct digest *sorted = NULL;
	int r;

	assert(!m->lasting && m->runs.n == 0);
	if (!m->has_dir)
		return 0;
	sorted = calloc(n + 1, sizeof(*sorted));
	if (sorted == NULL)
		return -ENOMEM;
	if (n > 0)
		memcpy(sorted, sources, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), digest_cmp);
	r = marks_dir_load(&m->dir, sorted, n, keep_run, m);
	if (r < 0)
		return r;
	if (m->n_kept > 0)
		qsort(m->kept, m->n_kept, sizeof(*m->kept), digest_cmp);
	return 0;
}

static int
source_cmp(const void *a, const void *b)
{
	return memcmp(a, b, MARKS_SOURCE_LEN);
}

bool
marks_has_source(const struct marks *m, const struct digest *source,
    uint64_t *ret_value)
{
	const struct digest *d = m->n_kept > 0 ? bsearch(source, m->kept,
	    m->n_kept, sizeof(*m->kept), source_cmp) : NULL;

	if (d != NULL)
		*ret_value = get_le64(d->b + MARKS_SOURCE_LEN);
	return d != NULL;
}

int
marks_source(struct marks *m, const struct digest *source, uint64_t value)
{
	struct digest d;
	int r = 0;

	assert(!m->finished);
	if (!m->has_dir)
		return 0;
	if (!m->lasting && source != NULL)
		r = spill(m);
	else if (m->lasting && (source == NULL || m->parts.n > 0 ||
	    known_set_count(&m->set) > m->limit / 2))
		r = seal(m);
	if (r < 0)
		return r;
	m->lasting = source != NULL;
	if (source == NULL)
		return 0;
	d = *source;
	put_le64(d.b + MARKS_SOURCE_LEN, value);
	return digests_add(&m->sources, &m->n_sources, &m->room_sources, &d);
}

int
marks_add(struct marks *m, const struct digest *d)
{
	int r;

	assert(!m->finished);
	m->stats.added++;
	if (known_set_count(&m->set) >= m->limit) {
		r = m->has_dir ? spill(m) : -EOVERFLOW;
		if (r < 0)
			return r;
	}
	r = known_set_add(&m->set, d);
	return r < 0 ? r : 0;
}

int
marks_add_n(struct marks *m, const struct digest *d, size_t n)
{
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++)
		r = marks_add(m, &d[i]);
	return r;
}

int
marks_rewind(struct marks *m)
{
	const struct input in = {
	    .lists = {&m->runs, &m->loose},
	    .n = {m->runs.n, m->loose.n},
	    .part = MARKS_DIGESTS,
	    .set = &m->set,
	};

	assert(m->finished);
	reading_fini(&m->reading);
	if (!m->counted)
		m->stats.distinct = 0;
	return reading_init(&m->reading, &in);
}

int
marks_finish(struct marks *m)
{
	int r = 0;

	if (m->has_dir)
		r = m->lasting ? seal(m) : spill(m);
	while (r == 0 && m->runs.n > FAN_IN / 2)
		r = compact(m);
	while (r == 0 && m->loose.n > FAN_IN / 2)
		r = merge_first(m, &m->loose, m->loose.n < FAN_IN ?
		    m->loose.n : FAN_IN);
	if (r < 0)
		return r;
	m->finished = true;
	if (m->has_dir) {
		/* All is in files; this is much. */
		known_set_fini(&m->set);
		free(steal(&m->sources));
	} else {
		sort_pieces(&m->set);
	}
	free(steal(&m->kept));
	m->n_kept = 0;
	return marks_rewind(m);
}

int
marks_next(struct marks *m, struct digest *ret)
{
	int r = digest_merge_next(&m->reading.merge, ret);

	assert(m->finished);
	if (r == 1)
		m->counted = true;
	else if (r == 0 && !m->counted)
		m->stats.distinct++;
	else if (r < 0)
		fail(m, r);
	return r;
}

void
marks_stats(const struct marks *m, struct marks_stats *ret)
{
	*ret = m->stats;
	ret->runs = m->runs.n;
	for (size_t i = 0; i < m->runs.n; i++)
		ret->bytes += marks_run_size(&m->runs.v[i]);
}
