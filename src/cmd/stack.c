/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/stack.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "cmd/cache_dir.h"
#include "cmd/exits.h"
#include "cmd/keys.h"
#include "cmd/master.h"
#include "cmd/option.h"
#include "cmd/pbs_conf.h"
#include "cmd/state_dir.h"
#include "pbs/keyring.h"
#include "repo/claim.h"
#include "repo/repo.h"
#include "s3/cred.h"
#include "s3/s3.h"
#include "store/backends.h"
#include "store/filters.h"
#include "vfs/vfs.h"

/* One attempt takes no longer than this, so that there is time for another. */
#define ATTEMPT_MS_MAX 30000

/* A directory is asked for nothing, whatever buckets cost, unless its own
 * section says so. */
static void
drop_prices(struct options *o)
{
	static const char *const names[] = {"price-list", "price-get",
	    "price-put", "price-delete", "price-out", "price-in"};
	uint64_t *price[] = {&o->price.list, &o->price.get, &o->price.put,
	    &o->price.del, &o->price.out, &o->price.in};

	_Static_assert(ARRAY_SIZE(names) == ARRAY_SIZE(price), "of all");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (option_by(o, names[i]) == OPTION_BY_CONFIG)
			*price[i] = 0;
	if (option_by(o, "currency") == OPTION_BY_CONFIG)
		free(steal(&o->currency));
}

int
stack_name(struct stack *s, struct options *o, const char *store)
{
	int r;

	memset(s, 0, sizeof(*s));
	s->o = o;
	r = target_parse(store, o, &s->t);
	if (r == 0 && !s->t.is_s3)
		drop_prices(o);
	if (r == 0)
		return EXIT_OK;
	return r == -EPERM || r == -EACCES ? EXIT_DENIED : EXIT_USAGE;
}

/*
 * File, then what s3.cfg says, then a profile that was asked for, then the
 * environment, then the profile that AWS's tools take by themselves.
 */
static int
find_keys(struct stack *s)
{
	const struct options *o = s->o;
	const char *profile = getenv("AWS_PROFILE");
	int r;

	if (o->credentials != NULL)
		return s3_cred_file(o->credentials, &s->cred);
	if (s->t.access != NULL && s->t.secret != NULL)
		return s3_cred_static(s->t.access, s->t.secret, NULL,
		    &s->cred);
	if (o->profile != NULL) {
		r = s3_cred_profile(o->profile, &s->cred);
		if (r != 1)
			return r;
		log_err("profile %s: not in the AWS files", o->profile);
		return -ENOENT;
	}
	r = s3_cred_env(&s->cred);
	if (r == 1)
		r = s3_cred_profile(profile != NULL ? profile : "default",
		    &s->cred);
	if (r == 1) {
		log_info("%s: no credentials were found, asking without",
		    s->t.name);
		r = 0;
	}
	return r;
}

static const char *
region(const struct options *o)
{
	const char *r = o->region;

	if (r == NULL)
		r = getenv("AWS_REGION");
	if (r == NULL)
		r = getenv("AWS_DEFAULT_REGION");
	return r;
}

static int
open_s3(struct stack *s)
{
	const struct options *o = s->o;
	struct s3_opts so = {
	    .endpoint = o->endpoint,
	    .port = (unsigned)o->port,
	    .region = region(o),
	    .bucket = s->t.bucket,
	    .path_style = o->path_style,
	    .insecure_http = o->insecure_http,
	    .ca_file = o->ca,
	    .fingerprint = o->fingerprint,
	    .proxy = o->proxy,
	    .timeout_ms = (unsigned)MIN(o->timeout, ATTEMPT_MS_MAX),
	    .list_timeout_ms = (unsigned)o->timeout,
	    .connect_timeout_ms = (unsigned)o->connect_timeout,
	    .retries = (unsigned)o->retries,
	    .no_retries = o->retries == 0,
	    .request_rate = o->request_rate,
	    .rate_in = o->rate_in,
	    .rate_out = o->rate_out,
	    .skip_if_none_match = o->skip_if_none_match,
	    .no_multi_delete = o->no_multi_delete,
	};
	int r;

	if (o->endpoint == NULL) {
		log_err("%s: no endpoint was given\n"
			"hint: -o endpoint=https://s3.example.com; for AWS "
			"{{bucket}}.s3.{{region}}.amazonaws.com",
		    s->t.name);
		return -EINVAL;
	}
	r = find_keys(s);
	if (r < 0)
		return r;
	so.cred = s->cred;
	r = s3_new(&so, &s->s3);
	if (r < 0)
		return r;
	r = store_s3_new(s->s3, s->t.datastore, &s->store);
	if (r < 0) {
		s3_free(s->s3);
		s->s3 = NULL;
	}
	return r;
}

