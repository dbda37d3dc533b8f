/* Kernel IR to text: functions and their locals, index expressions, and which instructions are written where.
 */
#include "emit.h"

#include "device_files.h"

#include <stdio.h>

void sn_emit_function(Emit *emit, const Nest *nest) {
    emit->nest = nest;
    emit->text = sn_text(emit->arena);
    emit->indent = 1;
    emit->form = SN_FORM_SCALAR;
    emit->step = 0;
    emit->vector_axis = NULL;
    emit->ahead = NULL;
    if (nest->vector == SN_VECTOR_PARALLEL) emit->vector_axis = nest->parallel.at[nest->parallel.count - 1];
    if (nest->vector == SN_VECTOR_REDUCED) emit->vector_axis = nest->reduced.at[nest->reduced.count - 1];
    emit->symbols.count = emit->buffers.count = 0;
}

void sn_emit_line(Emit *emit, const char *format, ...) {
    char small[512], *line = small;
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(small, sizeof small, format, args);
    if (length >= (int)sizeof small) {
        line = sn_arena_alloc(emit->arena, (size_t)length + 1);
        vsnprintf(line, (size_t)length + 1, format, again);
    }
    va_end(args);
    va_end(again);
    for (int i = 0; i < emit->indent; i++) sn_text_put(&emit->text, "    ", 4);
    sn_text_put(&emit->text, line, (size_t)length);
    sn_text_put(&emit->text, "\n", 1);
}

/* ---- types ---- */

typedef struct TypeNames {
    const char *compute, *scalar, *vector, *storage;
} TypeNames;

static const TypeNames type_names[SN_DTYPE_COUNT] = {
    [SN_BOOL] = {"mask", "int32_t", "vi32", "uint8_t"}, [SN_U8] = {"i32", "int32_t", "vi32", "uint8_t"},
    [SN_I8] = {"i32", "int32_t", "vi32", "int8_t"},     [SN_U16] = {"i32", "int32_t", "vi32", "uint16_t"},
    [SN_I16] = {"i32", "int32_t", "vi32", "int16_t"},   [SN_U32] = {"u32", "uint32_t", "vu32", "uint32_t"},
    [SN_I32] = {"i32", "int32_t", "vi32", "int32_t"},   [SN_U64] = {"u64", "uint64_t", "vu64", "uint64_t"},
    [SN_I64] = {"i64", "int64_t", "vi64", "int64_t"},   [SN_F16] = {"f32", "float", "vf32", "uint16_t"},
    [SN_BF16] = {"f32", "float", "vf32", "uint16_t"},   [SN_F32] = {"f32", "float", "vf32", "float"},
    [SN_F64] = {"f64", "double", "vf64", "double"},
};

bool sn_emit_is_vector(const Emit *emit, const Instr *instr) {
    return emit->form != SN_FORM_SCALAR && instr->varying;
}

const char *sn_emit_compute(DType dtype) {
    return type_names[dtype].compute;
}

const char *sn_emit_type(DType dtype, bool vector) {
    return vector ? type_names[dtype].vector : type_names[dtype].scalar;
}

const char *sn_emit_storage(DType dtype) {
    return type_names[dtype].storage;
}

/* ---- index expressions ---- */

static int use_number(Emit *emit, Dim dim) {
    int number = 0;
    while (number < emit->param.count && emit->param.at[number] != dim) number++;
    if (number == emit->param.count) sn_push(emit->arena, &emit->param, dim);
    for (int i = 0; i < emit->symbols.count; i++)
        if (emit->symbols.at[i] == number) return number;
    sn_push(emit->arena, &emit->symbols, number);
    return number;
}

const char *sn_emit_given(Emit *emit, Dim dim) {
    return sn_arena_printf(emit->arena, "s%d", use_number(emit, dim));
}

const char *sn_emit_buffer(Emit *emit, int buffer) {
    int i = 0;
    while (i < emit->buffers.count && emit->buffers.at[i] != buffer) i++;
    if (i == emit->buffers.count) sn_push(emit->arena, &emit->buffers, buffer);
    return sn_arena_printf(emit->arena, "b%d", buffer);
}

