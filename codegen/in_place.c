/* Which result of a kernel may lie where an operand lies.
 *
 * A launch does its elements in any order and on several threads, so nothing may be read where another element is
 * stored: the operand has to be read at the very offset of the store, by the same point of the same nest, before the
 * store. Emitted code computes what a step needs before the step stores; so what is read only in steps up to the one
 * that stores is read in time. */
#include "emit_template.h"

enum { MOST = 128 }; /* inputs or outputs: of more, pairs are not looked for */

typedef struct Search {
    const KernelIr *kernel;
    int input, output; /* buffers */
} Search;

static bool may_load(const Search *search, const Instr *instr) {
    if (instr->kind != SN_INSTR_LOAD) return false;
    /* With `which`, from this buffer or one behind it. */
    return instr->buffer == search->input || (instr->which && instr->buffer < search->input);
}

static bool same_size(const Search *search) {
    const Region *body = search->kernel->cluster->body;
    Type from = body->param.at[search->input]->type;
    Type to = body->result.at[search->output - search->kernel->input_count]->type;
    Dims *dims = search->kernel->dims;
    return sn_dtype_bytes(from.dtype) == sn_dtype_bytes(to.dtype) &&
           sn_type_count(dims, from) == sn_type_count(dims, to);
}

/* The step of the nest that stores the result, when one alone does, and once; -1: none. */
static int find_store(const Search *search, const Nest *nest, const Store **store) {
    int step = -1, count = 0;
    for (int p = 0; p < nest->step.count; p++)
        for (int i = 0; i < nest->step.at[p].store.count; i++) {
            if (nest->step.at[p].store.at[i].buffer != search->output) continue;
            *store = &nest->step.at[p].store.at[i];
            step = p;
            count++;
        }
    return count == 1 ? step : -1;
}

typedef struct Later {
    const Search *search;
    int step;
    bool found;
} Later;

static bool later_enters(void *user, const Instr *instr) {
    const Later *later = user;
    return instr->scratch < 0 || later->step <= instr->kept;
}

static void note_load(void *user, Instr *instr) {
    Later *later = user;
    later->found |= may_load(later->search, instr) && (instr->scratch < 0 || later->step <= instr->kept);
}

/* Whether a step behind `step` reads the operand again. */
static bool reads_later(const Search *search, const Nest *nest, int step) {
    Later later = {search, 0, false};
    for (later.step = step + 1; later.step < nest->step.count; later.step++) {
        const Step *now = &nest->step.at[later.step];
        unsigned char *seen = SN_ARRAY(search->kernel->arena, unsigned char, nest->instr.count);
        for (int i = 0; i < now->acc.count; i++)
            sn_instr_walk(nest, now->acc.at[i]->value, seen, later_enters, note_load, &later);
        for (int i = 0; i < now->store.count; i++) {
            sn_instr_walk(nest, now->store.at[i].value, seen, later_enters, note_load, &later);
            if (now->store.at[i].guard)
                sn_instr_walk(nest, now->store.at[i].guard, seen, later_enters, note_load, &later);
        }
    }
    return later.found;
}

static bool loads_any(const Search *search, const Nest *nest) {
    for (int i = 0; i < nest->instr.count; i++)
        if (may_load(search, nest->instr.at[i])) return true;
    return false;
}

static bool stores_any(const Search *search, const Nest *nest) {
    for (int p = 0; p < nest->step.count; p++)
        for (int i = 0; i < nest->step.at[p].store.count; i++)
            if (nest->step.at[p].store.at[i].buffer == search->output) return true;
    return false;
}

/* Threads of a CUDA block share a row: one of them may store it before another one has read it, unless each element
 * of the row is one thread's own. */
static bool read_by_whom_stores(const KernelIr *kernel, const Nest *nest, int step, const Instr *load) {
    return kernel->target->kind == SN_TARGET_CPU || !nest->reduced.count ||
           (nest->step.at[step].loop && load->reduced);
}

static bool fits_nest(const Search *search, const Nest *nest) {
    const Store *store = NULL;
    int step = find_store(search, nest, &store);
    if (step < 0 || reads_later(search, nest, step)) return false;
    for (int i = 0; i < nest->instr.count; i++) {
        const Instr *load = nest->instr.at[i];
        if (!may_load(search, load)) continue;
        if (load->which || load->dim != store->offset || (!load->reduced && load->ready > step) ||
            !read_by_whom_stores(search->kernel, nest, step, load))
            return false;
    }
    return true;
}

/* A plain kernel: one nest does it all. A template of the CPU calls one form of its storing hole for each element, once;
 * its operands are read through others. */
static bool fits(const Search *search) {
    const KernelIr *kernel = search->kernel;
    bool template = kernel->use != NULL;
    int loading = 0, storing = 0;
    if (template && (kernel->target->kind != SN_TARGET_CPU ||
                     ((const AttrCluster *)kernel->cluster->attr)->kind != SN_CLUSTER_CONTRACT))
        return false;
    for (int n = 0; n < kernel->nest.count; n++) {
        const Nest *nest = kernel->nest.at[n];
        bool loads = loads_any(search, nest), stores = stores_any(search, nest);
        if (loads && (!stores || !fits_nest(search, nest))) return false;
        loading += loads;
        storing += stores;
    }
    return loading > 0 && (template || storing == 1);
}

void sn_find_in_place(const KernelIr *kernel, Kernel *out) {
    SN_VEC(InPlace) pairs = {0};
    if (kernel->input_count > MOST || kernel->output_count > MOST) return;
    for (int o = 0; o < kernel->output_count; o++)
        for (int i = 0; i < kernel->input_count; i++) {
            Search search = {kernel, i, kernel->input_count + o};
            if (same_size(&search) && fits(&search)) sn_push(kernel->arena, &pairs, ((InPlace){i, o}));
        }
    out->in_place = pairs.at;
    out->in_place_count = pairs.count;
}

void sn_find_faults(const KernelIr *kernel, Kernel *out) {
    SN_VEC(int) fault = {0};
    for (int n = 0; n < kernel->nest.count; n++)
        for (int i = 0; i < kernel->nest.at[n]->instr.count; i++) {
            int code = kernel->nest.at[n]->instr.at[i]->fault;
            if (code) sn_push(kernel->arena, &fault, code);
        }
    out->fault = fault.at;
    out->fault_count = fault.count;
}
