/* The partition (fuse_parts.c) that fuse_join.c and fuse_merge.c decide on and fuse_build.c turns into cluster nodes. Scratch of
 * the pass. */
#ifndef SN_FUSE_INTERNAL_H
#define SN_FUSE_INTERNAL_H

#include "pass.h"
#include "sizes.h"
#include "view.h"

/* A set of nodes that will be one kernel. */
typedef struct Part {
    int id;
    ClusterKind kind;
    int group; /* eager: the one operator it may hold nodes of */
    Phase phase;
    int level; /* of all its nodes: see sizes.h */
    bool setup;
    struct Part *into;   /* merged into that part; NULL while alive */
    SN_VEC(Node *) node; /* its own nodes, in topological order once sorted; free nodes are cloned in later */
    Type domain;         /* shape of the loop: the reduced value's full shape for REDUCE */
    const AttrReduce *reduce; /* REDUCE: the axes */
    int visit;                /* stamp of the last walk */
    int copies; /* how often its kernel computes one of its values, each time at another place */
    int late;   /* the last place in the graph of a node of the part, or of a part that it depends on */
    SN_VEC(struct Part *) reader; /* parts that read what it makes, when each node was placed */
} Part;

typedef struct Fusion {
    Pass *pass;
    Graph *graph;
    SN_VEC(Part *) part;
    Part **of_node; /* by node id; NULL: a free node */
    int *place;     /* by node id: its position in the graph */
    signed char
        *index_depth; /* by node id: > 0 when it is made of positions, shape values and scalars alone */
    bool *owned;      /* by node id: a view that some part must store, not absorb */
    Levels levels;
    int walk;
} Fusion;

/* The part a node belongs to after merges, or NULL for a free node. */
Part *sn_fusion_part(const Fusion *fusion, const Node *node);

/* Free nodes are cloned into every part that uses them: views, scalar constants, shape values, and arithmetic
 * on nothing but those. */
bool sn_fusion_is_free(Fusion *fusion, const Node *node);

/* Calls `visit` for each value from outside that `node` reads once the free nodes before it are looked
 * through. */
typedef void SourceVisitor(void *user, Value *source);
void sn_fusion_sources(Fusion *fusion, const Node *node, SourceVisitor *visit, void *user);

/* A new, empty part with the node's kind, group, phase and loop; and a node put last into a part. */
Part *sn_fusion_new_part(Fusion *fusion, Node *node);
void sn_fusion_place(Fusion *fusion, Node *node, Part *part);

/* Puts the nodes of `from` into `part`. */
void sn_fusion_join(Fusion *fusion, Part *part, Part *from);

/* ---- fuse_join.c: what may go together ---- */

/* The value that `value` shows through free views, which are composed into *map (of `value`'s shape). */
Value *sn_fusion_look_through(Fusion *fusion, Value *value, IndexMap *map);

/* Whether `from` is, or reads, directly or not, what `goal` makes. */
bool sn_fusion_depends(Fusion *fusion, Part *from, const Part *goal);

/* Merging a producer into its reader is a cycle when a path between them passes through a third part. */
bool sn_fusion_cycle(Fusion *fusion, Part *reader, Part *producer);

/* NULL when `node`, which reads `source` of the row kernel `part` through `map`, may be a part of it; else why not. */
const char *sn_fusion_row_accepts(Fusion *fusion, const Part *part, const Node *node, const Value *source,
                                  const IndexMap *map);

/* What the part computes may be computed several times. */
bool sn_fusion_is_cheap(const Part *part);

/* Whether a kernel of this kind may compute an operand of `node` where it reads it. */
bool sn_fusion_takes_prologue(const Part *part, const Node *node);

/* They run at the same time, belong to one operator in the eager order, make no kernel too large, and none that compares
 * what it computes with an extremum that it computes of it. */
bool sn_fusion_may_join(Fusion *fusion, const Part *part, const Part *from);

/* How often kernels that hold the nodes reader[0 .. count) would compute what `from` does: once for each place at which they read
 * it, where each piece of a joined value is a place of its own. In a chain of values that are cut around what is put between them
 * it is twice as often a link; no kernel computes anything more than SN_FUSION_COPIES times, each time is text for the compiler. */
enum { SN_FUSION_COPIES = 8 };
int sn_fusion_copies(Fusion *fusion, const Node *const *reader, int count, const Part *from);

/* Finds a part for every node of the graph. */
Fusion sn_fusion_form(Pass *pass, Graph *graph);

/* ---- fuse_windows.c ---- */

/* Whether a product copies its rows from the windows that they are, by runs of elements that lie side by side. */
bool sn_fusion_copies_windows(Fusion *fusion, const Node *node);

/* A kernel that would do nothing but pad. */
bool sn_fusion_is_padding(const Part *part);

/* ---- fuse_merge.c ---- */

/* Joins parts that every node has been placed into. */
void sn_fusion_merge(Fusion *fusion);

/* ---- fuse_build.c ---- */

/* Makes the cluster nodes, replaces the graph's body with them. A part that codegen could not lower
 * is first taken apart into single nodes, with a remark. */
void sn_fusion_build(Fusion *fusion);

#endif
