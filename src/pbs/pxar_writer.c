/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pbs/pxar_writer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/num.h"
#include "pbs/pxar_format.h"
#include "pbs/pxar_priv.h"
#include "pbs/pxar_writer_priv.h"
#include "pbs/siphash.h"

#define NSEC_PER_SEC 1000000000
#define STREAM_MAX ((uint64_t)INT64_MAX / 2)

/* A directory that is open. */
struct level {
	uint64_t begin;		/* its FILENAME; none of the root */
	uint64_t entry;		/* what its tail goes back to */
	uint64_t hash;		/* of its name; none of the root */
	size_t first;		/* its first one in the items */
	size_t name;		/* where the name of its last entry is */
};

struct pxar_writer {
	int version;
	bool begun, done;
	struct pxar_out out;
	uint64_t left;		/* content of a file that is still to come */
	uint64_t last_ref;	/* offset of the last file; 0 before any */

	struct level *levels;	/* owned; the root first */
	size_t n_levels, room_levels;
	/* Of all open directories, one behind the other. */
	struct pxar_item *items;	/* owned */
	size_t n_items, room_items;
	/* The last name of each open directory, terminated, one behind the
	 * other; of the innermost there may be none yet. */
	char *names;		/* owned */
	size_t names_len, room_names;
};

static void
put_record(uint8_t out[PXAR_HEADER_SIZE], uint64_t type, uint64_t len)
{
	put_le64(out, type);
	put_le64(out + 8, PXAR_HEADER_SIZE + len);
}

void
pxar_payload_start(uint8_t out[PXAR_PAYLOAD_START_LEN])
{
	put_record(out, PXAR_PAYLOAD_START, 0);
}

void
pxar_payload_tail(uint8_t out[PXAR_PAYLOAD_START_LEN])
{
	put_record(out, PXAR_PAYLOAD_TAIL, 0);
}

void
pxar_payload_header(uint64_t size, uint8_t out[PXAR_PAYLOAD_HEADER_LEN])
{
	put_record(out, PXAR_PAYLOAD, size);
}

int
pxar_writer_new(int version, const struct pxar_sink *sink,
    struct pxar_writer **ret)
{
	struct pxar_writer *w;

	if (version != 1 && version != 2)
		return -EINVAL;
	w = calloc(1, sizeof(*w));
	if (w == NULL)
		return -ENOMEM;
	w->version = version;
	w->out.sink = *sink;
	*ret = w;
	return 0;
}

void
pxar_writer_free(struct pxar_writer *w)
{
	if (w == NULL)
		return;
	free(w->levels);
	free(w->items);
	free(w->names);
	free(w);
}

uint64_t
pxar_writer_size(const struct pxar_writer *w)
{
	return w->out.pos - w->out.fill;
}

bool
pxar_writer_is_done(const struct pxar_writer *w)
{
	return w->done && w->out.error == 0;
}

/* Room for so many in an array of elements of that size. */
static int
make_room(void *array, size_t *room, size_t need, size_t size)
{
	size_t more;
	void *p;

	if (need <= *room)
		return 0;
	more = MAX(need, *room + *room / 2 + 16);
	memcpy(&p, array, sizeof(p));
	p = reallocarray(p, more, size);
	if (p == NULL)
		return -ENOMEM;
	memcpy(array, &p, sizeof(p));
	*room = more;
	return 0;
}

static struct level *
innermost(struct pxar_writer *w)
{
	return &w->levels[w->n_levels - 1];
}

/* What holds for an entry of any type. */
static int
check_entry(const struct pxar_entry *e)
{
	if ((e->mode & ~(uint32_t)(S_IFMT | 07777)) != 0 ||
	    e->mtime_nsec >= NSEC_PER_SEC)
		return -EINVAL;
	return e->meta != NULL ? pxar_writer_check_meta(e->meta) : 0;
}

/*
 * Makes room for one more entry of the innermost directory and notes its name,
 * so that nothing is left to fail once its first byte is out.
 */
static int
take_name(struct pxar_writer *w, const char *name, size_t len)
{
	struct level *l = innermost(w);
	int r;

	if (len > PXAR_NAME_MAX)
		return -ENAMETOOLONG;
	if (!pxar_name_is_valid(name, len))
		return -EINVAL;
	/* An entry has a name, so this is the last one's if there is one. */
	if (l->name < w->names_len && strcmp(w->names + l->name, name) >= 0)
		return -EINVAL;
	if (w->n_items - l->first >= PXAR_DIR_MAX)
		return -EOVERFLOW;
	r = make_room(&w->items, &w->room_items, w->n_items + 1,
	    sizeof(*w->items));
	if (r == 0)
		r = make_room(&w->names, &w->room_names, l->name + len + 1, 1);
	if (r < 0)
		return r;
	memcpy(w->names + l->name, name, len + 1);
	w->names_len = l->name + len + 1;
	return 0;
}