static int
open_dir(struct stack *s)
{
	struct store *below;
	int r;

	r = store_dir_new(s->t.path, &below);
	if (r < 0)
		return r;
	r = store_count_new(below, &s->store);
	if (r < 0)
		store_free(below);
	return r;
}

static int
add_filters(struct stack *s)
{
	const struct options *o = s->o;
	int r = 0;

	if (o->max_requests != 0 || o->max_download != 0)
		r = store_limit_new(s->store, o->max_requests,
		    o->max_download, &s->store);
	if (r == 0 && !o->write && !s->write)
		r = store_ro_new(s->store, &s->store);
	if (r == 0 && o->fault != NULL)
		r = store_fault_new(s->store, o->fault, &s->store);
	if (r == 0 && o->debug)
		r = store_log_new(s->store, &s->store);
	return r;
}

int
stack_open_keys(struct stack *s)
{
	return keys_load(s->o, &s->keys);
}

int
stack_open_key(struct stack *s)
{
	const struct options *o = s->o;
	int status;

	status = keys_choose(o, s->keys, &s->key);
	if (status != EXIT_OK || o->master_pubkey == NULL)
		return status;
	if (s->key != NULL)
		return master_seal(o->master_pubkey, s->key, &s->key_blob);
	log_warn("%s: master-pubkey is of no use without crypt\n"
	    "hint: crypt=encrypt", s->t.name);
	return EXIT_OK;
}

int
stack_open_store(struct stack *s)
{
	int r;

	r = s->t.is_s3 ? open_s3(s) : open_dir(s);
	if (r == 0)
		r = add_filters(s);
	if (r == -ENOMEM)
		log_err("%s", exits_why(r));
	return r == -EINVAL ? EXIT_USAGE : exits_of(r);
}

/* A cache that cannot be used costs speed, nothing else; one that belongs to
 * another store would give wrong answers. */
static int
add_cache(struct stack *s)
{
	struct store_cache_opts co = {.floor = s->o->cache_floor};
	char data[PATH_MAX];
	int r;

	if (!s->t.is_s3 || (option_is_set(s->o, "cache-size") &&
	    s->o->cache_size == 0))
		return 0;
	if (s->o->cache != NULL) {
		s->cache_dir = strdup(s->o->cache);
		r = s->cache_dir == NULL ? -ENOMEM : 0;
	} else {
		r = cache_dir_default(s->o, &s->t, &s->cache_dir);
	}
	if (r != 0)
		return r < 0 ? r : 0;
	r = cache_dir_prepare(s->cache_dir, s->o, &s->t, &co.limit);
	if (r == -EEXIST || r == -ENOMEM)
		return r;
	if (snprintf(data, sizeof(data), "%s/" CACHE_DIR_DATA,
	    s->cache_dir) >= PATH_MAX)
		return -ENAMETOOLONG;
	co.dir = data;
	if (r == 0)
		r = store_cache_new(s->store, &co, &s->store);
	if (r < 0) {
		log_warn("%s: going on without a cache", s->t.name);
		free(steal(&s->cache_dir));
	}
	return 0;
}

/* Of a server that has the same directory; 1 if there is none. */
static int
find_server_locks(const struct stack *s, char **ret)
{
	const char *conf = s->o->pbs_config != NULL ? s->o->pbs_config :
	    PBS_CONF_DIR;
	_cleanup_free_ char *real = NULL;
	int r;

	if (s->t.is_s3 || !s->write)
		return 1;
	r = pbs_conf_locks(conf, s->t.path, ret);
	if (r != 1)
		return r;
	real = realpath(s->t.path, NULL);
	return real == NULL ? 1 : pbs_conf_locks(conf, real, ret);
}

int
stack_open_repo(struct stack *s, bool kept_first)
{
	_cleanup_free_ char *locks = NULL;
	struct repo_opts ro = {
	    .keys = s->keys,
	    .name = s->t.name,
	    .memory = s->o->memory,
	    .fetchers = (unsigned)s->o->fetchers,
	    .decoders = (unsigned)s->o->decoders,
	    .timeout_ms = (unsigned)s->o->timeout,
	};
	char listing[PATH_MAX];
	int r;

	r = add_cache(s);
	if (r < 0)
		return r == -EEXIST ? EXIT_USAGE : exits_of(r);
	if (s->cache_dir != NULL && snprintf(listing, sizeof(listing),
	    "%s/" CACHE_DIR_LISTING, s->cache_dir) < PATH_MAX)
		ro.listing = listing;
	ro.kept_first = kept_first;
	r = find_server_locks(s, &locks);
	if (r < 0)
		return exits_of(r);
	ro.lock_dir = locks;
	r = repo_open(s->store, &ro, &s->repo);
	s->store = NULL;	/* it is the repository's, also on error */
	if (r < 0)
		s->s3 = NULL;
	return exits_of(r);
}

