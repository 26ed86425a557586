/* SPDX-License-Identifier: Apache-2.0
 * L0  schema.h - the text of schema.sql, compiled in. */
#ifndef LEAKDIFF_SCHEMA_H
#define LEAKDIFF_SCHEMA_H

extern const char schema_sql[];

#endif
