#include "emit_template.h"

enum { MOST_FILES = sizeof((TemplateUse *)0)->file / sizeof *((TemplateUse *)0)->file };

static const Dialect template_dialect = {
    .fault = "*context->fault = %d;",
    .goes_on = true,
    .symbol = "context->symbols[%d]",
    .buffer = "context->buffers[%d]",
};

static bool is_cuda(const Emit *emit) {
    return emit->kernel->target->kind == SN_TARGET_CUDA;
}

/* Opens the hole `name` whose arguments are ", type name, …" (each with a comma before it). */
static void open_hole(const Emit *emit, Text *out, const char *result, const char *name,
                      const char *arguments) {
    if (!is_cuda(emit)) {
        sn_text_add(out, "SN_INLINE %s %s(const SnContext *context%s) {\n", result, name, arguments);
        return;
    }
    sn_text_add(out, "    SN_MEMBER %s %s(%s) const {\n", result, name, *arguments ? arguments + 2 : "");
}

/* All instructions of a hole, in order: it has no loops. */
static void emit_instructions(Emit *emit, Instr *value) {
    unsigned char *needed = sn_emit_needed(emit, -1);
    if (value) sn_emit_need(emit, value, needed);
    for (int i = 0; i < emit->nest->instr.count; i++)
        if (needed[i]) sn_emit_instr(emit, emit->nest->instr.at[i]);
}

static void emit_address(Emit *emit, const Hole *hole, Text *out) {
    sn_emit_line(emit, "%s", hole->prepare);
    sn_emit_line(emit, "return %s + %s;", sn_emit_buffer(emit, hole->value->buffer),
                 sn_emit_dim(emit, hole->value->dim, NULL));
    open_hole(emit, out, "const void *", hole->name, hole->arguments);
}

/* What the template hands to a hole, or a hole gives back: f32, or of products of bytes i32, or alone f64. */
static const char *number_type(DType dtype, bool lanes) {
    if (dtype == SN_F64 && !lanes) return "double";
    if (dtype == SN_I32) return lanes ? "vi32" : "int32_t";
    return lanes ? "vf32" : "float";
}

static DType argument_type(const Hole *hole) {
    for (int i = 0; i < hole->nest->instr.count; i++)
        if (hole->nest->instr.at[i]->kind == SN_INSTR_HOLE_ARG) return hole->nest->instr.at[i]->dtype;
    return SN_F32;
}

/* A v form that has no axis to lay lanes along is never called, but has to compile: it computes lane 0. */
static void emit_body(Emit *emit, const Hole *hole) {
    bool lanes = hole->vector && hole->nest->vector == SN_VECTOR_PARALLEL;
    emit->form = lanes ? SN_FORM_VECTOR : SN_FORM_SCALAR;
    sn_emit_line(emit, "%s", hole->prepare);
    if (hole->argument)
        sn_emit_line(emit, "const %s x0 = value%s;", number_type(argument_type(hole), lanes),
                     lanes || !hole->vector ? "" : "[0]");
    emit_instructions(emit, hole->value);
    for (int i = 0; i < hole->nest->step.count; i++)
        for (int k = 0; k < hole->nest->step.at[i].store.count; k++)
            sn_emit_store(emit, &hole->nest->step.at[i].store.at[k]);
    if (hole->value) sn_emit_line(emit, "return %s;", sn_emit_use(emit, hole->value, hole->vector));
}

static void emit_fetch(Emit *emit, int buffer, Dim offset, bool writes) {
    sn_emit_line(emit, "__builtin_prefetch(%s + %s, %d);", sn_emit_buffer(emit, buffer),
                 sn_emit_dim(emit, offset, NULL), writes);
}

/* Addresses that themselves are loaded are not known ahead. */
static void note_index(void *user, Instr *instr) {
    (void)instr;
    *(bool *)user = true;
}

static bool fetches(const Nest *nest, Dim offset, Dim row) {
    bool index = false;
    sn_dim_indices(nest, offset, note_index, &index);
    return !index && sn_dim_depends(offset, row);
}