bool
stack_cannot_write(int err)
{
	return err == -EACCES || err == -EPERM || err == -EROFS;
}

/* One server has many spellings; the usual ones come to the same. */
static void
add_endpoint(const struct options *o, struct str *out)
{
	const char *e = o->endpoint != NULL ? o->endpoint : "";
	size_t len = strlen(e);

	while (len > 0 && e[len - 1] == '/')
		len--;
	for (size_t i = 0; i < len; i++)
		str_addc(out, (char)tolower((unsigned char)e[i]));
	if (o->port != 0)
		str_addf(out, ":%" PRIu64, o->port);
}

int
stack_identity(const struct stack *s, char **ret)
{
	struct str out = {0};

	if (!s->t.is_s3) {
		*ret = realpath(s->t.path, NULL);
		return *ret == NULL ? -errno : 0;
	}
	str_addf(&out, "s3://%s/%s at ", s->t.bucket, s->t.datastore);
	add_endpoint(s->o, &out);
	*ret = str_take(&out);
	return *ret == NULL ? -ENOMEM : 0;
}

int
stack_claim(struct stack *s)
{
	_cleanup_free_ char *identity = NULL, *state = NULL;
	struct claim_opts co = {
	    .name = s->t.name,
	    .takeover = s->o->takeover,
	    .has_open = state_dir_has_open,
	};
	int r;

	r = stack_identity(s, &identity);
	if (r == 0)
		r = state_dir_drafts(s, &state);
	if (r < 0) {
		log_err("%s: %s", s->t.name, exits_why(r));
		return r;
	}
	co.identity = identity;
	co.state = state;
	if (!s->t.is_s3)
		co.base = identity;
	return claim_take(s->repo != NULL ? repo_store(s->repo) : s->store,
	    &co, &s->claim);
}

int
stack_open_vfs(struct stack *s, bool mounting)
{
	const struct options *o = s->o;
	struct vfs_opts vo = {
	    .subdir = mounting ? o->subdir : NULL,
	    .set_uid = option_is_set(o, "uid"),
	    .set_gid = option_is_set(o, "gid"),
	    .uid = (uid_t)o->uid,
	    .gid = (gid_t)o->gid,
	    .umask = (mode_t)o->umask,
	    .all = o->all,
	    .links = o->hardlinks,
	    .drafts = s->drafts,
	    .owner = o->owner,
	    .disk = s->t.is_s3 ? NULL : s->t.path,
	};
	int r;

	r = vfs_new(s->repo, &vo, &s->vfs);
	if (r < 0 && vo.subdir == NULL)
		log_err("%s: %s", s->t.name, exits_why(r));
	return exits_of(r);
}

int
stack_open(struct stack *s, struct options *o, const char *store)
{
	int status;

	status = stack_name(s, o, store);
	if (status == EXIT_OK)
		status = stack_open_keys(s);
	if (status == EXIT_OK)
		status = stack_open_store(s);
	if (status == EXIT_OK)
		status = stack_open_repo(s, false);
	if (status == EXIT_OK)
		status = stack_open_vfs(s, false);
	return status;
}

void
stack_counts(const struct stack *s, struct store_counts *ret)
{
	if (s->repo != NULL)
		store_counts(repo_store(s->repo), ret);
	else if (s->store != NULL)
		store_counts(s->store, ret);
	else
		*ret = s->cost;
}

void
stack_close(struct stack *s)
{
	struct store_counts cost;

	stack_counts(s, &cost);
	s->cost = cost;
	vfs_free(s->vfs);
	s->vfs = NULL;
	claim_free(s->claim);
	s->claim = NULL;
	if (s->repo != NULL) {
		repo_shutdown(s->repo);
		repo_free(s->repo);
	} else if (s->store != NULL) {
		store_shutdown(s->store);
		store_free(s->store);
	}
	s->repo = NULL;
	s->store = NULL;
	s->s3 = NULL;
	s3_cred_free(s->cred);
	s->cred = NULL;
	s->key = NULL;
	buf_unref(steal(&s->key_blob));
	keyring_unref(steal(&s->keys));
	target_fini(&s->t);
	free(steal(&s->cache_dir));
}
