#include "saved.h"
#include "clock.h"
#include "cpu/features.h"
#include "cpu/matrix.h"
#include "text_form.h"
#include "verify.h"

static const void *row_bytes(const Saved *saved, const SavedRow *row) {
    return saved->part[SN_PART_PAYLOAD].bytes + row->offset;
}

/* ---- opening ---- */

static Status read_index(Saved *saved) {
    const Part *index = &saved->part[SN_PART_INDEX], *payload = &saved->part[SN_PART_PAYLOAD];
    if (index->size % sizeof *saved->row || index->size / sizeof *saved->row > INT32_MAX)
        return sn_fail(SN_INVALID, "a malformed saved program: its index");
    saved->row = (const SavedRow *)(const void *)index->bytes;
    saved->row_count = (int)(index->size / sizeof *saved->row);
    for (int i = 0; i < saved->row_count; i++) {
        const SavedRow *row = &saved->row[i];
        if (row->kind >= SN_SAVED_KINDS || row->offset % SN_PARTS_ALIGNMENT || row->offset > payload->size ||
            row->size > payload->size - row->offset)
            return sn_fail(SN_INVALID, "a malformed saved program: row %d of its index", i);
    }
    return NULL;
}

/* What stands for `elided HASH` in the graph's text. */
static const Map *payloads(Arena *arena, const Saved *saved) {
    Map *map = sn_map_new(arena);
    for (int i = 0; i < saved->row_count; i++) {
        const SavedRow *row = &saved->row[i];
        if (row->kind != SN_SAVED_CONSTANT) continue;
        Payload *payload = SN_NEW(arena, Payload);
        *payload = (Payload){row_bytes(saved, row), (size_t)row->size};
        *sn_map_at(map, &row->key, sizeof row->key) = payload;
    }
    return map;
}

static bool possible_gpu(const Target *target) {
    return target->sm >= 50 && target->sm < 1000 && target->warp == 32 && target->max_threads >= 32 &&
           target->max_threads <= 1024 && target->processors > 0 && target->processors <= 1 << 16 &&
           target->shared_bytes >= 48 << 10 && target->shared_bytes <= 1 << 24 &&
           target->precision <= SN_PRECISION_MEDIUM;
}

/* Code is generated again for this target before the kernels' hashes are compared: it has to be one that
 * there can be. */
static Status check_target(const Target *target) {
    if (target->kind == SN_TARGET_CUDA)
        return possible_gpu(target) ? NULL : sn_fail(SN_INVALID, "a malformed saved program: its target");
    int64_t most = INT64_C(1) << 40; /* bytes of a cache */
    int bytes = target->vector_bytes;
    bool possible =
        (bytes == 16 || bytes == 32 || bytes == 64) && target->l1_bytes <= most && target->l2_bytes <= most;
    if (possible) {
        Target usual;
        sn_target_cpu(&usual, bytes, target->vector_registers, target->l1_bytes, target->l2_bytes);
        possible = target->tile_rows == usual.tile_rows && target->tile_vectors == usual.tile_vectors &&
                   target->panel == usual.panel;
    }
    return possible ? NULL : sn_fail(SN_INVALID, "a malformed saved program: its target");
}

static Status open_saved(Arena *arena, Saved *saved, Graph **graph) {
    const Part *facts = &saved->part[SN_PART_FACTS], *text = &saved->part[SN_PART_GRAPH];
    TRY(sn_saved_facts_parse(arena, facts->bytes, facts->size, &saved->facts));
    TRY(check_target(&saved->facts.target));
    TRY(read_index(saved));
    TRY(sn_graph_parse_with(arena, (const char *)text->bytes, text->size, payloads(arena, saved), graph));
    if ((*graph)->stage != SN_STAGE_FUSED) return sn_fail(SN_INVALID, "its graph is not a fused one");
    if ((*graph)->loops.count) return sn_fail(SN_INVALID, "its graph has loops, which are not saved");
    return sn_verify(*graph);
}

Status sn_saved_open(Arena *arena, const char *path, Saved **out, Graph **graph) {
    *out = SN_NEW(arena, Saved);
    TRY(sn_parts_open(arena, path, (*out)->part));
    Text name = sn_text(arena);
    sn_text_quote(&name, path, strlen(path));
    TRY(sn_status_prefix(open_saved(arena, *out, graph), "%s", sn_text_string(&name)));
    (*graph)->file = sn_arena_string(arena, path);
    return NULL;
}

