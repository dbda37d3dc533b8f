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

const char *sn_bench_shapes(Bench *bench) {
    Text text = sn_text(bench->arena);
    const Region *body = bench->graph->body;
    for (int i = 0; i < bench->inputs.count; i++) {
        const Value *value = body->param.at[i];
        const sn_Tensor *tensor = &bench->inputs.tensor[i];
        sn_text_add(&text, "%s%s=", i ? " " : "", value->name ? value->name : "");
        for (int k = 0; k < tensor->rank; k++)
            sn_text_add(&text, "%s%lld", k ? "x" : "", (long long)tensor->extent[k]);
    }
    return sn_text_string(&text);
}

int sn_bench_threads(const Bench *bench) {
    int threads = bench->request->threads[bench->threads];
    return threads ? threads : sn_cpu_count();
}
