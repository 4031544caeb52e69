/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CMD_OPTION_H
#define CMD_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "cmd/price.h"
#include "vfs/vfs.h"

/*
 * All options of all commands, from wherever they come: the command line, -o,
 * the configuration file.  The table in option_table.c is the one place that
 * knows their names.
 */
#define OPTION_MAX 160	/* entries in the table at most */

/* Commands, for the table to say who has which option. */
enum {
	CMD_MOUNT = 1,
	CMD_UMOUNT = 2,
	CMD_LS = 4,
	CMD_CAT = 8,
	CMD_EXPORT = 16,
	CMD_CHECK = 32,
	CMD_REFRESH = 64,
	CMD_STATUS = 128,
	CMD_KEY = 256,
	CMD_CREATE = 512,
	CMD_SNAPSHOT = 1024,
	CMD_FORGET = 2048,
	CMD_PROTECT = 4096,
	CMD_PRUNE = 8192,
	CMD_VERIFY = 32768,
	CMD_GC = 65536,
	CMD_COPY = 131072,
	CMD_REPAIR = 262144,
	/* These have a second store, and options of its own for that. */
	CMD_TWO_STORES = CMD_COPY | CMD_REPAIR,
	CMD_CHANGE = CMD_CREATE | CMD_FORGET | CMD_PROTECT | CMD_PRUNE |
	    CMD_GC,
	CMD_READ = CMD_LS | CMD_CAT | CMD_EXPORT,
	CMD_STORE = CMD_MOUNT | CMD_READ | CMD_CHECK | CMD_REFRESH |
	    CMD_CHANGE | CMD_VERIFY | CMD_TWO_STORES,
	CMD_ALL = CMD_STORE | CMD_UMOUNT | CMD_STATUS | CMD_KEY |
	    CMD_SNAPSHOT,
};

/* Who set an option; a higher one is not overridden by a lower one. */
enum option_source {
	OPTION_BY_DEFAULT,
	OPTION_BY_CONFIG,	/* for all stores */
	OPTION_BY_SECTION,	/* for this store */
	OPTION_BY_USER,
};

struct options {
	/* what the store is; only in the configuration file */
	char *backend, *bucket, *datastore, *path;
	/* how to reach it */
	char *endpoint, *region, *ca, *fingerprint, *proxy;
	char *credentials, *profile;
	uint64_t port;
	bool path_style, insecure_http, skip_if_none_match, no_multi_delete;
	uint64_t timeout, connect_timeout;	/* ms */
	uint64_t retries, max_connections;
	double request_rate;
	uint64_t rate_in, rate_out, max_requests, max_download;
	struct prices price;
	char *currency;
	char *fault;
	/* what decrypts it */
	char *crypt_key, *master_pubkey;
	uint64_t crypt;				/* enum option_crypt */
	char *keyfile, *passphrase_file, *new_passphrase_file, *kdf, *hint;
	uint64_t passphrase_fd;
	/* what is kept here */
	char *cache, *state;
	uint64_t cache_size, cache_floor, memory, fetchers, decoders;
	/* writing */
	char *owner;
	uint64_t staging_size, staging_floor, upload_memory, uploads;
	uint64_t staging_timeout, snapshot_idle;	/* ms */
	uint64_t fsync, archive;		/* enum option_fsync, _archive */
	uint64_t kill_journal;
	char *gc_schedule;
	bool takeover;
	/* how it looks */
	bool ro, rw, allow_other, allow_root, default_permissions, noexec;
	uint64_t uid, gid, umask;
	char *subdir, *fsname;
	enum vfs_links hardlinks;
	bool all;
	uint64_t refresh;			/* ms */
	/* the program */
	char *config, *pbs_config;
	bool foreground, debug, verbose, quiet, json, help;
	bool fake;
	/* single commands */
	bool long_list, recursive, write, lazy, dry_run;
	bool cached, no_record, quarantine;	/* verify */
	char *level;
	uint64_t since, within, cutoff;		/* ms */
	char *output, *time;
	uint64_t keep_last, keep_hourly, keep_daily, keep_weekly;
	uint64_t keep_monthly, keep_yearly;
	char *from;		/* of repair: a line each */
	bool check;
	/* Owned: what was said of the source alone, by the user; or NULL. */
	struct options *source_only;

	unsigned char source[OPTION_MAX];	/* enum option_source */
};

