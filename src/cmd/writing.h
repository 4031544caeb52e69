/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CMD_WRITING_H
#define CMD_WRITING_H

#include <jansson.h>

struct agent;
struct control;
struct drafts;
struct ending;
struct gc_schedule;
struct guard;
struct known;
struct stack;
struct str;
struct uploads;
struct vfs;

/*
 * What a mount that can be written to has beside its stack.  Filled after the
 * repository was opened and claimed, and before the tree.
 */
struct writing {
	struct stack *s;	/* borrowed */
	char *dir;		/* owned: see state_dir.h */
	struct known *known;	/* owned, as are the following */
	struct guard *guard;
	struct uploads *uploads;
	struct drafts *drafts;
	struct ending *ending;
	struct agent *agent;
	struct gc_schedule *gc;		/* NULL: none */
	struct control *control;	/* commands ask the agent by it */
	struct vfs *_Atomic vfs;	/* borrowed: told of new snapshots */
};

/** writing_open(w, s): an exit status; messages are logged, also about what an
 * earlier mount has left. */
int writing_open(struct writing *w, struct stack *s);
/** writing_show(w): the stack has a tree now.  Other commands may ask for
 * changes from then on. */
void writing_show(struct writing *w);
/** writing_unmounted(w): what is told of it is in the state directory from now
 * on, until writing_finish has returned: a snapshot may still be under way. */
void writing_unmounted(struct writing *w);
/** writing_finish(w): nobody writes any more: sends what has been promised, and
 * says what stays for the next mount.  An exit status. */
int writing_finish(struct writing *w);
/** writing_close(w): shuts the stack's store down.  May be called at any stage,
 * and twice; before stack_close. */
void writing_close(struct writing *w);

/** writing_json(w): for status.json; NULL: no memory. */
json_t *writing_json(struct writing *w);

#endif
