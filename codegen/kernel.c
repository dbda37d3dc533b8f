#include "kernel.h"

Nest *sn_nest_new(KernelIr *kernel) {
    Nest *nest = SN_NEW(kernel->arena, Nest);
    nest->instrs = sn_map_new(kernel->arena);
    sn_push(kernel->arena, &kernel->nest, nest);
    return nest;
}

Step *sn_nest_step(KernelIr *kernel, Nest *nest, bool loop) {
    sn_push(kernel->arena, &nest->step, (Step){.loop = loop});
    return &nest->step.at[nest->step.count - 1];
}

int sn_kernel_scratch(KernelIr *kernel, DType dtype, Dim bytes) {
    sn_push(kernel->arena, &kernel->buffer, ((Buffer){.dtype = dtype, .written = true, .bytes = bytes}));
    return kernel->buffer.count - 1;
}

Dim sn_kernel_read_bytes(const KernelIr *kernel) {
    const Region *body = kernel->cluster->body;
    Dim bytes = sn_dim(kernel->dims, 0);
    for (int i = 0; i < body->param.count; i++) {
        Type type = body->param.at[i]->type;
        Dim count = sn_type_count(kernel->dims, type);
        bytes = sn_dim_add(kernel->dims, bytes, sn_dim_mulc(kernel->dims, count, sn_dtype_bytes(type.dtype)));
    }
    return bytes;
}

Dim sn_kernel_written_bytes(const KernelIr *kernel) {
    const Region *body = kernel->cluster->body;
    Dim bytes = sn_dim(kernel->dims, 0);
    for (int i = 0; i < body->result.count; i++) {
        const Value *value = body->result.at[i];
        bool appends =
            value->producer && value->producer->op == SN_OP_APPEND; /* of which only that is stored */
        Type type = appends ? value->producer->input[1]->type : value->type;
        Dim count = sn_type_count(kernel->dims, type);
        if (count == kernel->count) count = sn_dim_unknown(kernel->dims);
        Dim each = sn_dim_mulc(kernel->dims, count, sn_dtype_bytes(type.dtype));
        bytes = sn_dim_add(kernel->dims, bytes, each);
    }
    return bytes;
}

bool sn_kernel_fetches(const KernelIr *kernel, int64_t *least) {
    enum { FAR_L2S = 4 }; /* what is read is more than so many of these caches hold */
    int64_t bytes;
    *least = FAR_L2S * kernel->target->l2_bytes;
    return kernel->target->fetch_bytes > 0 &&
           (!sn_dim_is(sn_kernel_read_bytes(kernel), &bytes) || bytes >= *least);
}

bool sn_nest_folds(const Nest *nest) {
    if (!nest->reduced.count || nest->scratch.count || !nest->step.count) return false;
    const Step *loop = &nest->step.at[0];
    if (!loop->loop || !loop->acc.count || loop->store.count) return false;
    for (int i = 0; i < loop->acc.count; i++)
        if (loop->acc.at[i]->running) return false;
    for (int p = 1; p < nest->step.count; p++)
        if (nest->step.at[p].loop) return false;
    return true;
}

bool sn_function_is_costly(const char *fn) {
    static const char *const costly[] = {"exp",   "log",   "sin",   "cos",     "tanh", "erf",
                                         "tan",   "sinh",  "cosh",  "asin",    "acos", "atan",
                                         "asinh", "acosh", "atanh", "sigmoid", "pow"};
    for (size_t i = 0; i < sizeof costly / sizeof *costly; i++)
        if (strcmp(fn, costly[i]) == 0) return true;
    return false;
}

/* What makes two instructions equal. Zeroed before it is filled, so that its bytes are a key. */
typedef struct InstrKey {
    int kind, dtype, operand, exact, dim, limit, buffer, which, guard, fault, arg[3];
    double number;
    int64_t integer;
    char function[16];
} InstrKey;

