/* Inputs that decide what has to be known before any run: which they are, and their constants. */
#include "import.h"
#include "loop.h"

#include <string.h>

const Tensor *sn_constant_of_input(const Import *import, const char *name) {
    const LoadOptions *options = import->options;
    for (int k = 0; options && k < options->constant_count; k++) {
        const ConstantInput *constant = &options->constant[k];
        if ((!constant->if_needed || import->needed[k]) && strcmp(constant->name, name) == 0)
            return constant->tensor;
    }
    return NULL;
}

static bool is_input(const Graph *graph, const Value *value) {
    for (int i = 0; i < graph->body->param.count; i++)
        if (graph->body->param.at[i] == value) return true;
    return false;
}

typedef SN_VEC(const Value *) ValueList;

/* What loops make are inputs of the graph, too, but none of the file's: they come of what their loop takes. */
static void push_taken(const Import *import, const Value *made, ValueList *left) {
    for (int i = 0; i < import->loops.count; i++) {
        const ImportLoop *loop = &import->loops.at[i];
        int k = 0, count = sn_loop_made(&loop->loop);
        while (k < count && loop->made[k] != made) k++;
        for (int t = 0; k < count && t < sn_loop_taken(&loop->loop); t++)
            sn_push(import->scratch, left, loop->taken[t]);
    }
}

/* A turn's inputs are what it has from around it, or what the turn before has made, which no input of the file is. */
static void note_input(Import *import, const Value *value) {
    if (!import->turn)
        *sn_map_at_string(import->deciding, value->name) = import;
    else
        sn_import_deciding(import->around, sn_map_get(import->captures, &value, sizeof value));
}

void sn_import_deciding(Import *import, const Value *value) {
    ValueList left = {0};
    if (value) sn_push(import->scratch, &left, value);
    while (left.count > 0) {
        value = left.at[--left.count];
        void **slot = sn_map_at(import->walked, &value, sizeof value);
        if (!value || *slot) continue;
        *slot = import;
        if (sn_map_get(import->made, &value, sizeof value))
            push_taken(import, value, &left);
        else if (is_input(import->graph, value))
            note_input(import, value);
        for (int k = 0; value->producer && k < value->producer->input_count; k++)
            sn_push(import->scratch, &left, value->producer->input[k]);
    }
}
