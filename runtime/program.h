/* A program: a plan with a device, its kernels loaded, its constants resident and its setup done. Immutable
 * once loaded, and shared by contexts on any threads.
 */
#ifndef SN_PROGRAM_H
#define SN_PROGRAM_H

#include "cpu/threads.h"
#include "device.h"
#include "plan.h"

/* Where the time from file to first launch went, in seconds. */
typedef struct Ledger {
    double parse, import; /* of the model: once, however many programs are made from it */
    double tools;         /* asking the compiler about itself and the processor */
    double passes, codegen, setup;
    CompileRecord kernels; /* compiler, link, load */
} Ledger;

/* Where the bytes of a constant or a setup result are. */
typedef struct Resident {
    void *at; /* NULL: not resident (any more, or yet) */
    int64_t bytes;
    bool owned; /* of the device; otherwise the model's own memory, used in place */
} Resident;

struct sn_Program {
    Arena *arena;          /* the device, the plan, its graph; owned */
    const sn_Model *model; /* whose payloads the constants are; NULL in tests that have none */
    void (*release_model)(const sn_Model *model);
    Pool *pool;
    Device *device;
    const Plan *plan;
    Module *module;
    bool inside;              /* it is the turn of a loop: arena, pool and device are another program's */
    struct sn_Program **turn; /* per loop of the plan's graph: what makes its turns; owned */
    int turn_count;
    const struct LoopOps *loops; /* what runs them (context.h); NULL: there are none */
    sn_Autocast autocast;        /* that the plan was made with */
    bool library;                /* the device has a library for the plan's products */
    Resident *resident;          /* per value of the plan */
    void *setup_fault;           /* where setup launches put their fault code; of the device's alloc_host */
    int64_t constant_bytes;
    const struct BudgetReport *budget; /* NULL: none was given */
    Ledger ledger;
    sn_TensorInfo *input, *output; /* in the arena; NULL in tests that have no model */
    void *nothing;                 /* of the device: what buffers of zero bytes point to */
};

/* A program with threads and a device, and no plan yet. *out is what there is of it, which owns `arena` and
 * is to be freed by sn_program_free, also when this fails; when *out is NULL, the arena stays the caller's.
 * `device` NULL: "cpu". threads 0: as many as the process may use. */
Status sn_program_open(Arena *arena, const char *device, int threads, const char *cache_dir,
                       sn_Program **out);

/* The same for kernels that were compiled before: no compiler and no cache are looked for. */
Status sn_program_open_compiled(Arena *arena, const char *device, int threads, const Target *target,
                                sn_Program **out);

/* A program for the turns of loop `index` of the program's plan, on its device, with no plan yet; freed with it. */
Status sn_program_open_turn(sn_Program *program, int index, sn_Program **out);

/* Compiles the plan's kernels, runs its setup and makes the constants resident. The plan lies in the
 * program's arena and was made for its device's target. */
Status sn_program_load(sn_Program *program, const Plan *plan);

/* The same in two halves, between which the kernels are loaded, and setup results may be made resident (not
 * owned): launches that are only for those do not run then. */
Status sn_program_begin(sn_Program *program, const Plan *plan);
Status sn_program_finish(sn_Program *program);

/* Writes a tensor's elements, computed where they are a recipe, to device memory. */
Status sn_program_fill(const sn_Program *program, const Tensor *tensor, void *to);

/* Which setup launches (needed[0 .. setup_count)) have to run when the values with ready[i] (per value of the
 * plan) are there. */
void sn_program_setup_needed(Arena *arena, const Plan *plan, const bool *ready, bool *needed);

/* Starts a launch of the plan by its kernel. address[i] is where value i of the plan is; dim[i] the value of
 * Plan.dim[i]; param the values of the launch's params; buffer has room for Plan.buffer_most. *fault (0
 * before; of the device's alloc_host) becomes the launch's fault code, at the latest when the device's sync
 * returns. */
Status sn_program_launch(const sn_Program *program, const PlanLaunch *launch, void *const *address,
                         const int64_t *dim, const int64_t *param, void **buffer, int *fault);

/* The same of all launches of a group, of which `launch` is the first. param: those of the whole plan, as in a binding;
 * buffer has room for Plan.group_buffers, `member` for Plan.group_most. fault: of each. */
Status sn_program_launch_group(const sn_Program *program, const PlanLaunch *launch, void *const *address,
                               const int64_t *dim, const int64_t *param, void **buffer,
                               LaunchArguments *member, int *fault);

/* The same by the device's library: its product and then, unless that is all, the rest. *done false: nothing was
 * started, as the library has no such proposal (from 0). *full: whether product->full may be tried first, as the mask
 * that it reads is there; then whether it was done. param: those of the whole plan, as in a binding. workspace:
 * SN_WORKSPACE_BYTES of the device, of this context alone. */
enum { SN_WORKSPACE_BYTES = 32 << 20 }; /* what the library's makers recommend for sm_90 */
Status sn_program_product(const sn_Program *program, const PlanLaunch *launch, void *const *address,
                          const int64_t *dim, const int64_t *param, void **buffer, void *workspace,
                          int proposal, int *fault, bool *full, bool *done);

/* SN_FAULT, naming the node that a launch's fault code means; NULL for the code 0. */
Status sn_program_fault(const sn_Program *program, int index, int fault);

#endif
