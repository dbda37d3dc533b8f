/* clang-format off */
/* The text form of graphs: printed and parsed at every stage; print -> parse -> print is the identity.
 *
 *   graph "name" stage imported
 *   symbol T at_least 1 at_most 2048
 *   check equal T, S @ "mask" Add 17 #4
 *   fact max(T, S), T
 *   input %0 "input_ids": i64[B, T]
 *   %1 "wte" = constant {tensor = f32[50257, 768] recipe 12 scale 0.02 offset 0} : f32[50257, 768] ; group 3 setup
 *   %2 = gather(%1, %0) {axis = 0} : f32[B, T, 768] ; group 4 @ "embed" Gather 17 #0, "pick" Identity 17 #1
 *   %9, %10 = cluster(%2, %3) {kind = reduce} {
 *     param %4: f32[B, T, 768]
 *     param %5: f32[768]
 *     ...
 *     return %7, %8
 *   } : f32[B, T, 768], f32[B, T, 1] ; group 4
 *   output %9 "logits"
 *   output %12 "wte"
 *   state %1 "wte" next 1 first f32[50257, 768] elided 81b6c2f0a1e4d377 copies "head"
 *
 * A state is an input, the number of the output that the next run finds there, the tensor that the first run does, and
 * what its transpose was called.
 * An operand that is absent is `_`. Attributes are named by the fields of their structs; the axes of an index
 * are i0, i1 …. Behind `;` stand, each if there is one: group N, phase backward|update, setup, and `@` with the
 * origin, its primary node first: "name" ["domain".]Type [opset [#position in the file]]. Types may be left
 * out: they are inferred, and what is written must agree. `//` begins a comment.
 *
 * Tensors of at most 32 elements print their values, each as the shortest decimal that rounds to it; larger
 * ones print as `elided HASH` and parse to a recipe of zeros that has the hash as its seed, so that printing
 * again gives the same text.
 */
/* clang-format on */
#ifndef SN_TEXT_FORM_H
#define SN_TEXT_FORM_H

#include "graph.h"

void sn_graph_print(Text *text, const Graph *graph);
/* One node on one line (a cluster: several), for messages and explain. */
void sn_node_print(Text *text, const Graph *graph, const Node *node);
/* A graph in `arena`; errors name line and column. Input is untrusted: bounded depth and counts. */
Status sn_graph_parse(Arena *arena, const char *source, size_t length, Graph **out);

/* Bytes that an elided tensor had; not owned. */
typedef struct Payload {
    const void *bytes;
    size_t size;
} Payload;

/* The same, with the payloads that are known: a map from the hash of `elided HASH` (its uint64_t) to Payload.
 * SN_INVALID where the size of one does not fit. */
Status sn_graph_parse_with(Arena *arena, const char *source, size_t length, const Map *payloads, Graph **out);

/* Graphviz; clusters as boxes. */
void sn_graph_print_dot(Text *text, const Graph *graph);

#endif
