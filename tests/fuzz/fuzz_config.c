/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cmd/conf_file.h"
#include "cmd/option.h"
#include "cmd/pbs_conf.h"

static int
one_property(void *arg, const char *key, const char *value)
{
	char out[32];

	(void)arg;
	pbs_conf_property(value, "type", "type", out, sizeof(out));
	pbs_conf_property(value, key, NULL, out, sizeof(out));
	return 0;
}

/* The configuration file, the backup server's own, and -o. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	struct options o;
	bool found;

	if (text == NULL || options_init(&o) < 0)
		abort();
	memcpy(text, data, size);
	text[size] = '\0';
	log_set_level(LOG_LVL_ERR);
	conf_file_parse(&o, text, "fuzz", "a", &found);
	option_parse_list(&o, text, OPTION_LIST_MOUNT);
	pbs_conf_section(text, "datastore", "a", one_property, NULL);
	options_fini(&o);
	free(text);
	return 0;
}