static void emit_ahead(Emit *emit, const Hole *hole, Text *out) {
    const Nest *nest = hole->nest;
    sn_emit_line(emit, "%s", hole->prepare);
    for (int i = 0; i < nest->instr.count; i++) {
        const Instr *load = nest->instr.at[i];
        if (load->kind == SN_INSTR_LOAD && !load->guard && fetches(nest, load->dim, hole->ahead))
            emit_fetch(emit, load->buffer, load->dim, false);
    }
    for (int i = 0; i < nest->step.count; i++)
        for (int k = 0; k < nest->step.at[i].store.count; k++) {
            const Store *store = &nest->step.at[i].store.at[k];
            if (!store->guard && fetches(nest, store->offset, hole->ahead))
                emit_fetch(emit, store->buffer, store->offset, true);
        }
    open_hole(emit, out, "void", hole->name, hole->arguments);
}

static void emit_hole(Emit *emit, const Hole *hole, Text *out) {
    sn_emit_function(emit, hole->nest);
    if (hole->ahead) {
        emit_ahead(emit, hole, out);
    } else if (hole->address) {
        emit_address(emit, hole, out);
    } else {
        emit_body(emit, hole);
        DType dtype = hole->value ? hole->value->dtype : argument_type(hole);
        const char *type = number_type(dtype, hole->vector);
        const char *result = !hole->value ? "void" : hole->integer ? "int64_t" : type;
        const char *value = hole->argument ? sn_arena_printf(emit->arena, ", %s value", type) : "";
        open_hole(emit, out, result,
                  sn_arena_printf(emit->arena, "%s_%s", hole->name, hole->vector ? "v" : "s"),
                  sn_arena_printf(emit->arena, "%s%s", value, hole->arguments));
    }
    sn_emit_locals(emit, out);
    sn_text_add(out, "%s}\n\n", sn_text_string(&emit->text));
}

/* What is masked of rows [i0, i1) by columns [j0, j1): 0 all, 1 some, 2 nothing. */
static void emit_mask_tile(Emit *emit, const TemplateUse *use, Text *out) {
    sn_emit_function(emit, emit->kernel->nest.at[0]);
    if (use->causal) {
        const char *offset = sn_emit_dim(emit, use->causal, NULL);
        sn_emit_line(emit, "if (j0 > i1 - 1 + %s) return 0;", offset);
        if (use->unmasked) sn_emit_line(emit, "if (j1 - 1 <= i0 + %s) return 2;", offset);
    }
    sn_emit_line(emit, "return %d;", use->unmasked && !use->causal ? 2 : 1);
    open_hole(emit, out, "int", is_cuda(emit) ? "mask_tile" : "sn_mask_tile",
              ", int64_t b, int64_t h, int64_t i0, int64_t i1, int64_t j0, int64_t j1");
    sn_emit_locals(emit, out);
    sn_text_add(out, "%s}\n\n", sn_text_string(&emit->text));
}

/* The columns before which row i sees all, and from which on nothing. */
static void emit_mask_end(Emit *emit, const TemplateUse *use, Text *out) {
    sn_emit_function(emit, emit->kernel->nest.at[0]);
    sn_emit_line(emit, "return i + 1 + %s;", sn_emit_dim(emit, use->causal, NULL));
    open_hole(emit, out, "int64_t", "sn_mask_end", ", int64_t b, int64_t h, int64_t i");
    sn_emit_locals(emit, out);
    sn_text_add(out, "%s}\n\n", sn_text_string(&emit->text));
}

/* The driver's run-time numbers and its statement. */
static void emit_driver(Emit *emit, const TemplateUse *use) {
    sn_emit_function(emit, emit->kernel->nest.at[0]);
    for (int i = 0; i < use->number.count; i++)
        sn_emit_line(emit, "const int64_t n%d = %s;", i, sn_emit_dim(emit, use->number.at[i], NULL));
    sn_emit_line(emit, "%s", use->driver);
}

static void emit_holes(Emit *emit, const TemplateUse *use, Text *out) {
    for (int i = 0; i < use->hole.count; i++) emit_hole(emit, &use->hole.at[i], out);
    if (use->masks) emit_mask_tile(emit, use, out);
    if (use->masks && use->causal && use->unmasked && !is_cuda(emit)) emit_mask_end(emit, use, out);
}

static void finish(Emit *emit, const TemplateUse *use, Text *text, Kernel *out) {
    out->items = use->items, out->after = use->after, out->together = use->together;
    out->threads = use->threads, out->shared = use->shared;
    out->needs = use->needs;
    sn_emit_finish(emit->kernel, emit, sn_text_string(text), out);
}

