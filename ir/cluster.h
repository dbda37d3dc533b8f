/* What a cluster's body may be: the rules that fuse keeps and codegen relies on.
 *
 * A kernel around an anchor (a reduction, scan, contraction or attention) works at one element of the
 * anchor's *domain* at a time: a reduction's operand shape, the other anchors' result shape. Everything that
 * depends on the anchor must read it at that very element (a reduction: at that element's row), and every
 * result must have one element to store for it. Views on the way are composed, and inverted where a result
 * lies behind them. */
#ifndef SN_CLUSTER_H
#define SN_CLUSTER_H

#include "graph.h"

/* The anchor and the element of its domain that the kernel is at. */
typedef struct ClusterFrame {
    const Node *cluster;
    const Node *anchor; /* the first reduction, for a reduction cluster; NULL for a map */
    Type domain;        /* its dtype means nothing */
    Dim *full; /* domain.rank: the element's index, axes of the domain unless the caller puts others */
    Dim *left; /* the same with reduced axes at 0; equal to full where nothing is reduced */
    bool reduced[SN_MAX_RANK]; /* the axes of a reduction or a scan */
} ClusterFrame;

/* Fills `frame` (arrays in `arena`); NULL, or the reason why the cluster has none: a wrong number or mixture
 * of anchors for its kind, or reductions over different domains. */
const char *sn_cluster_frame(Dims *dims, Arena *arena, const Node *cluster, ClusterFrame *frame);

/* *at (value->type.rank Dims in `arena`) is the index of the element of `value` that belongs to the frame's
 * element; *row says that there is one for each row only (then it is stored once a row). False when there is
 * none, or when computing it there would read the anchor at another element. */
bool sn_cluster_place(Dims *dims, Arena *arena, const ClusterFrame *frame, const Value *value, const Dim **at,
                      bool *row);

/* A statistic that an anchor stores by itself: a result that nothing else of the cluster reads. */
bool sn_cluster_is_statistic(const Value *value);

/* NULL when the code generator of every target lowers the cluster, otherwise why not, in static text. */
const char *sn_cluster_legal(Dims *dims, const Node *cluster);

#endif
