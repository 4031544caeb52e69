/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UNIT_CM_H
#define UNIT_CM_H

/* cmocka wants these before it, in this order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
