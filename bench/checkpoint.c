#include "checkpoint.h"
#include "number.h"
#include "training.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

static Tensor *as_tensor(Arena *arena, const sn_Tensor *from) {
    Tensor *tensor = SN_NEW(arena, Tensor);
    int64_t *extent = SN_ARRAY(arena, int64_t, from->rank);
    *tensor = (Tensor){.rank = from->rank, .extent = extent, .count = 1, .bytes = from->data};
    sn_dtype_from_onnx(from->element_type, &tensor->dtype);
    for (int i = 0; i < from->rank; i++) tensor->count *= extent[i] = from->extent[i];
    return tensor;
}

Status sn_checkpoint_states(Arena *arena, sn_Context *context, int *count, NamedTensor **out) {
    *count = sn_context_state_count(context);
    *out = SN_ARRAY(arena, NamedTensor, *count);
    for (int i = 0; i < *count; i++) {
        sn_Tensor state;
        TRY(sn_context_state_get(context, i, &state));
        (*out)[i] = (NamedTensor){sn_context_state_name(context, i), as_tensor(arena, &state)};
    }
    return NULL;
}

Status sn_checkpoint_write(Arena *arena, const char *path, sn_Context *context,
                           const Checkpoint *checkpoint) {
    int count;
    NamedTensor *state;
    TRY(sn_checkpoint_states(arena, context, &count, &state));
    const NamedText text[3] = {{"format", "sinter training"},
                               {"step", sn_arena_printf(arena, "%" PRId64, checkpoint->step)},
                               {"options", checkpoint->options}};
    return sn_safetensors_write(arena, path, count, state, 3, text);
}

/* ---- reading ---- */

static bool same_type(const Tensor *a, const Tensor *b) {
    bool same = a->dtype == b->dtype && a->rank == b->rank;
    for (int i = 0; i < a->rank && same; i++) same = a->extent[i] == b->extent[i];
    return same;
}

enum { SHOWN_MOST = 5 };

/* What is wrong with a checkpoint; the first few in words. */
typedef struct Faults {
    Text text;
    int count;
} Faults;

static void add_name(Faults *faults, const char *name, const char *what) {
    if (faults->count++ >= SHOWN_MOST) return;
    sn_text_add(&faults->text, "\n  ");
    sn_text_quote(&faults->text, name, strlen(name));
    sn_text_add(&faults->text, " %s", what);
}

static Status compare(Arena *arena, const SafeTensors *file, int count, const NamedTensor *state) {
    Faults wrong = {.text = sn_text(arena)};
    Map *known = sn_map_new(arena);
    for (int i = 0; i < count; i++) {
        const Tensor *given = sn_safetensors_tensor(file, state[i].name);
        *sn_map_at_string(known, state[i].name) = (void *)(uintptr_t)state[i].tensor;
        if (!given) add_name(&wrong, state[i].name, "is missing");
        if (given && !same_type(given, state[i].tensor))
            add_name(&wrong, state[i].name, "has another type or shape");
    }
    for (int i = 0; i < file->count; i++)
        if (!sn_map_get_string(known, file->tensor[i].name))
            add_name(&wrong, file->tensor[i].name, "is no state of this training");
    if (!wrong.count) return NULL;
    if (wrong.count > SHOWN_MOST)
        sn_text_add(&wrong.text, "\n  and %d more of %d", wrong.count - SHOWN_MOST, count);
    return sn_fail(SN_INVALID, "the checkpoint is of another model or training:%s",
                   sn_text_string(&wrong.text));
}

static Status read_step(const SafeTensors *file, Checkpoint *out) {
    const char *step = sn_safetensors_text(file, "step");
    out->options = sn_safetensors_text(file, "options");
    char *end = NULL;
    errno = 0;
    out->step = step ? strtoll(step, &end, 10) : -1;
    if (step && out->options && *step >= '0' && *step <= '9' && !*end && !errno) return NULL;
    return sn_fail(SN_INVALID, "not a checkpoint of a training");
}

static Status read_states(Arena *arena, const SafeTensors *file, sn_Context *context, Checkpoint *out) {
    int count;
    NamedTensor *state;
    TRY(read_step(file, out));
    TRY(sn_checkpoint_states(arena, context, &count, &state));
    TRY(compare(arena, file, count, state));
    for (int i = 0; i < count; i++) {
        const Tensor *given = sn_safetensors_tensor(file, state[i].name);
        const sn_Tensor tensor = {sn_dtype_onnx(given->dtype), given->rank, given->extent,
                                  (void *)(uintptr_t)given->bytes};
        TRY(sn_context_state_set(context, i, &tensor));
    }
    return NULL;
}

Status sn_checkpoint_read(Arena *arena, const char *path, sn_Context *context, Checkpoint *out) {
    SafeTensors file;
    TRY(sn_safetensors_read(arena, path, &file));
    return sn_status_prefix(read_states(arena, &file, context, out), "%s", path);
}
