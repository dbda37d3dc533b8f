/* The places where a running count grows: places.h and places.cuh, with the count as a hole. */
#include "lower_template.h"

enum { CHUNK = 16384, THREADS = 256 }; /* SN_PLACES_CHUNK, SN_PLACES_THREADS */

/* The count at a place. */
static void read_count(Lower *lower, const Node *node, bool cuda, TemplateUse *use) {
    Dim all = node->input[0]->type.dim[0];
    HoleSpec spec = {.name = cuda ? "at" : "sn_places_at", .count = 1, .argument = {"i"}, .extent = {all}};
    HoleAxes axes = sn_hole_axes(lower->kernel, &spec, false);
    Dim from = sn_dim_axis(lower->dims, 0, all), to = axes.argument[0];
    sn_lower_nest(lower);
    Instr *count = sn_lower_pull(lower, node->input[0], &from);
    sn_hole_add(lower, use, &spec, false, &axes, count, &from, &to, 1);
    use->hole.at[use->hole.count - 1].integer = true;
}

Status sn_lower_places(KernelIr *kernel, const Node *node) {
    Lower lower = sn_lower(kernel);
    TemplateUse *use = SN_NEW(kernel->arena, TemplateUse);
    bool cuda = kernel->target->kind == SN_TARGET_CUDA;
    read_count(&lower, node, cuda, use);
    TRY(lower.status);
    Dim all = node->input[0]->type.dim[0];
    const char *count = sn_template_number(kernel, use, all);
    const char *rows = sn_template_number(kernel, use, node->output[0]->type.dim[0]);
    const char *out = cuda ? "use, (int64_t *)args.buffer" : "context, (int64_t *)buffers";
    use->items = sn_dim_ceildiv(lower.dims, all, sn_dim(lower.dims, cuda ? THREADS : CHUNK));
    use->driver = sn_arena_printf(kernel->arena, "sn_places_run(%s[%d], %s, %s, %s);", out,
                                  kernel->input_count, count, rows, cuda ? "block" : "begin, end");
    use->defines = "";
    use->file[0] = cuda ? "places.cuh" : "places.h";
    use->threads = THREADS;
    kernel->use = use;
    return NULL;
}
