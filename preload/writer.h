/* SPDX-License-Identifier: Apache-2.0
 * L1  writer.h - the capture stream's output: chunks, checksums, the string table.
 *
 * One section is open at a time; strings collect beside it and get chunks of their own. After the
 * first write error nothing more is written: the stream has no END chunk then, so a reader knows. */
#ifndef LEAKDIFF_WRITER_H
#define LEAKDIFF_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stream.h"

struct writer;

/* Begin a stream on `fd` (borrowed): writes the file header. NULL when memory is refused. */
struct writer *ld__writer_new(int fd);

/* Open a section; the one that is open is closed. */
void ld__writer_section(struct writer *writer, enum stream_type type);

/* Append one element (it never straddles chunks; at most STREAM_CHUNK_MAX bytes). */
void ld__writer_put(struct writer *writer, const void *element, size_t bytes);

/* Close the chunk at hand if fewer than `bytes` bytes are left in it. Returns whether the next
 * element will be the first of its chunk. */
bool ld__writer_room(struct writer *writer, size_t bytes);

/* Enter a string into the table, equal strings once. length < 0: NUL-terminated. Returns its offset;
 * 0 (the empty string) when the table's cap is reached, see ld__writer_strings_refused(). */
uint32_t ld__writer_string(struct writer *writer, const char *text, long length);
uint64_t ld__writer_strings_refused(const struct writer *writer);

/* One META pair (the META section must be open). */
void ld__writer_meta(struct writer *writer, const char *key, const char *value);
void ld__writer_meta_number(struct writer *writer, const char *key, uint64_t value);

/* Push out what is buffered, strings included, so that a reader has everything said so far. */
void ld__writer_flush(struct writer *writer);

/* Write END. Returns 0, or the errno of the first write that failed, negative. */
int ld__writer_finish(struct writer *writer, const struct stream_end *end);
int ld__writer_error(const struct writer *writer);

#endif
