/* How settings are named in rows and notes, and their numbers. */
#include "bench_rows.h"

#include <stdarg.h>
#include <string.h>

const char *sn_bench_mode_name(sn_Mode mode) {
    return mode == SN_EAGER ? "eager" : "compiled";
}

void sn_bench_note(const Bench *bench, const char *format, ...) {
    if (!bench->request->note) return;
    Text text = sn_text(bench->arena);
    va_list args;
    va_start(args, format);
    sn_text_addv(&text, format, args);
    va_end(args);
    bench->request->note(sn_text_string(&text));
}

const char *sn_bench_file_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

enum {
    NEIGHBOURS_NAMED = 2
}; /* more inputs of one shape that follow one another are named by the first and the last */

static bool equal_shapes(const sn_Tensor *a, const sn_Tensor *b) {
    if (a->rank != b->rank) return false;
    return a->rank == 0 || memcmp(a->extent, b->extent, sizeof *a->extent * (size_t)a->rank) == 0;
}

static const char *input_name(const Bench *bench, int i) {
    const char *name = bench->graph->body->param.at[i]->name;
    return name ? name : "";
}

static void add_shape(Text *text, const char *name, const sn_Tensor *tensor) {
    sn_text_add(text, "%s=", name);
    for (int k = 0; k < tensor->rank; k++)
        sn_text_add(text, "%s%lld", k ? "x" : "", (long long)tensor->extent[k]);
}

const char *sn_bench_shapes(Bench *bench) {
    Text text = sn_text(bench->arena);
    const Inputs *inputs = &bench->inputs;
    for (int i = 0, end; i < inputs->count; i = end) {
        for (end = i + 1; end < inputs->count && equal_shapes(&inputs->tensor[i], &inputs->tensor[end]);)
            end++;
        if (end - i <= NEIGHBOURS_NAMED) end = i + 1;
        if (i) sn_text_add(&text, " ");
        if (end > i + 1) sn_text_add(&text, "%s...", input_name(bench, i));
        add_shape(&text, input_name(bench, end - 1), &inputs->tensor[i]);
    }
    return sn_text_string(&text);
}

int sn_bench_threads(const Bench *bench) {
    int threads = bench->request->threads[bench->threads];
    return threads ? threads : sn_cpu_count();
}
