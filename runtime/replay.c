/* Runs that are started as one: on a GPU, starting a run's launches one by one can take longer than they do.
 *
 * A run, or a part of one, is recorded when the same has been there before: the same launches and binding, and
 * the same addresses of everything that lies outside the arena. What differs from run to run, as the lengths of
 * caches do, is started launch by launch and costs no recording; so is all of a plan whose data decide sizes. */
#include "context.h"

static Hash key_of(const sn_Context *context, const Binding *binding) {
    const Plan *plan = context->program->plan;
    Hash key = sn_hash_u64((Hash){0}, binding->number);
    key = sn_hash_u64(sn_hash_u64(key, (uint64_t)context->begin), (uint64_t)context->end);
    key = sn_hash_u64(sn_hash_u64(key, (uint64_t)context->last_phase), (uintptr_t)context->arena[0].at);
    key = sn_hash_u64(key, (uintptr_t)context->workspace.at);
    for (int i = 0; i < plan->value_count; i++)
        if (!sn_plan_value_in_run(&plan->value[i])) key = sn_hash_u64(key, (uintptr_t)context->address[i]);
    return key;
}

/* The place of the key, or that of the one whose last run is longest ago. */
static ReplaySlot *find_slot(sn_Context *context, Hash key) {
    ReplaySlot *oldest = &context->replay[0];
    for (int i = 0; i < SN_REPLAYS_MOST; i++) {
        ReplaySlot *slot = &context->replay[i];
        if (slot->wanted && sn_hash_equal(slot->key, key)) return slot;
        if (slot->wanted < oldest->wanted) oldest = slot;
    }
    return oldest;
}

/* The recording ends whatever came of the launches: otherwise the thread could start nothing any more. */
static Status record(sn_Context *context, const Binding *binding,
                     Status (*run)(sn_Context *, const Binding *), ReplaySlot *slot) {
    Device *device = context->program->device;
    TRY(device->ops->record(device));
    Status status = run(context, binding);
    Status ended = device->ops->recorded(device, status ? NULL : &slot->recording);
    context->reached = context->begin - 1; /* nothing of it has run */
    if (status) {
        sn_error_free(ended);
        return status;
    }
    slot->recorded = !ended;
    return ended;
}

Status sn_replay(sn_Context *context, const Binding *binding, Status (*run)(sn_Context *, const Binding *)) {
    Device *device = context->program->device;
    if (!device->ops->record || context->profile || context->begin == context->end ||
        context->program->plan->segment_count > 1)
        return run(context, binding);
    Hash key = key_of(context, binding);
    ReplaySlot *slot = find_slot(context, key);
    bool known = slot->wanted && sn_hash_equal(slot->key, key);
    slot->wanted = ++context->runs;
    slot->key = key;
    if (!known) {
        slot->recorded = false;
        return run(context, binding);
    }
    if (!slot->recorded) TRY(sn_status_prefix(record(context, binding, run, slot), "recording a run"));
    context->reached = context->end - 1;
    return device->ops->replay(device, slot->recording);
}

void sn_replay_free(sn_Context *context) {
    Device *device = context->program->device;
    for (int i = 0; i < SN_REPLAYS_MOST; i++)
        if (context->replay[i].recording) device->ops->forget(device, context->replay[i].recording);
}
