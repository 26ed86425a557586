/* SPDX-License-Identifier: Apache-2.0
 * L1  dot.h - from a picture to a Graphviz graph. Nothing outside viz/ sees cgraph. */
#ifndef LEAKDIFF_DOT_H
#define LEAKDIFF_DOT_H

#include <graphviz/cgraph.h>

#include "core/picture.h"

#define DOT_NODES_MAX 70	/* more than this nobody reads; the rest is counted in the picture */
#define DOT_EDGES_MAX 200
#define DOT_FAN_MAX   16	/* leaves on one node */

/* Build the graph that Graphviz lays out: nodes and edges with their labels, title, legend and what
 * was left out. Of a larger picture the nodes nearest to its marked ones (roots, what grew, the
 * accumulation point) are drawn, and the picture says how many are not.
 *
 * picture    borrowed; not needed any more afterwards.
 * ret_graph  release with agclose().
 * Returns 0, -ENOMEM, or -EINVAL when an edge names a node that is not there. */
int dot_build(const struct picture *picture, Agraph_t **ret_graph)
	__attribute__((warn_unused_result));

#endif
