#include "program.h"
#include "clock.h"
#include "cpu/cpu.h"
#include "cuda/cuda.h"
#include "pages.h"
#include <stdlib.h>

enum {
    FILL_ELEMENTS = 1 << 16, /* of a constant that one thread makes at a time */
    NOTHING_BYTES = 64,
};

static Status open_threads(Arena *arena, int threads, sn_Program **out) {
    sn_Program *program = *out = calloc(1, sizeof *program);
    if (!program) return sn_fail(SN_NO_MEMORY, "out of memory for a program");
    program->arena = arena;
    return sn_pool_new(threads ? threads : sn_cpu_count(), &program->pool);
}

static bool is_cpu(const char *device) {
    return !device || strcmp(device, "cpu") == 0;
}

static Status unknown_device(const char *device) {
    return sn_fail(SN_UNSUPPORTED,
                   "device \"%s\" is unsupported: there are cpu, cuda, cuda:N and cuda:sm_NN, from sm_80 on",
                   device);
}

static Status open_device(Arena *arena, const char *name, const char *cache_dir, Pool *pool, Device **out) {
    CudaName cuda;
    if (is_cpu(name)) return sn_cpu_open(arena, cache_dir, pool, out);
    if (!sn_cuda_name(name, &cuda)) return unknown_device(name);
    return cuda.sm ? sn_cuda_device_absent(arena, cache_dir, cuda.sm, pool, out)
                   : sn_cuda_device_open(arena, cache_dir, cuda.ordinal, pool, out);
}

Status sn_program_open(Arena *arena, const char *device, int threads, const char *cache_dir,
                       sn_Program **out) {
    TRY(open_threads(arena, threads, out));
    double start = sn_clock();
    TRY(open_device(arena, device, cache_dir, (*out)->pool, &(*out)->device));
    (*out)->ledger.tools = sn_clock() - start;
    return NULL;
}

Status sn_program_open_compiled(Arena *arena, const char *device, int threads, const Target *target,
                                sn_Program **out) {
    TRY(open_threads(arena, threads, out));
    CudaName cuda = {0};
    bool on_cpu = target->kind == SN_TARGET_CPU;
    if (!is_cpu(device) && !sn_cuda_name(device, &cuda)) return unknown_device(device);
    if (device && is_cpu(device) != on_cpu)
        return sn_fail(SN_UNSUPPORTED, "device \"%s\" is unsupported by a program that was saved for %s",
                       device, target->name);
    return on_cpu ? sn_cpu_open_compiled(arena, target, (*out)->pool, &(*out)->device)
                  : sn_cuda_device_compiled(arena, target, cuda.ordinal, (*out)->pool, &(*out)->device);
}

Status sn_program_open_turn(sn_Program *program, int index, sn_Program **out) {
    int count = program->plan->graph->loops.count;
    if (!program->turn) program->turn = calloc((size_t)count, sizeof *program->turn);
    sn_Program *turn = program->turn ? calloc(1, sizeof *turn) : NULL;
    if (!turn) return sn_fail(SN_NO_MEMORY, "out of memory for the program of a loop");
    turn->arena = program->arena;
    turn->pool = program->pool;
    turn->device = program->device;
    turn->autocast = program->autocast;
    turn->inside = true;
    program->turn_count = count;
    program->turn[index] = *out = turn;
    return NULL;
}

/* ---- constants ---- */

typedef struct Fill {
    const Tensor *tensor;
    char *out;
} Fill;

static int fill(void *argument, int64_t begin, int64_t end) {
    const Fill *job = argument;
    int64_t first = begin * FILL_ELEMENTS, last = end * FILL_ELEMENTS;
    if (last > job->tensor->count) last = job->tensor->count;
    sn_tensor_copy(job->tensor, first, last, job->out + first * sn_dtype_bytes(job->tensor->dtype));
    return 0;
}