static void add_files(const char *const *file, Text *out) {
    for (int i = 0; i < MOST_FILES && file[i]; i++) sn_text_add(out, "%s\n", sn_device_text(file[i]));
}

/* ---- C ---- */

static void emit_entry(Emit *emit, const TemplateUse *use, Text *out) {
    sn_emit_function(emit, emit->kernel->nest.at[0]);
    sn_emit_line(emit, "int fault = 0;");
    sn_emit_line(emit, "const SnContext shared = {buffers, symbols, &fault}, *const context = &shared;");
    sn_text_add(
        out,
        "int KERNEL_NAME(void *const *buffers, const int64_t *symbols, int64_t begin, int64_t end) {\n%s",
        sn_text_string(&emit->text));
    emit_driver(emit, use);
    sn_emit_line(emit, "return fault;");
    sn_emit_locals(emit, out);
    sn_text_add(out, "%s}\n", sn_text_string(&emit->text));
}

/* Ends the part of the text that kernels have in common, and names what it defines after it. The first file declares that, and
 * stays where the rest is left out. */
static void add_common(Emit *emit, const TemplateUse *use, Text *text, Kernel *out) {
    char hex[33];
    sn_text_add(text, "%s\n#ifndef SN_COMMON_APART\n", sn_device_text(use->common[0]));
    add_files(use->common + 1, text);
    sn_text_add(text, "#endif\n");
    sn_hash_hex(sn_hash_string((Hash){0, 0}, sn_text_string(text)), hex);
    Text named = sn_text(emit->arena);
    sn_text_add(&named, "#define SN_COMMON_NAME s_%s\n%s", hex, sn_text_string(text));
    *text = named;
    out->common_bytes = (size_t)named.length;
}

Status sn_emit_template(Emit *emit, Text *text, Kernel *out) {
    const TemplateUse *use = emit->kernel->use;
    emit->dialect = &template_dialect;
    for (int i = 0; i < use->size.count; i++) sn_push(emit->arena, &emit->param, use->size.at[i]);
    if (!use->common[0]) sn_emit_functions_c(emit->kernel, use->maths, text);
    sn_text_add(text, "%s%s\n%s\n", use->defines, sn_device_text("tile_element.h"), sn_device_text("tile.h"));
    if (use->common[0]) {
        add_common(emit, use, text, out);
        sn_emit_functions_c(emit->kernel, use->maths, text);
    }
    add_files(use->file, text);
    sn_text_add(text, "struct SnContext {\n    void *const *buffers;\n    const int64_t *symbols;\n    int "
                      "*fault;\n};\n\n");
    emit_holes(emit, use, text);
    emit_entry(emit, use, text);
    finish(emit, use, text, out);
    return NULL;
}

/* ---- CUDA ---- */

static void emit_kernel(Emit *emit, const TemplateUse *use, Text *out) {
    emit_driver(emit, use);
    sn_text_add(out, "extern \"C\" __global__ void __launch_bounds__(%d, %d) ", use->threads,
                use->blocks ? use->blocks : 1);
    sn_text_add(
        out, "KERNEL_NAME(const __grid_constant__ KERNEL_NAMEArgs args) {\n"
             "    const KERNEL_NAMEUse use = {args};\n    const int64_t block = args.first + blockIdx.x;\n");
    sn_emit_locals(emit, out);
    sn_text_add(out, "%s}\n", sn_text_string(&emit->text));
}

Status sn_emit_template_cuda(Emit *emit, Text *text, void (*args)(const Emit *emit, Text *out), Kernel *out) {
    const TemplateUse *use = emit->kernel->use;
    Text functions = sn_text(emit->arena);
    sn_text_add(&functions, "struct KERNEL_NAMEUse {\n    const KERNEL_NAMEArgs &args;\n%s\n", use->defines);
    emit_holes(emit, use, &functions);
    sn_text_add(&functions, "};\n\n");
    emit_kernel(emit, use, &functions);
    add_files(use->file, text);
    args(emit, text);
    sn_text_add(text, "%s", sn_text_string(&functions));
    finish(emit, use, text, out);
    return NULL;
}
