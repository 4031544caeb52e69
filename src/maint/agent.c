/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/agent.h"

#include <stdlib.h>

void
agent_free(struct agent *a)
{
	if (a == NULL)
		return;
	free(a->state);
	free(a->identity);
	a->ops->free(a);
}