static void fill_all(const sn_Program *program, const Tensor *tensor, void *out) {
    Fill job = {tensor, out};
    sn_pool_run(program->pool, fill, &job, (tensor->count + FILL_ELEMENTS - 1) / FILL_ELEMENTS, 1, 1);
}

static Status device_alloc(const sn_Program *program, int64_t bytes, Resident *out) {
    TRY(program->device->ops->alloc(program->device, bytes, &out->at));
    out->bytes = bytes;
    out->owned = true;
    return NULL;
}

static void drop(const sn_Program *program, Resident *resident) {
    if (resident->owned) program->device->ops->free(program->device, resident->at, resident->bytes);
    *resident = (Resident){0};
}

/* Kernels load vectors from any address, but elements lie on multiples of their size. */
static bool usable_in_place(const Device *device, const Tensor *tensor) {
    return device->host_memory && tensor->payload == SN_PAYLOAD_BYTES &&
           (uintptr_t)tensor->bytes % (uintptr_t)sn_dtype_bytes(tensor->dtype) == 0;
}

Status sn_program_fill(const sn_Program *program, const Tensor *tensor, void *to) {
    if (program->device->host_memory) {
        fill_all(program, tensor, to);
        return NULL;
    }
    int64_t bytes = tensor->count * sn_dtype_bytes(tensor->dtype);
    if (tensor->payload == SN_PAYLOAD_BYTES)
        return program->device->ops->upload(program->device, to, tensor->bytes, bytes);
    void *staging = malloc((size_t)bytes);
    if (!staging)
        return sn_fail(SN_NO_MEMORY, "out of memory for a constant of %lld bytes", (long long)bytes);
    fill_all(program, tensor, staging);
    Status status = program->device->ops->upload(program->device, to, staging, bytes);
    free(staging);
    return status;
}

static Status make_constant(sn_Program *program, int index) {
    const Tensor *tensor = program->plan->value[index].tensor;
    Resident *resident = &program->resident[index];
    if (resident->at) return NULL;
    int64_t bytes = tensor->count * sn_dtype_bytes(tensor->dtype);
    if (bytes == 0) {
        *resident = (Resident){.at = program->nothing};
        return NULL;
    }
    if (usable_in_place(program->device, tensor)) {
        *resident = (Resident){.at = (void *)(uintptr_t)tensor->bytes, .bytes = bytes};
        return NULL;
    }
    TRY(device_alloc(program, bytes, resident));
    return sn_program_fill(program, tensor, resident->at);
}

/* ---- setup ---- */

/* What setup launches compute with does not depend on inputs: their Dims are constants. */
static Status constant_dims(const sn_Program *program, int64_t *value) {
    const Plan *plan = program->plan;
    bool *known = SN_ARRAY(program->arena, bool, plan->dim_count);
    for (int i = 0; i < plan->dim_count; i++) known[i] = sn_dim_is(plan->dim[i], &value[i]);
    for (int i = 0; i < plan->setup_count; i++) {
        const PlanLaunch *launch = &plan->launch[i];
        bool fine = known[launch->items] && (launch->after < 0 || known[launch->after]) &&
                    (launch->shared < 0 || known[launch->shared]);
        for (int k = 0; k < launch->buffer_count; k++)
            fine = fine && known[plan->value[launch->buffer[k]].bytes];
        for (int k = 0; k < launch->kernel->param_count; k++) fine = fine && known[launch->param[k]];
        if (!fine) return sn_fail(SN_INTERNAL, "setup launch %d depends on the shapes of inputs", i);
    }
    return NULL;
}

