/* A program into a file. */
#include "saved.h"
#include "text_form.h"
#include "text_parts.h"

/* Constants up to this size are stored in any case: inference may look at their elements. */
enum { ALWAYS_STORED = 8 << 10 };

typedef struct Writer {
    Arena *arena;
    const sn_Program *program;
    const Plan *plan;
    bool *stored;               /* per value of the plan: a setup result that goes into the file */
    SN_VEC(SavedRow) row;       /* per payload */
    SN_VEC(const void *) bytes; /* likewise */
    Map *constants;             /* hashes that have a row */
    Map *wanted;                /* constants that a load needs, by tensor */
    uint64_t end;               /* of the payload so far */
} Writer;

/* ---- what is stored ---- */

/* A result that a rule alone decides is made again: rules keep the file small. So is what lies in a GPU's
 * memory, or was never made because the GPU is not here: it is made quickly, and needs the weights as they
 * are. */
static void choose_results(Writer *w) {
    const Plan *plan = w->plan;
    if (!w->program->device->host_memory) return;
    bool *rule = SN_ARRAY(w->arena, bool, plan->value_count);
    for (int i = 0; i < plan->value_count; i++)
        rule[i] = plan->value[i].tensor && plan->value[i].tensor->payload == SN_PAYLOAD_RECIPE;
    for (int i = 0; i < plan->setup_count; i++) {
        const PlanLaunch *launch = &plan->launch[i];
        int inputs = launch->kernel->input_count;
        bool from_rule = false;
        for (int k = 0; k < inputs; k++) from_rule = from_rule || rule[launch->buffer[k]];
        for (int k = 0; k < launch->output_count; k++) {
            int at = launch->buffer[inputs + k];
            rule[at] = from_rule;
            w->stored[at] = !from_rule && plan->value[at].last >= plan->setup_count;
        }
    }
}

static void add_row(Writer *w, SavedKind kind, uint64_t key, const void *bytes, size_t size) {
    w->end = (w->end + SN_PARTS_ALIGNMENT - 1) / SN_PARTS_ALIGNMENT * SN_PARTS_ALIGNMENT;
    SavedRow row = {kind, key, w->end, size, sn_hash((Hash){0}, bytes, size).lo};
    sn_push(w->arena, &w->row, row);
    sn_push(w->arena, &w->bytes, bytes);
    w->end += size;
}

static void add_results(Writer *w) {
    for (int i = 0; i < w->plan->value_count; i++)
        if (w->stored[i])
            add_row(w, SN_SAVED_SETUP, (uint64_t)w->plan->value[i].value->id, w->program->resident[i].at,
                    (size_t)w->program->resident[i].bytes);
}

static void want(Writer *w, const PlanValue *value) {
    if (value->tensor) *sn_map_at(w->wanted, &value->tensor, sizeof value->tensor) = w;
}

/* Constants that runs read, and those that the setup launches of a load read. */
static void find_wanted(Writer *w) {
    const Plan *plan = w->plan;
    bool *launched = SN_ARRAY(w->arena, bool, plan->setup_count);
    sn_program_setup_needed(w->arena, plan, w->stored, launched);
    for (int i = 0; i < plan->value_count; i++)
        if (plan->value[i].last >= plan->setup_count) want(w, &plan->value[i]);
    for (int i = 0; i < plan->setup_count; i++)
        for (int k = 0; launched[i] && k < plan->launch[i].kernel->input_count; k++)
            want(w, &plan->value[plan->launch[i].buffer[k]]);
}

/* The bytes of a tensor that the text elides, once. */
static void add_constant(Writer *w, const Tensor *tensor) {
    if (tensor->payload != SN_PAYLOAD_BYTES || tensor->count <= SN_TEXT_TENSOR_MAX) return;
    uint64_t key = sn_tensor_elided_hash(tensor);
    void **slot = sn_map_at(w->constants, &key, sizeof key);
    if (*slot) return;
    *slot = w;
    add_row(w, SN_SAVED_CONSTANT, key, tensor->bytes,
            (size_t)(tensor->count * sn_dtype_bytes(tensor->dtype)));
}