Status sn_saved_check_weights(const Saved *saved) {
    for (int i = 0; i < saved->row_count; i++) {
        const SavedRow *row = &saved->row[i];
        if (sn_hash((Hash){0}, row_bytes(saved, row), (size_t)row->size).lo != row->hash)
            return sn_fail(SN_INVALID, "a damaged saved program: weight %d does not fit its hash", i);
    }
    return NULL;
}

/* ---- loading ---- */

static Status check_processor(Arena *arena, const SavedFacts *facts) {
    /* Opening the device has compared GPUs. */
    if (facts->target.kind == SN_TARGET_CUDA)
        return strcmp(facts->machine, "cuda") == 0 && strcmp(facts->requires, facts->target.architecture) == 0
                   ? NULL
                   : sn_fail(SN_INVALID, "a malformed saved program: what it needs");
    const char *machine = sn_features_machine();
    if (!machine || strcmp(facts->machine, machine) != 0)
        return sn_fail(SN_UNSUPPORTED, "saved for %s, which is unsupported here: this is %s", facts->machine,
                       machine ? machine : "another machine");
    const char *missing = sn_features_missing(arena, facts->requires);
    if (*missing)
        return sn_fail(
            SN_UNSUPPORTED,
            "its kernels were compiled for a processor with %s, which is unsupported here; compile "
            "the model on this machine, or on one that has no more than this",
            missing);
    const char *refusal = strstr(facts->requires, "amx-tile") ? sn_matrix_refusal() : NULL;
    return refusal ? sn_fail(SN_UNSUPPORTED, "its kernels use matrix tiles, which are unsupported here: %s",
                             refusal)
                   : NULL;
}

static Status check_kernels(const Plan *plan, const SavedFacts *facts) {
    bool same = plan->kernel_count == facts->kernel_count;
    for (int i = 0; same && i < plan->kernel_count; i++)
        same = sn_hash_equal(plan->kernel[i]->hash, facts->kernel[i]);
    return same
               ? NULL
               : sn_fail(SN_INVALID, "its kernels are not those that this build of Sinter generates from its "
                                     "graph: compile it again");
}

/* Setup results that were stored are used where they lie. */
static Status place_results(sn_Program *program, const Saved *saved) {
    const Plan *plan = program->plan;
    Map *result = sn_map_new(program->arena); /* by id of the value: position in the plan + 1 */
    for (int i = 0; i < plan->value_count; i++) {
        if (plan->value[i].storage != SN_STORAGE_SETUP) continue;
        uint64_t id = (uint64_t)plan->value[i].value->id;
        *sn_map_at(result, &id, sizeof id) = (void *)(intptr_t)(i + 1);
    }
    for (int i = 0; i < saved->row_count; i++) {
        const SavedRow *row = &saved->row[i];
        if (row->kind != SN_SAVED_SETUP) continue;
        int at = (int)(intptr_t)sn_map_get(result, &row->key, sizeof row->key) - 1;
        int64_t bytes;
        if (at < 0 || !sn_dim_is(plan->dim[plan->value[at].bytes], &bytes) || (uint64_t)bytes != row->size)
            return sn_fail(SN_INVALID, "a malformed saved program: setup result %d", i);
        program->resident[at] = (Resident){.at = (void *)(uintptr_t)row_bytes(saved, row), .bytes = bytes};
    }
    return NULL;
}

Status sn_saved_load(sn_Program *program, const Saved *saved, const Graph *graph, int state_count,
                     const sn_State *state) {
    const SavedFacts *facts = &saved->facts;
    Device *device = program->device;
    TRY(check_processor(program->arena, facts));
    Plan *plan;
    double start = sn_clock();
    program->autocast = facts->autocast;
    TRY(sn_plan_new(program->arena, graph, &device->target, facts->eager, sn_codegen, &plan));
    TRY(sn_plan_add_states(program->arena, plan, state_count ? state_count : facts->state_count,
                           state_count ? state : facts->state));
    TRY(check_kernels(plan, facts));
    program->ledger.codegen += sn_clock() - start;
    TRY(sn_program_begin(program, plan));
    const Part *code = &saved->part[SN_PART_CODE];
    ModuleImage image = {facts->machine, facts->requires, code->bytes, code->size};
    TRY(device->ops->load(device, plan->kernel, plan->kernel_count, &image, &program->ledger.kernels,
                          &program->module));
    TRY(place_results(program, saved));
    return sn_program_finish(program);
}
