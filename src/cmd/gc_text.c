/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/gc_text.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/num.h"
#include "maint/gc_report.h"

static void
size_line(const char *what, uint64_t bytes)
{
	char size[NUM_SIZE_MAX];

	printf("%s: %s\n", what, num_format_size(size, bytes));
}

static void
count_line(const char *what, uint64_t n)
{
	printf("%s: %" PRIu64 "\n", what, n);
}

static void
maybe(const char *what, uint64_t n)
{
	if (n > 0)
		count_line(what, n);
}

static void
print_removed(const struct gc_result *r, bool dry_run)
{
	char size[NUM_SIZE_MAX];

	size_line(dry_run ? "Would remove garbage" : "Removed garbage",
	    r->removed_bytes + r->removed_bad_bytes);
	count_line(dry_run ? "Would remove chunks" : "Removed chunks",
	    r->removed);
	if (r->pending > 0)
		printf("Pending removals: %s (in %" PRIu64 " chunks)\n",
		    num_format_size(size, r->pending_bytes), r->pending);
	maybe("Spared chunks, about to be used", r->spared);
	maybe(dry_run ? "Would remove bad chunks" : "Removed bad chunks",
	    r->removed_bad);
	maybe("Leftover bad chunks", r->bad - r->removed_bad);
	maybe("Not deleted", r->undeleted);
	maybe("Missing chunks", r->missing);
	maybe("Strange objects, left alone", r->strange);
	maybe("Removed from the cache", r->cache_removed);
}

static void
print_marked(const struct gc_result *r)
{
	uint64_t hits = r->references > r->referenced ?
	    r->references - r->referenced : 0;

	printf("Index files: %" PRIu64, r->indices);
	if (r->indices_reused > 0)
		printf(" (%" PRIu64 " of them marked by an earlier run)",
		    r->indices_reused);
	putchar('\n');
	if (r->indices_reused == 0 && r->references > 0)
		printf("Chunk cache: hits %" PRIu64 ", misses %" PRIu64
		    " (hit ratio %.2f%%)\n", hits, r->references - hits,
		    (double)hits * 100 / (double)r->references);
}

void
gc_text_print(const struct gc_result *r, bool dry_run, bool complete)
{
	char size[NUM_SIZE_MAX];
	struct gc_figures f;

	if (complete || r->chunks > 0)
		print_removed(r, dry_run);
	/* The rest would be of half a store. */
	if (!complete)
		return;
	gc_figures(r, &f);
	print_marked(r);
	size_line("Original data usage", r->index_data_bytes);
	printf("On-Disk usage: %s", num_format_size(size, f.disk_bytes));
	if (r->index_data_bytes > 0)
		printf(" (%.2f%%)", (double)f.disk_bytes * 100 /
		    (double)r->index_data_bytes);
	printf("\nOn-Disk chunks: %" PRIu64 "\n", f.disk_chunks);
	printf("Deduplication factor: %.2f\n", f.deduplication);
	if (f.average_chunk > 0)
		size_line("Average chunk size", f.average_chunk);
}
