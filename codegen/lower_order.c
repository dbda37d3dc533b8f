/* Lists in order: the first elements of rows (top.h, top.cuh), and what stays of a list that is sifted (sift.h, sift.cuh), with
 * the elements and the hits as holes. */
#include "lower_template.h"

enum { THREADS = 256 }; /* SN_TOP_THREADS, SN_SIFT_THREADS */

static bool is_cuda(const KernelIr *kernel) {
    return kernel->target->kind == SN_TARGET_CUDA;
}

/* An element of a matrix or a list, as `type`; unsigned words in their order as signed ones. */
static void read_element(Lower *lower, TemplateUse *use, const Value *x, DType type, HoleSpec spec) {
    Dim from[2];
    spec.count = x->type.rank;
    for (int k = 0; k < spec.count; k++) {
        spec.extent[k] = x->type.dim[k];
        from[k] = sn_dim_axis(lower->dims, k, spec.extent[k]);
    }
    HoleAxes axes = sn_hole_axes(lower->kernel, &spec, false);
    sn_lower_nest(lower);
    Instr *element = sn_lower_cast(lower, sn_lower_pull(lower, x, from), type, false);
    if (x->type.dtype == SN_U64) {
        Instr *least = sn_lower_literal(lower, SN_I64, 0, INT64_MIN);
        element = sn_lower_call(lower, "xor", SN_I64, SN_I64, 2, (Instr *[]){element, least});
    }
    sn_hole_add(lower, use, &spec, false, &axes, element, from, axes.argument, spec.count);
    use->hole.at[use->hole.count - 1].integer = !sn_dtype_is_float(type);
}

static void finish(KernelIr *kernel, TemplateUse *use, const char *file, Dim items) {
    use->file[0] = file;
    use->items = items;
    use->threads = THREADS;
    kernel->use = use;
}

/* What elements are compared in: a type that holds them. */
static DType key_of(DType dtype) {
    return !sn_dtype_is_float(dtype) ? SN_I64 : dtype == SN_F64 ? SN_F64 : SN_F32;
}

Status sn_lower_top(KernelIr *kernel, const Node *node) {
    Lower lower = sn_lower(kernel);
    TemplateUse *use = SN_NEW(kernel->arena, TemplateUse);
    const Value *x = node->input[0];
    const AttrTop *attr = node->attr;
    Dim rows = x->type.dim[0], all = x->type.dim[1];
    bool cuda = is_cuda(kernel);
    DType key = key_of(x->type.dtype);
    const char *name = key == SN_F64 ? "double" : key == SN_F32 ? "float" : "int64_t";
    read_element(&lower, use, x, key, (HoleSpec){.name = cuda ? "at" : "sn_top_at", .argument = {"r", "i"}});
    TRY(lower.status);
    use->defines = sn_arena_printf(kernel->arena,
                                   cuda ? "    typedef %s Key;\n    static constexpr bool LARGEST = %d;\n"
                                        : "#define SN_TOP_KEY %s\n#define SN_TOP_LARGEST %d\n",
                                   name, attr->largest);
    const char *count = sn_template_number(kernel, use, all);
    const char *columns = sn_template_number(kernel, use, attr->columns);
    const char *out = cuda ? "use, (int64_t *)args.buffer" : "context, (int64_t *)buffers";
    use->driver = sn_arena_printf(kernel->arena, "sn_top_run(%s[%d], %s, %s, %s);", out, kernel->input_count,
                                  count, columns, cuda ? "block" : "begin, end");
    Dim blocks = sn_dim_ceildiv(lower.dims, all, sn_dim(lower.dims, THREADS));
    finish(kernel, use, cuda ? "top.cuh" : "top.h", cuda ? sn_dim_mul(lower.dims, rows, blocks) : rows);
    return NULL;
}

Status sn_lower_sift(KernelIr *kernel, const Node *node) {
    Lower lower = sn_lower(kernel);
    TemplateUse *use = SN_NEW(kernel->arena, TemplateUse);
    bool cuda = is_cuda(kernel);
    read_element(&lower, use, node->input[0], SN_I64,
                 (HoleSpec){.name = cuda ? "at" : "sn_sift_at", .argument = {"j", "i"}});
    read_element(&lower, use, node->input[1], SN_I64,
                 (HoleSpec){.name = cuda ? "end" : "sn_sift_end", .argument = {"j"}});
    TRY(lower.status);
    const char *count = sn_template_number(kernel, use, node->input[0]->type.dim[0]);
    const char *out = cuda ? "use, (uint8_t *)args.buffer" : "context, (uint8_t *)buffers";
    use->defines = "";
    use->driver = sn_arena_printf(kernel->arena, "sn_sift_run(%s[%d], %s);", out, kernel->input_count, count);
    finish(kernel, use, cuda ? "sift.cuh" : "sift.h", sn_dim(lower.dims, 1));
    return NULL;
}
