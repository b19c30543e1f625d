/* yaml.h - YAML text (and so JSON text) into a tree of nodes that know their line and column.
 *
 * Pure. Plain scalars are typed as in JSON (null, true, false, decimal numbers), all else is a
 * string; whoever wants the text as typed finds it in node.text. Anchors, aliases and tags are
 * refused: a file of a few lines could otherwise describe a document of gigabytes.
 */
#ifndef TWINRING_COMMON_YAML_H
#define TWINRING_COMMON_YAML_H

#include "common/report.h"

#define YAML_TEXT_MAX  (16u << 20) /* bytes */
#define YAML_NODES_MAX (2u << 20)  /* a node costs some 150 bytes */

/* Exactly one document. Problems go to `r` (with r->label as the file's name); the result is NULL
 * when the text cannot be read to its end, else the tree with NODE_BAD where something was refused.
 * Free with node_free. */
struct node *yaml_parse(const char *text, size_t n, struct report *r);

#endif