/* Whether another entry may begin, and the entry that it is; its FILENAME. */
static int
begin(struct pxar_writer *w, const char *name, const struct pxar_entry *e)
{
	size_t len = strlen(name);
	int r;

	if (w->out.error < 0)
		return w->out.error;
	if (w->n_levels == 0 || w->left > 0)
		return -EINVAL;
	r = e != NULL ? check_entry(e) : 0;
	if (r == 0)
		r = take_name(w, name, len);
	if (r == 0)
		pxar_out_text(&w->out, PXAR_FILENAME, name, len);
	return r;
}

static void
put_entry(struct pxar_writer *w, const struct pxar_entry *e)
{
	struct pxar_out *o = &w->out;

	pxar_out_head(o, PXAR_ENTRY, PXAR_ENTRY_SIZE);
	pxar_out_put64(o, e->mode);
	pxar_out_put64(o, e->flags);
	pxar_out_put32(o, e->uid);
	pxar_out_put32(o, e->gid);
	pxar_out_put64(o, (uint64_t)e->mtime_sec);
	pxar_out_put32(o, e->mtime_nsec);
	pxar_out_put32(o, 0);
	if (e->meta != NULL)
		pxar_writer_meta(o, e->meta);
}

static uint64_t
hash_of(const char *name)
{
	return siphash_24(PXAR_HASH_K0, PXAR_HASH_K1, name, strlen(name));
}

static void
add_item(struct pxar_writer *w, uint64_t hash, uint64_t pos, uint64_t size)
{
	w->items[w->n_items++] = (struct pxar_item){hash, pos, size};
}

/* Ends every call: what it has written is the sink's, and an error stays. */
static int
end(struct pxar_writer *w, int r)
{
	if (r < 0 && w->out.error == 0)
		w->out.error = r;
	pxar_out_flush(&w->out);
	return w->out.error;
}

static int
end_at(struct pxar_writer *w, int r, uint64_t pos, uint64_t *ret_pos)
{
	r = end(w, r);
	if (r == 0 && ret_pos != NULL)
		*ret_pos = pos;
	return r;
}

/* With room for it made before. */
static void
push(struct pxar_writer *w, uint64_t pos, uint64_t entry, uint64_t hash)
{
	w->levels[w->n_levels++] = (struct level){
	    .begin = pos,
	    .entry = entry,
	    .hash = hash,
	    .first = w->n_items,
	    .name = w->names_len,
	};
}

static int
write_root(struct pxar_writer *w, const struct pxar_entry *e)
{
	int r;

	if (w->out.error < 0)
		return w->out.error;
	if (w->begun || !S_ISDIR(e->mode))
		return -EINVAL;
	r = check_entry(e);
	if (r == 0)
		r = make_room(&w->levels, &w->room_levels, 1,
		    sizeof(*w->levels));
	if (r < 0)
		return r;
	w->begun = true;
	if (w->version == 2) {
		pxar_out_head(&w->out, PXAR_FORMAT_VERSION, 8);
		pxar_out_put64(&w->out, 2);
	}
	put_entry(w, e);
	/* Its tail goes back to the very start, whatever is before the
	 * ENTRY. */
	push(w, 0, 0, 0);
	return 0;
}

int
pxar_writer_root(struct pxar_writer *w, const struct pxar_entry *e)
{
	return end(w, write_root(w, e));
}

static int
write_dir(struct pxar_writer *w, const char *name, const struct pxar_entry *e)
{
	uint64_t pos = w->out.pos, entry;
	int r;

	if (!S_ISDIR(e->mode))
		return -EINVAL;
	r = make_room(&w->levels, &w->room_levels, w->n_levels + 1,
	    sizeof(*w->levels));
	if (r == 0)
		r = begin(w, name, e);
	if (r < 0)
		return r;
	entry = w->out.pos;
	put_entry(w, e);
	push(w, pos, entry, hash_of(name));
	return 0;
}

int
pxar_writer_dir(struct pxar_writer *w, const char *name,
    const struct pxar_entry *e)
{
	return end(w, write_dir(w, name, e));
}

static int
write_dir_end(struct pxar_writer *w)
{
	struct level *l;

	if (w->out.error < 0)
		return w->out.error;
	if (w->n_levels == 0 || w->left > 0)
		return -EINVAL;
	l = innermost(w);
	/* Without any entry in the archive there are no items. */
	pxar_writer_goodbye(&w->out,
	    w->n_items > 0 ? w->items + l->first : NULL,
	    w->n_items - l->first, l->entry);
	w->n_items = l->first;
	w->n_levels--;
	if (w->n_levels == 0)
		w->done = true;
	else
		add_item(w, l->hash, l->begin, w->out.pos - l->begin);
	return 0;
}

int
pxar_writer_dir_end(struct pxar_writer *w, uint64_t *ret_pos)
{
	uint64_t pos = w->out.pos;

	return end_at(w, write_dir_end(w), pos, ret_pos);
}