static void instr_key(const Instr *instr, InstrKey *key) {
    memset(key, 0, sizeof *key);
    key->kind = (int)instr->kind, key->dtype = (int)instr->dtype, key->operand = (int)instr->operand;
    key->exact = instr->exact, key->buffer = instr->buffer, key->fault = instr->fault;
    /* An INDEX makes its own axis, which says nothing about what it is. */
    key->dim = instr->dim && instr->kind != SN_INSTR_INDEX ? instr->dim->id + 1 : 0;
    key->limit = instr->limit ? instr->limit->id + 1 : 0;
    key->which = instr->which ? instr->which->id + 1 : 0;
    key->guard = instr->guard ? instr->guard->id + 1 : 0;
    for (int i = 0; i < instr->arg_count; i++) key->arg[i] = instr->arg[i]->id + 1;
    key->number = instr->number, key->integer = instr->integer;
    if (instr->function) strncpy(key->function, instr->function, sizeof key->function - 1);
}

Instr *sn_instr(KernelIr *kernel, Nest *nest, const Instr *proto) {
    void **slot = NULL;
    if (proto->kind != SN_INSTR_REDUCED && proto->kind != SN_INSTR_RUNNING) {
        InstrKey key;
        instr_key(proto, &key);
        slot = sn_map_at(nest->instrs, &key, sizeof key);
        if (*slot) return *slot;
    }
    Instr *instr = SN_NEW(kernel->arena, Instr);
    *instr = *proto;
    instr->id = nest->instr.count;
    instr->scratch = -1;
    if (instr->kind == SN_INSTR_INDEX) {
        instr->dim = sn_dim_axis(kernel->dims, SN_INDEX_AXIS + nest->index.count, instr->limit);
        sn_push(kernel->arena, &nest->index, instr);
    }
    sn_push(kernel->arena, &nest->instr, instr);
    if (slot) *slot = instr;
    return instr;
}

void sn_dim_indices(const Nest *nest, Dim dim, void (*visit)(void *, Instr *), void *user) {
    if (dim->kind == SN_DIM_AXIS) {
        if (dim->value >= SN_INDEX_AXIS) visit(user, nest->index.at[dim->value - SN_INDEX_AXIS]);
        return;
    }
    for (int i = 0; i < dim->count; i++) sn_dim_indices(nest, dim->operand[i], visit, user);
}

typedef struct Walk {
    const Nest *nest;
    unsigned char *seen;
    bool (*enter)(void *, const Instr *);
    void (*visit)(void *, Instr *);
    void *user;
} Walk;

static void walk_instr(void *user, Instr *instr) {
    Walk *walk = user;
    if (walk->seen[instr->id]) return;
    walk->seen[instr->id] = 1;
    if (!walk->enter || walk->enter(walk->user, instr)) {
        for (int i = 0; i < instr->arg_count; i++) walk_instr(walk, instr->arg[i]);
        if (instr->guard) walk_instr(walk, instr->guard);
        if (instr->dim && instr->kind != SN_INSTR_INDEX)
            sn_dim_indices(walk->nest, instr->dim, walk_instr, walk);
        if (instr->limit && instr->kind == SN_INSTR_LESS)
            sn_dim_indices(walk->nest, instr->limit, walk_instr, walk);
    }
    walk->visit(walk->user, instr);
}

void sn_instr_walk(const Nest *nest, Instr *root, unsigned char *seen, bool (*enter)(void *, const Instr *),
                   void (*visit)(void *, Instr *), void *user) {
    Walk walk = {nest, seen, enter, visit, user};
    walk_instr(&walk, root);
}

/* ---- printing ---- */

static void print_dims(Text *text, const KernelIr *kernel, const char *name, const Dim *dim, int count) {
    sn_text_add(text, " %s(", name);
    for (int i = 0; i < count; i++) {
        sn_text_add(text, i ? ", i%d < " : "i%d < ", (int)dim[i]->value);
        sn_dim_print(text, kernel->dims, dim[i]->kind == SN_DIM_AXIS ? dim[i]->operand[0] : dim[i]);
    }
    sn_text_add(text, ")");
}

