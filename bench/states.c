#include "states.h"
#include "session.h"
#include "text.h"
#include <string.h>

static int find_output(const sn_Model *model, const char *name) {
    for (int i = 0; i < sn_model_output_count(model); i++)
        if (strcmp(sn_model_output(model, i).name, name) == 0) return i;
    return -1;
}

/* Whether `name` fits a pattern with at most one `*`, which stands for *length characters at *middle. */
static bool fits(const char *pattern, const char *name, const char **middle, size_t *length) {
    const char *star = strchr(pattern, '*');
    *middle = name;
    *length = 0;
    if (!star) return strcmp(pattern, name) == 0;
    size_t before = (size_t)(star - pattern), after = strlen(star + 1), all = strlen(name);
    if (all < before + after || strncmp(pattern, name, before) != 0 ||
        strcmp(star + 1, name + all - after) != 0)
        return false;
    *middle = name + before;
    *length = all - before - after;
    return true;
}

static const char *fill_in(Arena *arena, const char *pattern, const char *middle, size_t length) {
    const char *star = strchr(pattern, '*');
    if (!star) return pattern;
    return sn_arena_printf(arena, "%.*s%.*s%s", (int)(star - pattern), pattern, (int)length, middle,
                           star + 1);
}

typedef SN_VEC(sn_State) StateList;

/* All pairs that "INPUT=OUTPUT" stands for. */
static Status add_pairs(Arena *arena, const sn_Model *model, const StateSpec *spec, StateList *list) {
    int before = list->count;
    for (int i = 0; i < sn_model_input_count(model); i++) {
        const char *middle;
        size_t length;
        if (!fits(spec->input, sn_model_input(model, i).name, &middle, &length)) continue;
        const char *name = fill_in(arena, spec->output, middle, length);
        int found = find_output(model, name);
        if (found < 0)
            return sn_fail(SN_INVALID, "state '%s=%s': the model has no output '%s'", spec->input,
                           spec->output, name);
        sn_push(arena, list, ((sn_State){i, found}));
    }
    if (list->count > before) return NULL;
    return sn_fail(SN_INVALID, "state '%s=%s': the model has no input '%s'", spec->input, spec->output,
                   spec->input);
}

Status sn_states_find(Arena *arena, const sn_Model *model, const StateSpecs *specs, States *out) {
    StateList list = {0};
    for (int i = 0; !specs->count && model->saved && i < model->saved->facts.state_count; i++)
        sn_push(arena, &list, model->saved->facts.state[i]);
    for (int i = 0; i < specs->count; i++) TRY(add_pairs(arena, model, &specs->at[i], &list));
    *out = (States){list.count, list.at};
    return NULL;
}

/* ---- specs ---- */

static int stars(const char *text) {
    int count = 0;
    for (; *text; text++) count += *text == '*';
    return count;
}

static Status parse(Arena *arena, const char *text, size_t length, StateSpec *out) {
    char *input = sn_arena_printf(arena, "%.*s", (int)length, text), *equals = strchr(input, '=');
    if (equals) *equals = '\0';
    if (!equals || !*input || !equals[1] || stars(input) > 1 || stars(equals + 1) != stars(input))
        return sn_fail(SN_INVALID, "state '%.*s' is not INPUT=OUTPUT, with one * on both sides or none",
                       (int)length, text);
    *out = (StateSpec){input, equals + 1};
    return NULL;
}

Status sn_state_specs_parse(Arena *arena, int count, const char *const *text, StateSpecs *out) {
    SN_VEC(StateSpec) list = {0};
    for (int i = 0; i < count; i++) {
        for (const char *at = text[i];; at++) {
            size_t length = strcspn(at, ",");
            StateSpec spec;
            TRY(parse(arena, at, length, &spec));
            sn_push(arena, &list, spec);
            at += length;
            if (!*at) break;
        }
    }
    *out = (StateSpecs){list.count, list.at};
    return NULL;
}