static const char *axis_text(Emit *emit, Dim axis, const char *lane) {
    if (axis->value >= SN_INDEX_AXIS) {
        const Instr *index = emit->nest->index.at[axis->value - SN_INDEX_AXIS];
        const char *at = sn_emit_is_vector(emit, index) ? lane ? lane : "0" : NULL;
        return at ? sn_arena_printf(emit->arena, "v%d[%s]", index->id, at)
                  : sn_arena_printf(emit->arena, "v%d", index->id);
    }
    if (lane && axis == emit->vector_axis)
        return sn_arena_printf(emit->arena, "(i%d + %s)", (int)axis->value, lane);
    return sn_arena_printf(emit->arena, "i%d", (int)axis->value);
}

/* A term coefficient·monomial of a sum, taken apart: the factor without axes is one Dim, the rest are
 * factors. */
static Dim term_scale(Emit *emit, Dim monomial, int64_t coefficient) {
    Dims *dims = emit->kernel->dims;
    Dim scale = sn_dim(dims, coefficient);
    if (!sn_dim_has_axis(monomial)) return sn_dim_mul(dims, scale, monomial);
    if (monomial->kind != SN_DIM_PRODUCT) return scale;
    for (int i = 0; i < monomial->count; i++)
        if (!sn_dim_has_axis(monomial->operand[i])) scale = sn_dim_mul(dims, scale, monomial->operand[i]);
    return scale;
}

static const char *factors_text(Emit *emit, Dim monomial, const char *lane) {
    if (monomial->kind != SN_DIM_PRODUCT) return sn_emit_dim(emit, monomial, lane);
    const char *text = NULL;
    for (int i = 0; i < monomial->count; i++) {
        if (!sn_dim_has_axis(monomial->operand[i])) continue;
        const char *factor = sn_emit_dim(emit, monomial->operand[i], lane);
        text = text ? sn_arena_printf(emit->arena, "%s * %s", text, factor) : factor;
    }
    return text;
}

/* Terms with the same axes are added up first, so that a term is (one run-time number) · axes. */
static const char *sum_text(Emit *emit, Dim sum, const char *lane) {
    Dims *dims = emit->kernel->dims;
    Dim constant = sn_dim(dims, sum->value);
    const char *factors[64];
    Dim scale[64];
    int terms = 0;
    for (int i = 0; i < sum->count; i++) {
        Dim part = term_scale(emit, sum->operand[i], sum->coefficient[i]);
        if (!sn_dim_has_axis(sum->operand[i])) {
            constant = sn_dim_add(dims, constant, part);
            continue;
        }
        const char *text = factors_text(emit, sum->operand[i], lane);
        int k = 0;
        while (k < terms && strcmp(factors[k], text) != 0) k++;
        if (k == 64) continue; /* sn_emit_dim has refused sums of more terms */
        scale[k] = k < terms ? sn_dim_add(dims, scale[k], part) : part;
        factors[k] = text;
        if (k == terms) terms++;
    }
    Text text = sn_text(emit->arena);
    sn_text_add(&text, "(");
    for (int k = 0; k < terms; k++) {
        if (k) sn_text_add(&text, " + ");
        if (!sn_dim_equals(scale[k], 1)) sn_text_add(&text, "%s * ", sn_emit_dim(emit, scale[k], NULL));
        sn_text_add(&text, "%s", factors[k]);
    }
    if (!sn_dim_equals(constant, 0)) sn_text_add(&text, " + %s", sn_emit_dim(emit, constant, NULL));
    sn_text_add(&text, ")");
    return sn_text_string(&text);
}

static const char *binary_text(Emit *emit, Dim dim, const char *lane) {
    static const char *const function[] = {
        [SN_DIM_FLOORDIV] = "sn_floordiv", [SN_DIM_CEILDIV] = "sn_ceildiv", [SN_DIM_TRUNCDIV] = "sn_truncdiv",
        [SN_DIM_MOD] = "sn_floormod",      [SN_DIM_MIN] = "sn_least_of",    [SN_DIM_MAX] = "sn_largest_of"};
    const char *a = sn_emit_dim(emit, dim->operand[0], lane), *b = sn_emit_dim(emit, dim->operand[1], lane);
    bool divides = dim->kind == SN_DIM_FLOORDIV || dim->kind == SN_DIM_MOD;
    if (divides && sn_dim_le(emit->kernel->dims, sn_dim(emit->kernel->dims, 0), dim->operand[0]))
        return sn_arena_printf(emit->arena, "(%s %s %s)", a, dim->kind == SN_DIM_MOD ? "%" : "/", b);
    return sn_arena_printf(emit->arena, "%s(%s, %s)", function[dim->kind], a, b);
}