static void print_instr(Text *text, const KernelIr *kernel, const Instr *instr) {
    static const char *const name[SN_INSTR_KIND_COUNT] = {"literal", "dim",     "given",   "less",
                                                          "load",    "call",    "cast",    "index",
                                                          "checked", "reduced", "running", "hole"};
    sn_text_add(text, "    v%d: %s = %s", instr->id, sn_dtype_name(instr->dtype), name[instr->kind]);
    if (instr->function) sn_text_add(text, " %s", instr->function);
    if (instr->kind == SN_INSTR_LITERAL)
        sn_dtype_is_float(instr->dtype) ? sn_text_add(text, " %a", instr->number)
                                        : sn_text_add(text, " %lld", (long long)instr->integer);
    if (instr->kind == SN_INSTR_LOAD || instr->kind == SN_INSTR_HOLE_ARG)
        sn_text_add(text, " b%d", instr->buffer);
    if (instr->which) {
        sn_text_add(text, " + ");
        sn_dim_print(text, kernel->dims, instr->which);
    }
    for (int i = 0; i < instr->arg_count; i++) sn_text_add(text, " v%d", instr->arg[i]->id);
    if (instr->acc) sn_text_add(text, " a%d", instr->acc->number);
    if (instr->dim) {
        sn_text_add(text, " [");
        sn_dim_print(text, kernel->dims, instr->dim);
        sn_text_add(text, "]");
    }
    if (instr->limit) {
        sn_text_add(text, " < ");
        sn_dim_print(text, kernel->dims, instr->limit);
    }
    if (instr->guard) sn_text_add(text, " if v%d", instr->guard->id);
    if (instr->scratch >= 0) sn_text_add(text, " kept r%d", instr->scratch);
    sn_text_add(text, "%s%s%s\n", instr->rowwise ? " row" : "", instr->reduced ? " reduced" : "",
                instr->varying ? " vector" : "");
}

static void print_step(Text *text, const KernelIr *kernel, const Step *step) {
    sn_text_add(text, "  step%s\n", step->loop ? " loop" : "");
    for (int i = 0; i < step->acc.count; i++) {
        const Acc *acc = step->acc.at[i];
        sn_text_add(text, "    a%d: %s %s= v%d -> v%d%s\n", acc->number, sn_dtype_name(acc->dtype),
                    acc->function, acc->value->id, acc->result->id,
                    !acc->running    ? ""
                    : acc->exclusive ? " running exclusive"
                                     : " running");
    }
    for (int i = 0; i < step->store.count; i++) {
        const Store *store = &step->store.at[i];
        sn_text_add(text, "    b%d[", store->buffer);
        sn_dim_print(text, kernel->dims, store->offset);
        sn_text_add(text, "] = v%d", store->value->id);
        if (store->guard) sn_text_add(text, " if v%d", store->guard->id);
        sn_text_add(text, "\n");
    }
}

void sn_kernel_print(Text *text, const KernelIr *kernel) {
    static const char *const vector[] = {"parallel", "reduced", "none"};
    const AttrCluster *attr = kernel->cluster->attr;
    sn_text_add(text, "kernel %s\n", sn_cluster_kind_name(attr->kind));
    for (int n = 0; n < kernel->nest.count; n++) {
        const Nest *nest = kernel->nest.at[n];
        sn_text_add(text, "nest %d", n);
        print_dims(text, kernel, "parallel", nest->parallel.at, nest->parallel.count);
        print_dims(text, kernel, "reduced", nest->reduced.at, nest->reduced.count);
        sn_text_add(text, " vector %s", vector[nest->vector]);
        if (nest->block.team) sn_text_add(text, " block %dx%d", nest->block.rows, nest->block.team);
        if (nest->items) {
            sn_text_add(text, " items ");
            sn_dim_print(text, kernel->dims, nest->items);
        }
        sn_text_add(text, "\n");
        for (int i = 0; i < nest->instr.count; i++) print_instr(text, kernel, nest->instr.at[i]);
        for (int i = 0; i < nest->step.count; i++) print_step(text, kernel, &nest->step.at[i]);
    }
}
