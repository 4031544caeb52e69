/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UNIT_MAINT_MOODY_H
#define UNIT_MAINT_MOODY_H

struct mortal;
struct moody;

/** moody_new(w): over w->mem. */
struct moody *moody_new(struct mortal *w);
/** mortal_save(w): called by it at the moment when a life ends: what is on
 * the disk now is what the next one finds. */
void mortal_save(struct mortal *w);

#endif