/* Every constant that the text elides and a load needs; those inside clusters are part of the code. */
static void add_constants(Writer *w, const Region *region) {
    for (const Node *node = region->first; node; node = node->next) {
        if (node->body) add_constants(w, node->body);
        if (node->op != SN_OP_CONSTANT) continue;
        const Tensor *tensor = ((const AttrConstant *)node->attr)->tensor;
        bool small = tensor->count * sn_dtype_bytes(tensor->dtype) <= ALWAYS_STORED;
        if (region->owner || small || sn_map_get(w->wanted, &tensor, sizeof tensor)) add_constant(w, tensor);
    }
}

/* ---- the file ---- */

/* What the processor must have for the compiler's code, and what single kernels use besides; kernels name all of the latter in
 * one way. */
static const char *requires(const Writer *w, const ModuleImage *image) {
    const char *all = image->requires;
    for (int i = 0; i < w->plan->kernel_count; i++) {
        const char *needs = w->plan->kernel[i]->needs;
        if (needs && !strstr(all, needs))
            all = sn_arena_printf(w->arena, "%s%s%s", all, *all ? " " : "", needs);
    }
    return all;
}

static const char *facts_text(Writer *w, const ModuleImage *image, size_t *length) {
    const Plan *plan = w->plan;
    Hash *kernel = SN_ARRAY(w->arena, Hash, plan->kernel_count);
    for (int i = 0; i < plan->kernel_count; i++) kernel[i] = plan->kernel[i]->hash;
    SavedFacts facts = {.version = sn_version(),
                        .eager = plan->eager,
                        .autocast = w->program->autocast,
                        .machine = image->machine,
                        .requires = requires(w, image),
                        .target = *plan->target,
                        .state_count =
                            plan->state_count - plan->graph->states.count, /* the graph has its own */
                        .state = plan->state,
                        .kernel_count = plan->kernel_count,
                        .kernel = kernel};
    Text text = sn_text(w->arena);
    sn_saved_facts_print(&text, &facts);
    *length = text.length;
    return sn_text_string(&text);
}

static Status put_payload(PartsWriter *writer, void *user) {
    const Writer *w = user;
    for (int i = 0; i < w->row.count; i++)
        TRY(sn_parts_put(writer, (int64_t)w->row.at[i].offset, w->bytes.at[i], (size_t)w->row.at[i].size));
    return NULL;
}

Status sn_saved_write(Arena *arena, const sn_Program *program, const char *path) {
    Device *device = program->device;
    const Plan *plan = program->plan;
    if (!device->ops->image)
        return sn_fail(SN_UNSUPPORTED, "saving a program for %s is unsupported", plan->target->name);
    if (plan->graph->loops.count)
        return sn_fail(SN_UNSUPPORTED,
                       "saving a program with loops whose turns only a run counts is unsupported");
    ModuleImage image;
    TRY(device->ops->image(device, arena, program->module, &image));
    Writer w = {.arena = arena,
                .program = program,
                .plan = plan,
                .stored = SN_ARRAY(arena, bool, plan->value_count),
                .constants = sn_map_new(arena),
                .wanted = sn_map_new(arena)};
    choose_results(&w);
    find_wanted(&w);
    add_results(&w);
    add_constants(&w, plan->graph->body);
    for (int i = 0; i < plan->graph->states.count; i++) add_constant(&w, plan->graph->states.at[i].initial);
    Part part[SN_PART_COUNT];
    size_t length;
    const char *facts = facts_text(&w, &image, &length);
    part[SN_PART_FACTS] = (Part){(const uint8_t *)facts, length};
    Text graph = sn_text(arena);
    sn_graph_print(&graph, plan->graph);
    part[SN_PART_GRAPH] = (Part){(const uint8_t *)sn_text_string(&graph), graph.length};
    part[SN_PART_CODE] = (Part){image.bytes, image.size};
    part[SN_PART_INDEX] = (Part){(const uint8_t *)w.row.at, (size_t)w.row.count * sizeof *w.row.at};
    part[SN_PART_PAYLOAD] = (Part){NULL, (size_t)w.end};
    return sn_parts_write(arena, path, part, put_payload, &w);
}
