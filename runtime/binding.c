#include "binding.h"
#include "eval.h"
#include <stdlib.h>

Status sn_bindings_init(Bindings *bindings, const Plan *plan, bool library) {
    *bindings = (Bindings){.plan = plan, .library = library};
    size_t symbols = (size_t)sn_dims_symbol_count(plan->graph->dims);
    bindings->symbol = calloc(symbols + 1, sizeof *bindings->symbol);
    return bindings->symbol ? NULL : sn_fail(SN_NO_MEMORY, "out of memory for %zu symbols", symbols);
}

void sn_bindings_free(Bindings *bindings) {
    for (int i = 0; i < bindings->count; i++) free(bindings->at[i]);
    free(bindings->symbol);
    *bindings = (Bindings){0};
}

/* A binding and its arrays in one block. */
static Binding *new_binding(const Plan *plan) {
    size_t symbols = (size_t)sn_dims_symbol_count(plan->graph->dims);
    size_t words = 2 * symbols + (size_t)plan->dim_count + (size_t)plan->param_count +
                   (size_t)plan->value_count + (size_t)plan->segment_count;
    size_t each = sizeof(int) + sizeof(bool); /* of a launch */
    Binding *binding =
        calloc(1, sizeof *binding + words * sizeof(int64_t) + (size_t)plan->launch_count * each);
    if (!binding) return NULL;
    binding->key = (int64_t *)(binding + 1);
    binding->symbol = binding->key + symbols;
    binding->dim = binding->symbol + symbols;
    binding->param = binding->dim + plan->dim_count;
    binding->offset = binding->param + plan->param_count;
    binding->arena_bytes = binding->offset + plan->value_count;
    binding->way = (int *)(binding->arena_bytes + plan->segment_count);
    binding->full = (bool *)(binding->way + plan->launch_count);
    return binding;
}

static void take_params(const PlanLaunch *launch, Binding *binding) {
    for (int k = 0; k < launch->kernel->param_count; k++)
        binding->param[launch->param_start + k] = binding->dim[launch->param[k]];
}

/* All that follows from the symbols that are known before the segment. */
static Status evaluate(const Plan *plan, int segment, bool library, Binding *binding) {
    const PlanSegment *at = &plan->segment[segment];
    for (int i = 0; i < at->dim_count; i++)
        TRY(sn_dim_eval(plan->dim[at->dim[i]], binding->symbol, NULL, &binding->dim[at->dim[i]]));
    for (int i = 0; i < plan->value_count; i++)
        if (plan->known[plan->value[i].bytes] == segment && binding->dim[plan->value[i].bytes] < 0)
            return sn_fail(SN_INVALID, "with these input shapes a tensor of the model has a negative extent");
    for (int i = sn_plan_segment_begin(plan, segment); i < at->end; i++) {
        const PlanLaunch *launch = &plan->launch[i];
        take_params(launch, binding);
        if (launch->product && launch->product->rest) take_params(launch->product->rest, binding);
        binding->way[i] = library ? sn_plan_way(launch, binding->dim, plan->target) : 0;
        binding->products = binding->products || binding->way[i];
    }
    return plan->eager
               ? NULL
               : sn_plan_pack(plan, segment, binding->dim, binding->offset, &binding->arena_bytes[segment]);
}

static Status make(const Bindings *bindings, Binding **out) {
    const Plan *plan = bindings->plan;
    Binding *binding = new_binding(plan);
    if (!binding) return sn_fail(SN_NO_MEMORY, "out of memory for the sizes of a run");
    size_t symbols = (size_t)sn_dims_symbol_count(plan->graph->dims);
    memcpy(binding->key, bindings->symbol, symbols * sizeof *binding->key);
    memcpy(binding->symbol, bindings->symbol, symbols * sizeof *binding->symbol);
    Status status = evaluate(plan, 0, bindings->library, binding);
    if (status) {
        free(binding);
        return status;
    }
    *out = binding;
    return NULL;
}

/* A free place, or that of the binding whose last request is longest ago. */
static Binding **place(Bindings *bindings) {
    if (bindings->count < SN_BINDINGS_MOST) return &bindings->at[bindings->count++];
    Binding **oldest = &bindings->at[0];
    for (int i = 1; i < bindings->count; i++)
        if (bindings->at[i]->last_wanted < (*oldest)->last_wanted) oldest = &bindings->at[i];
    free(*oldest);
    return oldest;
}

Status sn_bindings_get(Bindings *bindings, const int *rank, const int64_t *const *extent,
                       const Binding **out) {
    const Plan *plan = bindings->plan;
    TRY(sn_bind_symbols(plan->graph, plan->input_count, rank, extent, bindings->symbol));
    size_t bytes = (size_t)sn_dims_symbol_count(plan->graph->dims) * sizeof *bindings->symbol;
    Binding *found = NULL;
    for (int i = 0; i < bindings->count && !found; i++)
        if (memcmp(bindings->at[i]->key, bindings->symbol, bytes) == 0) found = bindings->at[i];
    if (!found) {
        TRY(make(bindings, &found));
        found->number = ++bindings->made;
        *place(bindings) = found;
    }
    found->last_wanted = ++bindings->requests;
    bindings->current = found;
    *out = found;
    return NULL;
}

Status sn_bindings_extend(Bindings *bindings, int segment, const int64_t *size) {
    const Plan *plan = bindings->plan;
    const PlanSegment *at = &plan->segment[segment];
    Binding *binding = bindings->current;
    for (int i = 0; i < at->size_count; i++)
        TRY(sn_bind_size(plan->graph, at->size[i], size[i], binding->symbol));
    for (int i = 0; i < at->check_count; i++)
        TRY(sn_bind_check(plan->graph, &plan->graph->checks.at[at->check[i]], binding->symbol));
    return evaluate(plan, segment, bindings->library, binding);
}
