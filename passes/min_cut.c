#include "min_cut.h"

/* Edges come in pairs: i and i ^ 1 are each other's reverse. */
typedef struct Edge {
    int to, next; /* next: of the same vertex; -1: the last */
    int64_t left;
} Edge;

struct Flow {
    Arena *arena;
    int count;
    int *first, *level, *at; /* per vertex: its edges, its distance from the source, the edge being tried */
    int *queue;              /* of vertices, or of the edges of a path */
    SN_VEC(Edge) edge;
};

Flow *sn_flow_new(Arena *arena, int count) {
    Flow *flow = SN_NEW(arena, Flow);
    flow->arena = arena;
    flow->count = count;
    flow->first = SN_ARRAY(arena, int, count);
    flow->level = SN_ARRAY(arena, int, count);
    flow->at = SN_ARRAY(arena, int, count);
    flow->queue = SN_ARRAY(arena, int, count);
    for (int i = 0; i < count; i++) flow->first[i] = -1;
    return flow;
}

static void add_half(Flow *flow, int from, int to, int64_t capacity) {
    sn_push(flow->arena, &flow->edge, ((Edge){to, flow->first[from], capacity}));
    flow->first[from] = flow->edge.count - 1;
}

void sn_flow_edge(Flow *flow, int from, int to, int64_t capacity) {
    add_half(flow, from, to, capacity);
    add_half(flow, to, from, 0);
}

/* Distances from the source over edges with capacity left; -1: not reached. */
static void find_levels(Flow *flow, int source) {
    for (int i = 0; i < flow->count; i++) flow->level[i] = -1;
    int head = 0, tail = 0;
    flow->level[source] = 0;
    flow->queue[tail++] = source;
    while (head < tail) {
        int from = flow->queue[head++];
        for (int i = flow->first[from]; i >= 0; i = flow->edge.at[i].next) {
            const Edge *edge = &flow->edge.at[i];
            if (edge->left == 0 || flow->level[edge->to] >= 0) continue;
            flow->level[edge->to] = flow->level[from] + 1;
            flow->queue[tail++] = edge->to;
        }
    }
}

/* One shortest path with capacity left, as its edges in flow->queue; their number, 0 when there is none. */
static int find_path(Flow *flow, int source, int sink) {
    int length = 0, vertex = source;
    while (vertex != sink) {
        int i = flow->at[vertex];
        while (i >= 0 &&
               (flow->edge.at[i].left == 0 || flow->level[flow->edge.at[i].to] != flow->level[vertex] + 1))
            i = flow->edge.at[i].next;
        flow->at[vertex] = i;
        if (i >= 0) {
            flow->queue[length++] = i;
            vertex = flow->edge.at[i].to;
            continue;
        }
        if (length == 0) return 0;
        vertex = flow->edge.at[flow->queue[--length] ^ 1].to;
        flow->at[vertex] = flow->edge.at[flow->at[vertex]].next; /* that way leads nowhere */
    }
    return length;
}

static void push_path(Flow *flow, int length) {
    int64_t least = SN_FLOW_UNBOUNDED;
    for (int k = 0; k < length; k++) {
        int64_t left = flow->edge.at[flow->queue[k]].left;
        if (left < least) least = left;
    }
    for (int k = 0; k < length; k++) {
        flow->edge.at[flow->queue[k]].left -= least;
        flow->edge.at[flow->queue[k] ^ 1].left += least;
    }
}

void sn_flow_cut(Flow *flow, int source, int sink, bool *side) {
    for (find_levels(flow, source); flow->level[sink] >= 0; find_levels(flow, source)) {
        for (int i = 0; i < flow->count; i++) flow->at[i] = flow->first[i];
        for (int length; (length = find_path(flow, source, sink)) > 0;) push_path(flow, length);
    }
    for (int i = 0; i < flow->count; i++) side[i] = flow->level[i] >= 0;
}