static int
write_file_ref(struct pxar_writer *w, const char *name,
    const struct pxar_entry *e, uint64_t offset)
{
	uint64_t pos = w->out.pos, last;
	int r;

	if (w->version != 2 || !S_ISREG(e->mode) ||
	    offset < PXAR_PAYLOAD_START_LEN || offset <= w->last_ref ||
	    __builtin_add_overflow(offset, e->size, &last) ||
	    __builtin_add_overflow(last, PXAR_PAYLOAD_HEADER_LEN, &last) ||
	    last > INT64_MAX)
		return -EINVAL;
	r = begin(w, name, e);
	if (r < 0)
		return r;
	put_entry(w, e);
	pxar_out_head(&w->out, PXAR_PAYLOAD_REF, 16);
	pxar_out_put64(&w->out, offset);
	pxar_out_put64(&w->out, e->size);
	w->last_ref = offset;
	/* Proxmox Backup counts the content in, though it is elsewhere. */
	add_item(w, hash_of(name), pos, w->out.pos - pos + e->size);
	return 0;
}

int
pxar_writer_file_ref(struct pxar_writer *w, const char *name,
    const struct pxar_entry *e, uint64_t offset, uint64_t *ret_pos)
{
	uint64_t pos = w->out.pos;

	return end_at(w, write_file_ref(w, name, e, offset), pos, ret_pos);
}

static int
write_file(struct pxar_writer *w, const char *name, const struct pxar_entry *e)
{
	uint64_t pos = w->out.pos;
	int r;

	if (w->version != 1 || !S_ISREG(e->mode))
		return -EINVAL;
	/* Leaves room for the attributes of this entry and for the tables. */
	if (e->size > STREAM_MAX || pos > STREAM_MAX - e->size)
		return -EFBIG;
	r = begin(w, name, e);
	if (r < 0)
		return r;
	put_entry(w, e);
	pxar_out_head(&w->out, PXAR_PAYLOAD, e->size);
	w->left = e->size;
	add_item(w, hash_of(name), pos, w->out.pos - pos + e->size);
	return 0;
}

int
pxar_writer_file(struct pxar_writer *w, const char *name,
    const struct pxar_entry *e, uint64_t *ret_pos)
{
	uint64_t pos = w->out.pos;

	return end_at(w, write_file(w, name, e), pos, ret_pos);
}

int
pxar_writer_data(struct pxar_writer *w, const void *p, size_t len)
{
	if (w->out.error < 0)
		return w->out.error;
	if (len > w->left)
		return end(w, -EINVAL);
	w->left -= len;
	pxar_out_pass(&w->out, p, len);
	return end(w, 0);
}

static int
check_node(const struct pxar_entry *e)
{
	size_t len;

	switch (e->mode & S_IFMT) {
	case S_IFLNK:
		len = e->target != NULL ? strlen(e->target) : 0;
		if (len > PXAR_TARGET_MAX)
			return -ENAMETOOLONG;
		return len > 0 ? 0 : -EINVAL;
	case S_IFBLK:
	case S_IFCHR:
	case S_IFIFO:
	case S_IFSOCK:
		return 0;
	default:
		return -EINVAL;
	}
}

static int
write_node(struct pxar_writer *w, const char *name, const struct pxar_entry *e)
{
	uint64_t pos = w->out.pos;
	int r;

	r = check_node(e);
	if (r == 0)
		r = begin(w, name, e);
	if (r < 0)
		return r;
	put_entry(w, e);
	if (S_ISLNK(e->mode)) {
		pxar_out_text(&w->out, PXAR_SYMLINK, e->target,
		    strlen(e->target));
	} else if (S_ISBLK(e->mode) || S_ISCHR(e->mode)) {
		pxar_out_head(&w->out, PXAR_DEVICE, 16);
		pxar_out_put64(&w->out, e->dev_major);
		pxar_out_put64(&w->out, e->dev_minor);
	}
	add_item(w, hash_of(name), pos, w->out.pos - pos);
	return 0;
}

int
pxar_writer_node(struct pxar_writer *w, const char *name,
    const struct pxar_entry *e, uint64_t *ret_pos)
{
	uint64_t pos = w->out.pos;

	return end_at(w, write_node(w, name, e), pos, ret_pos);
}

static int
write_hardlink(struct pxar_writer *w, const char *name, uint64_t target,
    const char *path)
{
	uint64_t pos = w->out.pos;
	size_t len = strlen(path);
	int r;

	if (target >= pos || !pxar_name_path_is_valid(path, len))
		return -EINVAL;
	if (len > PXAR_TARGET_MAX)
		return -ENAMETOOLONG;
	r = begin(w, name, NULL);
	if (r < 0)
		return r;
	pxar_out_head(&w->out, PXAR_HARDLINK, 8 + len + 1);
	pxar_out_put64(&w->out, pos - target);
	pxar_out_put(&w->out, path, len + 1);
	add_item(w, hash_of(name), pos, w->out.pos - pos);
	return 0;
}

int
pxar_writer_hardlink(struct pxar_writer *w, const char *name, uint64_t pos,
    const char *path)
{
	return end(w, write_hardlink(w, name, pos, path));
}