const char *sn_emit_dim(Emit *emit, Dim dim, const char *lane) {
    int64_t value;
    if (sn_dim_is(dim, &value)) return sn_arena_printf(emit->arena, "INT64_C(%lld)", (long long)value);
    if (!sn_dim_has_axis(dim)) return sn_arena_printf(emit->arena, "s%d", use_number(emit, dim));
    if (dim->kind == SN_DIM_AXIS) return axis_text(emit, dim, lane);
    if (dim->kind == SN_DIM_SUM) return sum_text(emit, dim, lane);
    if (dim->kind != SN_DIM_PRODUCT) return binary_text(emit, dim, lane);
    Dim scale = term_scale(emit, dim, 1);
    const char *factors = factors_text(emit, dim, lane);
    if (sn_dim_equals(scale, 1)) return sn_arena_printf(emit->arena, "(%s)", factors);
    return sn_arena_printf(emit->arena, "(%s * %s)", sn_emit_dim(emit, scale, NULL), factors);
}

/* ---- assembling ---- */

void sn_emit_locals(const Emit *emit, Text *out) {
    for (int i = 0; i < emit->buffers.count; i++) {
        int number = emit->buffers.at[i];
        const Buffer *buffer = &emit->kernel->buffer.at[number];
        const char *from = sn_arena_printf(emit->arena, emit->dialect->buffer, number);
        const char *type = sn_emit_storage(buffer->dtype), *constant = buffer->written ? "" : "const ";
        sn_text_add(out, "    %s%s *const b%d = (%s%s *)%s;\n", constant, type, number, constant, type, from);
    }
    for (int i = 0; i < emit->symbols.count; i++) {
        int number = emit->symbols.at[i];
        sn_text_add(out, "    const int64_t s%d = ", number);
        sn_text_add(out, "%s;\n", sn_arena_printf(emit->arena, emit->dialect->symbol, number));
    }
}

const char *sn_device_text(const char *name) {
    for (int i = 0; i < sn_device_file_count; i++)
        if (strcmp(sn_device_files[i].name, name) == 0) return sn_device_files[i].text;
    return "";
}

bool sn_emit_calls(const KernelIr *kernel, const char *function) {
    for (int n = 0; n < kernel->nest.count; n++)
        for (int i = 0; i < kernel->nest.at[n]->instr.count; i++) {
            const Instr *instr = kernel->nest.at[n]->instr.at[i];
            if (instr->kind == SN_INSTR_CALL && strcmp(instr->function, function) == 0) return true;
        }
    return false;
}

void sn_emit_name(Arena *arena, const char *text, Kernel *out) {
    static const char mark[] = "KERNEL_NAME";
    char hex[33];
    out->hash = sn_hash_string((Hash){0, 0}, text);
    sn_hash_hex(out->hash, hex);
    out->name = sn_arena_printf(arena, "k_%s", hex);
    Text source = sn_text(arena);
    for (const char *next; (next = strstr(text, mark)); text = next + strlen(mark)) {
        sn_text_put(&source, text, (size_t)(next - text));
        sn_text_add(&source, "%s", out->name);
    }
    sn_text_add(&source, "%s", text);
    out->source = sn_text_string(&source);
}

Dim sn_emit_row_axis(const Nest *nest) {
    int last = nest->parallel.count - 1 - (nest->vector == SN_VECTOR_PARALLEL);
    bool columns = nest->vector == SN_VECTOR_PARALLEL && nest->reduced.count;
    bool rows = nest->vector != SN_VECTOR_NONE && !nest->tile && !nest->strip && !columns && last >= 0;
    return rows ? nest->parallel.at[last] : NULL;
}

Dim sn_emit_row_length(const Emit *emit) {
    const Nest *nest = emit->nest;
    Dim length = sn_dim(emit->kernel->dims, 1);
    if (nest->vector == SN_VECTOR_PARALLEL) return emit->vector_axis->operand[0];
    for (int i = 0; i < nest->reduced.count; i++)
        length = sn_dim_mul(emit->kernel->dims, length, nest->reduced.at[i]->operand[0]);
    return length;
}

void sn_emit_finish(KernelIr *kernel, Emit *emit, const char *text, Kernel *out) {
    sn_emit_name(kernel->arena, text, out);
    out->param_count = emit->param.count;
    out->param = emit->param.at;
}
