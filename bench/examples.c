#include "examples.h"
#include "load.h"
#include "number.h"

static int find_input(const Graph *graph, const char *name) {
    for (int i = 0; i < graph->body->param.count; i++) {
        const char *own = graph->body->param.at[i]->name;
        if (own && strcmp(own, name) == 0) return i;
    }
    return -1;
}

static Status open_file(Arena *arena, const InputSpec *spec, Tensor *out) {
    size_t length = strlen(spec->file);
    if (length > 4 && strcmp(spec->file + length - 4, ".npy") == 0) return sn_map_npy(arena, spec->file, out);
    Tensor *tensor;
    TRY(sn_load_tensor(arena, spec->file, &tensor, NULL));
    *out = *tensor;
    return NULL;
}

static Status open_example(Arena *arena, const Graph *graph, const InputSpec *spec, int64_t batch,
                           ExampleFile *file, ShapeSpec *shape) {
    if (!spec->file) return sn_fail(SN_INVALID, "examples '%s' are no file", spec->name);
    file->input = find_input(graph, spec->name);
    if (file->input < 0 || strcmp(spec->name, "learning_rate") == 0)
        return sn_fail(SN_INVALID, "the training has no input '%s' that examples could have", spec->name);
    TRY(open_file(arena, spec, &file->tensor));
    const Tensor *tensor = &file->tensor;
    DType dtype = graph->body->param.at[file->input]->type.dtype;
    if (tensor->dtype != dtype)
        return sn_fail(SN_INVALID, "%s: its elements are %s, and input '%s' is %s", spec->file,
                       sn_dtype_name(tensor->dtype), spec->name, sn_dtype_name(dtype));
    if (tensor->rank < 1) return sn_fail(SN_INVALID, "%s: it has no axis of examples", spec->file);
    *shape = (ShapeSpec){.name = spec->name, .rank = tensor->rank, .extent = {batch}};
    for (int i = 1; i < tensor->rank; i++) shape->extent[i] = tensor->extent[i];
    return NULL;
}

/* The loss that takes the input for its labels; NULL: none does. */
static const Node *loss_of(const Value *labels) {
    for (int i = 0; i < labels->users.count; i++) {
        const Node *user = labels->users.at[i];
        if (user && user->op == SN_OP_CROSS_ENTROPY && user->input[1] == labels) return user;
    }
    return NULL;
}

/* Labels that are no classes are found before the first step, not when one is drawn. */
static Status check_labels(const Graph *graph, const InputSpec *spec, const ExampleFile *file) {
    const Node *loss = loss_of(graph->body->param.at[file->input]);
    int64_t classes, each = file->tensor.count / (file->tensor.extent[0] ? file->tensor.extent[0] : 1);
    if (!loss) return NULL;
    Type scores = loss->input[0]->type;
    const AttrCrossEntropy *attr = loss->attr;
    if (!sn_dim_is(scores.dim[scores.rank - 1], &classes)) return NULL;
    for (int64_t i = 0; i < file->tensor.count; i++) {
        int64_t label = sn_tensor_get_int(&file->tensor, i);
        if ((label < 0 || label >= classes) && !(attr->ignores && label == attr->ignored))
            return sn_fail(SN_INVALID, "%s: label %lld, of example %lld, is none of %lld classes%s",
                           spec->file, (long long)label, (long long)(i / each), (long long)classes,
                           label < 0 && !attr->ignores ? " (--ignore-index leaves a label out)" : "");
    }
    return NULL;
}

static Status split(Examples *examples, double held_out) {
    int64_t held = (int64_t)((double)examples->rows * held_out);
    examples->trained = examples->rows - held;
    if (examples->trained > 0 && (held > 0 || held_out == 0)) return NULL;
    return sn_fail(SN_INVALID,
                   "%lld examples are too few to hold %g of them out: %lld would be, and %lld trained on "
                   "(--held-out 0 trains on all)",
                   (long long)examples->rows, held_out, (long long)held, (long long)examples->trained);
}

Status sn_examples_open(Arena *arena, const Graph *graph, int count, const InputSpec *spec, int64_t batch,
                        double held_out, Examples *out) {
    *out = (Examples){.count = count,
                      .file = SN_ARRAY(arena, ExampleFile, count),
                      .shape = SN_ARRAY(arena, ShapeSpec, count)};
    for (int i = 0; i < count; i++) {
        TRY(open_example(arena, graph, &spec[i], batch, &out->file[i], &out->shape[i]));
        TRY(check_labels(graph, &spec[i], &out->file[i]));
        int64_t rows = out->file[i].tensor.extent[0];
        if (i > 0 && rows != out->rows)
            return sn_fail(SN_INVALID, "%s has %lld examples, and %s has %lld", spec[i].file, (long long)rows,
                           spec[0].file, (long long)out->rows);
        out->rows = rows;
        for (int k = 0; k < i; k++)
            if (out->file[k].input == out->file[i].input)
                return sn_fail(SN_INVALID, "examples '%s' are given twice", spec[i].name);
    }
    return split(out, held_out);
}

void sn_examples_put(const Examples *examples, int64_t from, int64_t to, const Inputs *inputs) {
    for (int i = 0; i < examples->count; i++) {
        const Tensor *tensor = &examples->file[i].tensor;
        int64_t each = tensor->count / examples->rows;
        char *data = inputs->tensor[examples->file[i].input].data;
        sn_tensor_copy(tensor, from * each, (from + 1) * each,
                       data + to * each * sn_dtype_bytes(tensor->dtype));
    }
}

int64_t sn_examples_random(const Examples *examples, uint64_t seed, uint64_t index) {
    return sn_random_below(seed, index, examples->trained);
}

int64_t sn_examples_even(const Examples *examples, int64_t index, int64_t count) {
    int64_t held = examples->rows - examples->trained, whole = held / count, rest = held % count;
    return examples->trained + whole * index + rest * index / count;
}