static Status setup_buffers(sn_Program *program, const PlanLaunch *launch, const int64_t *dim,
                            void **address) {
    for (int i = 0; i < launch->buffer_count; i++) {
        int at = launch->buffer[i];
        const PlanValue *value = &program->plan->value[at];
        Resident *resident = &program->resident[at];
        int64_t bytes = dim[value->bytes];
        if (value->storage == SN_STORAGE_CONSTANT)
            TRY(make_constant(program, at));
        else if (!resident->at && bytes > 0)
            TRY(device_alloc(program, bytes, resident));
        else if (!resident->at)
            *resident = (Resident){.at = program->nothing};
        address[at] = resident->at;
    }
    return NULL;
}

void sn_program_setup_needed(Arena *arena, const Plan *plan, const bool *ready, bool *needed) {
    bool *wanted = SN_ARRAY(arena, bool, plan->value_count);
    for (int i = 0; i < plan->value_count; i++)
        wanted[i] = plan->value[i].storage == SN_STORAGE_SETUP && plan->value[i].last >= plan->setup_count;
    for (int i = plan->setup_count - 1; i >= 0; i--) {
        const PlanLaunch *launch = &plan->launch[i];
        int inputs = launch->kernel->input_count;
        needed[i] = false;
        for (int k = inputs; k < inputs + launch->output_count; k++)
            needed[i] = needed[i] || (wanted[launch->buffer[k]] && !ready[launch->buffer[k]]);
        for (int k = 0; needed[i] && k < inputs; k++) wanted[launch->buffer[k]] = true;
    }
}

static const bool *launches_needed(const sn_Program *program) {
    const Plan *plan = program->plan;
    bool *ready = SN_ARRAY(program->arena, bool, plan->value_count);
    bool *needed = SN_ARRAY(program->arena, bool, plan->setup_count);
    for (int i = 0; i < plan->value_count; i++) ready[i] = program->resident[i].at != NULL;
    sn_program_setup_needed(program->arena, plan, ready, needed);
    return needed;
}

/* What setup launches run with. */
typedef struct Setup {
    int64_t *dim, *param;
    void **address, **buffer;
    int *fault;
} Setup;

static Status run_setup_launch(sn_Program *program, const Setup *setup, int index) {
    const PlanLaunch *launch = &program->plan->launch[index];
    TRY(setup_buffers(program, launch, setup->dim, setup->address));
    for (int k = 0; k < launch->kernel->param_count; k++) setup->param[k] = setup->dim[launch->param[k]];
    *setup->fault = 0;
    TRY(sn_program_launch(program, launch, setup->address, setup->dim, setup->param, setup->buffer,
                          setup->fault));
    TRY(program->device->ops->sync(program->device));
    return sn_program_fault(program, index, *setup->fault);
}

/* Asks for the weights of the launches to come, in order, as far as they lie in files. */
static ReadAhead *read_weights_ahead(const sn_Program *program, const FilePages *pages, const bool *needed) {
    const Plan *plan = program->plan;
    FileRange *range = SN_ARRAY(program->arena, FileRange, plan->value_count);
    int count = 0;
    for (int i = 0; i < plan->setup_count; i++)
        for (int k = 0; needed[i] && k < plan->launch[i].kernel->input_count; k++) {
            const Tensor *tensor = plan->value[plan->launch[i].buffer[k]].tensor;
            if (!tensor || !usable_in_place(program->device, tensor) || count == plan->value_count) continue;
            uintptr_t at = (uintptr_t)tensor->bytes;
            range[count++] = (FileRange){at, at + (uintptr_t)(tensor->count * sn_dtype_bytes(tensor->dtype))};
        }
    return sn_pages_read_ahead(pages, range, count);
}

