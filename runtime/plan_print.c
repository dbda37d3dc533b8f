#include "plan.h"

const char *sn_storage_name(Storage storage) {
    static const char *const name[SN_STORAGE_COUNT] = {
        [SN_STORAGE_INPUT] = "input",     [SN_STORAGE_CONSTANT] = "constant",
        [SN_STORAGE_SETUP] = "setup",     [SN_STORAGE_ACTIVATION] = "activation",
        [SN_STORAGE_OUTPUT] = "output",   [SN_STORAGE_STATE] = "state",
        [SN_STORAGE_SCRATCH] = "scratch",
    };
    return name[storage];
}

const char *sn_origin_text(Arena *arena, const Origin *origin) {
    if (!origin || !origin->primary) return "";
    const SourceNode *node = origin->primary;
    Text text = sn_text(arena);
    if (*node->name)
        sn_text_quote(&text, node->name, strlen(node->name));
    else
        sn_text_add(&text, "#%d", node->index);
    sn_text_add(&text, " (");
    /* An operator's name comes from the file too. */
    for (const char *c = node->op_type; *c; c++) {
        bool plain = *c > ' ' && *c < 127;
        sn_text_add(&text, "%c", plain ? *c : '?');
    }
    sn_text_add(&text, ")");
    if (origin->count > 1) sn_text_add(&text, " and %d more", origin->count - 1);
    return sn_text_string(&text);
}

static void print_values(Text *text, const Plan *plan) {
    const Dims *dims = plan->graph->dims;
    for (int i = 0; i < plan->value_count; i++) {
        const PlanValue *value = &plan->value[i];
        sn_text_add(text, "  b%d %s ", i, sn_storage_name(value->storage));
        sn_type_print(text, dims, value->type);
        if (value->first >= 0 && value->last >= plan->launch_count)
            sn_text_add(text, " life %d..", value->first);
        else if (value->first >= 0)
            sn_text_add(text, " life %d..%d", value->first, value->last);
        else if (value->last >= 0)
            sn_text_add(text, " last use %d", value->last);
        else
            sn_text_add(text, " unused");
        if (value->value) sn_text_add(text, " %%%d", value->value->id);
        if (value->value && value->value->name) {
            sn_text_put(text, " ", 1);
            sn_text_quote(text, value->value->name, strlen(value->value->name));
        }
        if (value->over >= 0) sn_text_add(text, " over b%d", value->over);
        sn_text_put(text, "\n", 1);
    }
}

static void print_states(Text *text, const Plan *plan) {
    for (int i = 0; i < plan->state_count; i++) {
        const PlanUpdate *update = &plan->update[i];
        sn_text_add(text, "state %d b%d <- b%d", i, plan->input[plan->state[i].input],
                    plan->output[plan->state[i].output].value);
        if (plan->cache[i].input >= 0)
            sn_text_add(text, " grows in place\n");
        else if (update->launch >= 0)
            sn_text_add(text, " in place by launch %d\n", update->launch);
        else
            sn_text_add(text, " in two buffers: %s\n", update->reason);
    }
}

static void print_dim(Text *text, const Plan *plan, const char *label, int dim) {
    if (dim < 0) return;
    sn_text_add(text, " %s ", label);
    sn_dim_print(text, plan->graph->dims, plan->dim[dim]);
}

static void print_buffers(Text *text, const PlanLaunch *launch, int begin, int end) {
    for (int i = begin; i < end; i++) sn_text_add(text, "%sb%d", i > begin ? ", " : "", launch->buffer[i]);
}

/* " library drelu+sum b17, b19 mask of 2": what the library is asked for first, with the buffers that it has besides. */
static void print_epilogue(Text *text, const PlanLaunch *launch) {
    static const char *const epilogue[] = {[SN_LIBRARY_NONE] = "",
                                           [SN_LIBRARY_RELU] = "relu+aux",
                                           [SN_LIBRARY_GELU_TANH] = "gelu+aux",
                                           [SN_LIBRARY_RELU_SLOPE] = "drelu",
                                           [SN_LIBRARY_GELU_SLOPE] = "dgelu"};
    if (launch->summed_by >= 0) sn_text_add(text, " summed by %d", launch->summed_by);
    if (!launch->product || !launch->product->full) return;
    const PlanProduct *full = launch->product->full;
    const char *with = epilogue[full->form->epilogue];
    sn_text_add(text, " library %s%s", with, !full->form->sum_of ? "" : *with ? "+sum" : "sum");
    for (int i = 0; i < launch->more_count; i++) sn_text_add(text, "%s b%d", i ? "," : "", launch->more[i]);
    if (full->needs >= 0) sn_text_add(text, " mask of %d", full->needs);
}

static void print_launch(Text *text, const Plan *plan, int index) {
    static const char *const phase[] = {
        [SN_PHASE_FORWARD] = "", [SN_PHASE_BACKWARD] = " backward", [SN_PHASE_UPDATE] = " update"};
    const PlanLaunch *launch = &plan->launch[index];
    const Node *cluster = launch->cluster;
    int outputs = launch->kernel->input_count, scratch = outputs + launch->output_count;
    sn_text_add(text, "  %d%s", index, index < plan->setup_count ? " setup" : "");
    if (launch->group > 1) sn_text_add(text, " group ..%d", index + launch->group - 1);
    if (launch->group < 0) sn_text_add(text, " with %d", index + launch->group);
    sn_text_add(text, "%s %s %s [%s] ", phase[cluster->phase], plan->kernel[launch->unique]->name,
                sn_cluster_kind_name(((const AttrCluster *)cluster->attr)->kind), launch->summary);
    print_buffers(text, launch, outputs, scratch);
    sn_text_add(text, " = (");
    print_buffers(text, launch, 0, outputs);
    sn_text_add(text, ")");
    if (scratch < launch->buffer_count) sn_text_add(text, " scratch ");
    print_buffers(text, launch, scratch, launch->buffer_count);
    print_dim(text, plan, "items", launch->items);
    print_dim(text, plan, "flops", launch->flops);
    print_dim(text, plan, "bytes", launch->bytes);
    print_epilogue(text, launch);
    const char *origin = sn_origin_text(text->arena, cluster->origin);
    sn_text_add(text, "%s%s\n", *origin ? " @ " : "", origin);
}

void sn_plan_print(Text *text, const Plan *plan) {
    sn_text_add(text, "plan ");
    sn_text_quote(text, plan->graph->name, strlen(plan->graph->name));
    sn_text_add(text, " %s target %s\n", plan->eager ? "eager" : "compiled", plan->target->name);
    sn_text_add(text, "buffers %d\n", plan->value_count);
    print_values(text, plan);
    sn_text_add(text, "launches %d kernels %d\n", plan->launch_count, plan->kernel_count);
    for (int i = 0; i < plan->launch_count; i++) print_launch(text, plan, i);
    sn_text_add(text, "outputs");
    for (int i = 0; i < plan->output_count; i++)
        sn_text_add(text, "%sb%d%s", i ? ", " : " ", plan->output[i].value,
                    plan->output[i].copied ? " (copied)" : "");
    sn_text_put(text, "\n", 1);
    print_states(text, plan);
}

void sn_plan_print_kernels(Text *text, const Plan *plan) {
    for (int i = 0; i < plan->kernel_count; i++) {
        int uses = 0;
        for (int j = 0; j < plan->launch_count; j++) uses += plan->launch[j].unique == i;
        sn_text_add(text, "/* %s: %d launch%s */\n%s\n", plan->kernel[i]->name, uses, uses == 1 ? "" : "es",
                    plan->kernel[i]->source);
    }
}
