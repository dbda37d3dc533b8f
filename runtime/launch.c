#include "guard.h"
#include "number.h"
#include "program.h"

/* The node of a cluster's body that a fault code means: code - 1 counts the body's nodes from its first. */
static const Node *faulty_node(const Node *cluster, int fault) {
    const Node *node = cluster->body->first;
    for (int i = 1; i < fault && node; i++) node = node->next;
    return node;
}

static const char *fault_text(const Node *node) {
    OpClass class = node ? sn_op(node->op)->class : SN_CLASS_NONE;
    if (class == SN_CLASS_MOVE) return "an index is out of range";
    if (class == SN_CLASS_POINTWISE)
        return "an integer division by zero or without a result, or a conversion of a number that the type "
               "cannot hold";
    return "its data makes an operation undefined";
}

typedef struct Fault {
    const PlanLaunch *launch;
    int code;
    Arena *arena;
} Fault;

static Status describe(void *argument) {
    const Fault *fault = argument;
    const Node *cluster = fault->launch->cluster, *node = faulty_node(cluster, fault->code);
    const char *name = sn_origin_text(fault->arena, node && node->origin ? node->origin : cluster->origin);
    return sn_fail(SN_FAULT, "%s%s%s%s: %s", *name ? "node " : "a node without a name", name,
                   node ? ", " : "", node ? sn_op(node->op)->text : "", fault_text(node));
}

Status sn_program_fault(const sn_Program *program, int index, int code) {
    if (!code) return NULL;
    Fault fault = {&program->plan->launch[index], code, sn_arena_new()};
    if (!fault.arena) return sn_fail(SN_FAULT, "a kernel failed on its data");
    Status status = sn_guarded(fault.arena, describe, &fault);
    sn_arena_free(fault.arena);
    return status;
}

/* Operations and bytes; -1 when the kernel tells neither. */
static int64_t launch_work(const PlanLaunch *launch, const int64_t *dim) {
    int64_t flops = launch->flops < 0 ? -1 : dim[launch->flops];
    int64_t bytes = launch->bytes < 0 ? -1 : dim[launch->bytes];
    if (flops < 0 || bytes < 0 || flops > INT64_MAX - bytes) return flops > bytes ? flops : bytes;
    return flops + bytes;
}

static LaunchArguments launch_arguments(const PlanLaunch *launch, void *const *address, const int64_t *dim,
                                        const int64_t *param, void **buffer) {
    for (int i = 0; i < launch->buffer_count; i++) buffer[i] = address[launch->buffer[i]];
    return (LaunchArguments){.kernel = launch->unique,
                             .buffer = buffer,
                             .symbol = param,
                             .items = dim[launch->items],
                             .work = launch_work(launch, dim),
                             .threads = launch->kernel->threads,
                             .after = launch->after < 0 ? 0 : dim[launch->after],
                             .together = launch->together < 0 ? 1 : dim[launch->together],
                             .shared = launch->shared < 0 ? 0 : dim[launch->shared],
                             .buffer_count = launch->buffer_count,
                             .symbol_count = launch->kernel->param_count};
}

Status sn_program_launch(const sn_Program *program, const PlanLaunch *launch, void *const *address,
                         const int64_t *dim, const int64_t *param, void **buffer, int *fault) {
    if (dim[launch->items] <= 0) return NULL;
    LaunchArguments arguments = launch_arguments(launch, address, dim, param, buffer);
    return program->device->ops->launch(program->device, program->module, &arguments, fault);
}

Status sn_program_launch_group(const sn_Program *program, const PlanLaunch *launch, void *const *address,
                               const int64_t *dim, const int64_t *param, void **buffer,
                               LaunchArguments *member, int *fault) {
    int64_t first = 0;
    for (int i = 0; i < launch->group; i++) {
        member[i] = launch_arguments(&launch[i], address, dim, param + launch[i].param_start, buffer);
        member[i].first = first;
        if (member[i].items < 0) member[i].items = 0;
        if (!sn_add_i64(first, member[i].items, &first))
            return sn_fail(SN_UNSUPPORTED, "a group of launches with more than 2^63 items");
        buffer += launch[i].buffer_count;
    }
    return first ? program->device->ops->launch_group(program->device, program->module, member, launch->group,
                                                      fault)
                 : NULL;
}

static int64_t dim_or_zero(const int64_t *dim, int at) {
    return at < 0 ? 0 : dim[at];
}

static ProductMatrix matrix(const int64_t *dim, const PlanMatrix *at) {
    return (ProductMatrix){dim_or_zero(dim, at->offset), dim_or_zero(dim, at->stride),
                           dim_or_zero(dim, at->batch_stride)};
}

static ProductArguments arguments_of(const PlanProduct *product, const int64_t *dim) {
    return (ProductArguments){.product = product->form,
                              .batch = dim[product->batch],
                              .M = dim[product->M],
                              .N = dim[product->N],
                              .K = dim[product->K],
                              .a = matrix(dim, &product->a),
                              .b = matrix(dim, &product->b),
                              .c = matrix(dim, &product->c),
                              .d = matrix(dim, &product->d),
                              .bias = matrix(dim, &product->bias),
                              .aux = matrix(dim, &product->aux),
                              .sum = matrix(dim, &product->sum)};
}

Status sn_program_product(const sn_Program *program, const PlanLaunch *launch, void *const *address,
                          const int64_t *dim, const int64_t *param, void **buffer, void *workspace,
                          int proposal, int *fault, bool *full, bool *done) {
    const PlanProduct *product = launch->product;
    Device *device = program->device;
    for (int i = 0; i < launch->buffer_count; i++) buffer[i] = address[launch->buffer[i]];
    for (int i = 0; i < launch->more_count; i++) buffer[launch->buffer_count + i] = address[launch->more[i]];
    bool tries = *full && product->full;
    *full = *done = false;
    for (int form = tries ? 0 : 1; form < 2 && !*done; form++) {
        ProductArguments arguments = arguments_of(form ? product : product->full, dim);
        arguments.precision = device->target.precision;
        arguments.buffer = buffer;
        arguments.workspace = workspace;
        arguments.workspace_bytes = SN_WORKSPACE_BYTES;
        arguments.proposal = proposal;
        TRY(device->ops->product(device, &arguments, done));
        *full = *done && form == 0;
    }
    if (*full) return NULL;
    const PlanLaunch *rest = *done ? product->rest : NULL;
    return rest ? sn_program_launch(program, rest, address, dim, param + rest->param_start, buffer, fault)
                : NULL;
}