static Status run_setup_launches(sn_Program *program, const FilePages *pages, const bool *needed) {
    const Plan *plan = program->plan;
    Setup setup = {.dim = SN_ARRAY(program->arena, int64_t, plan->dim_count),
                   .param = SN_ARRAY(program->arena, int64_t, plan->param_count),
                   .address = SN_ARRAY(program->arena, void *, plan->value_count),
                   .buffer = SN_ARRAY(program->arena, void *, plan->buffer_most),
                   .fault = program->setup_fault};
    TRY(constant_dims(program, setup.dim));
    for (int i = 0; i < plan->setup_count; i++) {
        const PlanLaunch *launch = &plan->launch[i];
        if (needed[i]) TRY(run_setup_launch(program, &setup, i));
        for (int k = 0; k < launch->dead_count; k++) {
            Resident *dead = &program->resident[launch->dead[k]];
            /* A weight that was packed and is not needed as it was need not be in memory twice. */
            if (!dead->owned) sn_pages_release(pages, dead->at, dead->bytes);
            drop(program, dead);
        }
    }
    return NULL;
}

static Status run_setup(sn_Program *program) {
    if (!program->plan->setup_count) return NULL;
    TRY(program->device->ops->alloc_host(program->device, sizeof(int), &program->setup_fault));
    const bool *needed = launches_needed(program);
    FilePages pages = sn_pages_find(program->arena);
    ReadAhead *ahead = read_weights_ahead(program, &pages, needed);
    Status status = run_setup_launches(program, &pages, needed);
    sn_pages_read_end(ahead);
    return status;
}

static Status make_resident(sn_Program *program) {
    const Plan *plan = program->plan;
    for (int i = 0; i < plan->value_count; i++) {
        const PlanValue *value = &plan->value[i];
        if (value->storage == SN_STORAGE_CONSTANT && value->last >= plan->setup_count)
            TRY(make_constant(program, i));
        program->constant_bytes += program->resident[i].bytes;
    }
    return NULL;
}

Status sn_program_begin(sn_Program *program, const Plan *plan) {
    program->plan = plan;
    program->resident = calloc((size_t)plan->value_count + 1, sizeof *program->resident);
    if (!program->resident) return sn_fail(SN_NO_MEMORY, "out of memory for %d buffers", plan->value_count);
    const DeviceOps *ops = program->device->ops;
    if (!program->device->absent) TRY(ops->alloc(program->device, NOTHING_BYTES, &program->nothing));
    bool products = false;
    for (int i = plan->setup_count; i < plan->launch_count; i++)
        products = products || plan->launch[i].product;
    program->library = products && !program->device->absent && ops->library && ops->library(program->device);
    return NULL;
}

Status sn_program_finish(sn_Program *program) {
    if (program->device->absent) return NULL;
    double start = sn_clock();
    TRY(run_setup(program));
    TRY(make_resident(program));
    TRY(program->device->ops->sync(program->device)); /* for the threads of other contexts */
    program->ledger.setup += sn_clock() - start;
    return NULL;
}

Status sn_program_load(sn_Program *program, const Plan *plan) {
    TRY(sn_program_begin(program, plan));
    TRY(program->device->ops->compile(program->device, plan->kernel, plan->kernel_count,
                                      &program->ledger.kernels, &program->module));
    return sn_program_finish(program);
}

void sn_program_free(sn_Program *program) {
    if (!program) return;
    for (int i = 0; i < program->turn_count; i++) sn_program_free(program->turn[i]);
    free(program->turn);
    for (int i = 0; program->resident && i < program->plan->value_count; i++)
        drop(program, &program->resident[i]);
    free(program->resident);
    if (program->device) {
        program->device->ops->free_host(program->device, program->setup_fault);
        program->device->ops->free(program->device, program->nothing, NOTHING_BYTES);
        program->device->ops->unload(program->device, program->module);
        if (!program->inside) program->device->ops->close(program->device);
    }
    if (!program->inside) {
        sn_pool_free(program->pool);
        sn_arena_free(program->arena);
    }
    if (program->release_model) program->release_model(program->model);
    free(program);
}

int64_t sn_program_constant_bytes(const sn_Program *program) {
    int64_t bytes = program->constant_bytes;
    for (int i = 0; i < program->turn_count; i++) bytes += sn_program_constant_bytes(program->turn[i]);
    return bytes;
}