/* Choices, in the order in which the table names them. */
enum option_fsync { OPTION_FSYNC_LOCAL, OPTION_FSYNC_S3 };
enum option_crypt {
	OPTION_CRYPT_NONE, OPTION_CRYPT_ENCRYPT, OPTION_CRYPT_SIGN_ONLY,
};
enum option_archive { OPTION_ARCHIVE_SPLIT, OPTION_ARCHIVE_PXAR };

enum option_type {
	OPTION_FLAG,		/* bool; the value may be left out */
	OPTION_TEXT,		/* char *, owned */
	OPTION_PATHS,		/* char *, owned: each use adds one, with ":" */
	OPTION_LINES,		/* char *, owned: each use adds a line */
	OPTION_SIZE,		/* uint64_t */
	OPTION_DURATION,	/* uint64_t, ms */
	OPTION_NUMBER,		/* uint64_t */
	OPTION_OCTAL,		/* uint64_t */
	OPTION_RATE,		/* double */
	OPTION_PRICE,		/* uint64_t: price_parse */
	OPTION_LINKS,		/* enum vfs_links */
	OPTION_CHOICE,		/* uint64_t: which of those in arg, "a|b" */
	OPTION_LIST,		/* -o: more options */
};

enum option_flags {
	OPTION_SECRET = 1,	/* never shown: it may hold a password */
	OPTION_ARGV_ONLY = 2,	/* makes no sense in -o or a file */
	OPTION_FILE_ONLY = 4,	/* only in the configuration file */
	OPTION_NO_FILE = 8,	/* in -o, but not in the file */
	OPTION_INHERIT = 16,	/* one value for all stores makes sense */
};

struct option_def {
	const char *name;
	char letter;		/* or 0 */
	enum option_type type;
	unsigned flags;
	unsigned commands;
	size_t offset;		/* in struct options */
	uint64_t min, max;	/* of numbers, in their unit; max 0: any */
	const char *arg;	/* for --help; NULL for flags */
	const char *def;	/* parsed at start; NULL: zero */
	const char *help;
};

extern const struct option_def option_table[];
extern const size_t option_count;

int options_init(struct options *o);
void options_fini(struct options *o);

/**
 * options_for_source(o, ret): what is known of the other store of a command that
 * has two, before either is named: the same, but for what was said of the
 * source alone, as "from-NAME", and without what two stores cannot share, as
 * cache.  options_fini it.  0 or -ENOMEM.
 */
int options_for_source(const struct options *o, struct options *ret);
/** option_find_source(name, len): of "from-NAME", if it says how a store is
 * reached; NULL if not.  option_set_source: for the source alone. */
#define OPTION_SOURCE "from-"
const struct option_def *option_find_source(const char *name, size_t len);
int option_set_source(struct options *o, const struct option_def *d,
    const char *value, const char *where);

/** option_find(name, len): "cache_size" finds "cache-size"; NULL if none. */
const struct option_def *option_find(const char *name, size_t len);
/** option_is_set(o, name): whether somebody asked for it; option_by: who. */
bool option_is_set(const struct options *o, const char *name);
enum option_source option_by(const struct options *o, const char *name);

/**
 * option_set(o, def, value, by, where):
 * value NULL is a flag without a value.  0 or -EINVAL, with a message that
 * begins with where ("-o", "/etc/pbs3fs/pbs3fs.conf: [store1]").
 */
int option_set(struct options *o, const struct option_def *def,
    const char *value, enum option_source by, const char *where);

/** option_set_named: the same by name; an unknown one is an error that names
 * the nearest. */
int option_set_named(struct options *o, const char *name, const char *value,
    enum option_source by, const char *where);

/**
 * option_parse_list(o, text, flags):
 * "a,b=c": what follows -o.  A backslash protects a comma.  What mount(8) and
 * systemd put into fstab lines for themselves is accepted and ignored.
 */
enum option_list_flags {
	OPTION_LIST_MOUNT = 1,	/* rw is no request: mount(8) adds it itself */
	OPTION_LIST_SLOPPY = 2,	/* unknown options are ignored */
};
int option_parse_list(struct options *o, const char *text, unsigned flags);

/**
 * option_parse_argv(o, commands, argc, argv, ret_args, ret_n):
 * The command line after the command's name; argv[0] is that name.  The
 * positional arguments come back as a part of argv, in order.
 */
int option_parse_argv(struct options *o, unsigned commands, int argc,
    char **argv, char ***ret_args, int *ret_n);

/** option_help(out, commands): the table of --help. */
void option_help(FILE *out, unsigned commands);

#endif
