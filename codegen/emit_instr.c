/* Kernel IR to text: operands, functions, instructions and stores. */
#include "emit.h"

#include <math.h>

static bool is_narrow(DType dtype) {
    return sn_dtype_is_int(dtype) && sn_dtype_bytes(dtype) < 4;
}

/* ---- operands ---- */

static const char *literal_text(Emit *emit, const Instr *instr) {
    double x = instr->number;
    bool wide = instr->dtype == SN_F64;
    if (instr->dtype == SN_BOOL) return instr->integer ? "-1" : "0";
    if (instr->dtype == SN_U64)
        return sn_arena_printf(emit->arena, "UINT64_C(%llu)", (unsigned long long)instr->integer);
    if (instr->dtype == SN_U32)
        return sn_arena_printf(emit->arena, "%lluu", (unsigned long long)(uint32_t)instr->integer);
    if (instr->integer == INT64_MIN) return "INT64_MIN";
    if (instr->dtype == SN_I64)
        return sn_arena_printf(emit->arena, "INT64_C(%lld)", (long long)instr->integer);
    if (instr->dtype == SN_I32 && instr->integer == INT32_MIN) return "INT32_MIN";
    if (!sn_dtype_is_float(instr->dtype))
        return sn_arena_printf(emit->arena, "%lld", (long long)instr->integer);
    if (isnan(x)) return wide ? "SN_NAN_F64" : "SN_NAN_F32";
    if (!wide && fabs(x) > 0x1.ffffffp127) x = x < 0 ? -INFINITY : INFINITY;
    if (isinf(x))
        return sn_arena_printf(emit->arena, "%sSN_INFINITY_%s", x < 0 ? "-" : "", wide ? "F64" : "F32");
    return wide ? sn_arena_printf(emit->arena, "%a", x)
                : sn_arena_printf(emit->arena, "%af", (double)(float)x);
}

/* Whether the launch gives a number: of single elements, which take longer to compile than to compute. Models have such of every
 * layer's own scales, so that all layers share a kernel. What formulas say is written, as the compiler may do more with it. */
static bool is_given(const Emit *emit, const Instr *literal) {
    enum { SIMPLE = 16, LARGE = 1 << 16 }; /* sixteenths, and as many as that */
    const Nest *nest = emit->nest;
    double sixteenths = literal->number * SIMPLE;
    bool simple = sixteenths == rint(sixteenths) && fabs(sixteenths) < LARGE;
    return emit->dialect->number && literal->dtype == SN_F32 && isfinite((float)literal->number) && !simple &&
           nest->parallel.count + nest->reduced.count == 0;
}

static const char *given_text(Emit *emit, const Instr *literal) {
    const float number = (float)literal->number;
    int32_t bits;
    memcpy(&bits, &number, sizeof bits);
    return sn_arena_printf(emit->arena, emit->dialect->number,
                           sn_emit_given(emit, sn_dim(emit->kernel->dims, bits)));
}

static const char *splat(Emit *emit, DType dtype, const char *scalar) {
    return sn_arena_printf(emit->arena, "sn_splat_%s(%s)", sn_emit_compute(dtype), scalar);
}

const char *sn_emit_use(Emit *emit, const Instr *instr, bool vector) {
    bool literal = instr->kind == SN_INSTR_LITERAL;
    const char *text = !literal                ? sn_arena_printf(emit->arena, "v%d", instr->id)
                       : is_given(emit, instr) ? given_text(emit, instr)
                                               : literal_text(emit, instr);
    return vector && (literal || !sn_emit_is_vector(emit, instr)) ? splat(emit, instr->dtype, text) : text;
}

/* ---- functions ---- */

/* How a scalar function is spelled: an operator on compute types, or sn_NAME_TYPE_FORM. */
typedef struct Spelling {
    const char *function;
    const char *infix;    /* between two operands, or NULL */
    const char *floats;   /* the name for floats when there is no infix; NULL: `function` */
    const char *integers; /* likewise for integers (infix not used when given) */
} Spelling;

static const Spelling spellings[] = {
    {"add", "+", NULL, NULL},   {"sub", "-", NULL, NULL},         {"mul", "*", NULL, NULL},
    {"div", "/", NULL, "div"},  {"and", "&", NULL, NULL},         {"or", "|", NULL, NULL},
    {"xor", "^", NULL, NULL},   {"fmod", NULL, NULL, "rem"},      {"equal", NULL, "eq", "eq"},
    {"less", NULL, "lt", "lt"}, {"less_equal", NULL, "le", "le"}, {"where", NULL, "select", "select"},
};

static const Spelling *find_spelling(const char *function) {
    for (size_t i = 0; i < sizeof spellings / sizeof *spellings; i++)
        if (strcmp(spellings[i].function, function) == 0) return &spellings[i];
    return NULL;
}

/* The expression of `function` on operands of dtype `operand`. */
static const char *function_text(Emit *emit, const char *function, DType operand, bool vector, int count,
                                 const char *const *arg) {
    const Spelling *spelling = find_spelling(function);
    bool floats = sn_dtype_is_float(operand);
    if (strcmp(function, "not") == 0) return sn_arena_printf(emit->arena, "~%s", arg[0]);
    if (strcmp(function, "neg") == 0) return sn_arena_printf(emit->arena, "-(%s)", arg[0]);
    if (spelling && spelling->infix && (floats || !spelling->integers))
        return sn_arena_printf(emit->arena, "%s %s %s", arg[0], spelling->infix, arg[1]);
    const char *name = spelling ? floats ? spelling->floats : spelling->integers : NULL;
    Text text = sn_text(emit->arena);
    sn_text_add(&text, "sn_%s_%s_%s(", name ? name : function, sn_emit_compute(operand), vector ? "v" : "s");
    for (int i = 0; i < count; i++) sn_text_add(&text, i ? ", %s" : "%s", arg[i]);
    sn_text_add(&text, ")");
    return sn_text_string(&text);
}

const char *sn_emit_combine(Emit *emit, const char *function, DType dtype, bool vector, const char *a,
                            const char *b) {
    return function_text(emit, function, dtype, vector, 2, (const char *[]){a, b});
}

const char *sn_emit_identity(Emit *emit, const char *function, DType dtype, bool vector) {
    static const int64_t low[SN_DTYPE_COUNT] = {
        [SN_I8] = INT8_MIN, [SN_I16] = INT16_MIN, [SN_I32] = INT32_MIN, [SN_I64] = INT64_MIN};
    static const int64_t high[SN_DTYPE_COUNT] = {
        [SN_I8] = INT8_MAX,  [SN_I16] = INT16_MAX,  [SN_I32] = INT32_MAX,  [SN_I64] = INT64_MAX,
        [SN_U8] = UINT8_MAX, [SN_U16] = UINT16_MAX, [SN_U32] = UINT32_MAX, [SN_U64] = -1};
    Instr literal = {.kind = SN_INSTR_LITERAL, .dtype = dtype};
    if (strcmp(function, "mul") == 0) literal.number = literal.integer = 1;
    if (strcmp(function, "max") == 0) literal.number = -INFINITY, literal.integer = low[dtype];
    if (strcmp(function, "min") == 0) literal.number = INFINITY, literal.integer = high[dtype];
    return sn_emit_use(emit, &literal, vector);
}

/* ---- instructions ---- */

static const char *lanes(const Emit *emit) {
    return emit->form == SN_FORM_PARTIAL ? "n" : "SN_LANES";
}

static void index_varies(void *user, Instr *instr) {
    bool *result = user;
    *result |= instr->varying;
}

/* Whether `dim` depends on the lane at all. */
static bool varies(const Emit *emit, Dim dim) {
    bool result = false;
    if (emit->form == SN_FORM_SCALAR) return false;
    sn_dim_indices(emit->nest, dim, index_varies, &result);
    return result || (emit->vector_axis && sn_dim_depends(dim, emit->vector_axis));
}

bool sn_emit_strided(const Emit *emit, Dim dim, Dim *stride) {
    bool indexed = false;
    Dim rest;
    sn_dim_indices(emit->nest, dim, index_varies, &indexed);
    return !indexed && emit->vector_axis &&
           sn_dim_affine(emit->kernel->dims, dim, emit->vector_axis, stride, &rest);
}

static void emit_lanes(Emit *emit, const Instr *instr, const char *test, const char *value) {
    sn_emit_line(emit, "%s v%d = {0};", sn_emit_type(instr->dtype, true), instr->id);
    sn_emit_line(emit, "for (int64_t l = 0; l < %s; l++)%s v%d[l] = %s;", lanes(emit), test, instr->id,
                 value);
}

/* The tensor that is loaded from. `lane` as for sn_emit_dim. */
static const char *source_text(Emit *emit, const Instr *instr, const char *lane) {
    if (!instr->which) return sn_emit_buffer(emit, instr->buffer);
    return sn_arena_printf(emit->arena, "(const %s *)buffers[%d + %s]", sn_emit_storage(instr->dtype),
                           instr->buffer, sn_emit_dim(emit, instr->which, lane));
}

/* Whether a test is known to hold where the instruction is written. */
static bool holds(const Emit *emit, const Instr *test) {
    return emit->holds && emit->holds[test->id];
}

static void emit_load_vector(Emit *emit, const Instr *instr) {
    if (sn_schedule_tiled(emit->kernel->dims, emit->nest, instr, NULL)) {
        const char *type = sn_emit_type(instr->dtype, true);
        if (emit->registers)
            sn_emit_line(emit, "const %s v%d = (%s)x%d[r * (band / SN_LANES) + v];", type, instr->id, type,
                         instr->id);
        else
            sn_emit_line(emit, "const %s v%d = sn_load_%s_v(t%d + j * width + (i%d - first));", type,
                         instr->id, sn_emit_compute(instr->dtype), instr->id, (int)emit->vector_axis->value);
        return;
    }
    const char *type = sn_emit_type(instr->dtype, true), *name = sn_dtype_name(instr->dtype);
    bool masked = instr->guard && sn_emit_is_vector(emit, instr->guard);
    const char *lane_value =
        sn_arena_printf(emit->arena, "sn_load_%s_s(%s + %s)", name, source_text(emit, instr, "l"),
                        sn_emit_dim(emit, instr->dim, "l"));
    const char *lane_test = masked ? sn_arena_printf(emit->arena, " if (v%d[l])", instr->guard->id) : "";
    const char *unless =
        instr->guard && !masked && !holds(emit, instr->guard)
            ? sn_arena_printf(emit->arena, "!%s ? (%s){0} : ", sn_emit_use(emit, instr->guard, false), type)
            : "";
    Dim stride;
    bool several = instr->which && varies(emit, instr->which);
    bool regular = !several && sn_emit_strided(emit, instr->dim, &stride);
    bool unit = regular && sn_dim_equals(stride, 1);
    bool whole = emit->form == SN_FORM_VECTOR;
    if (!unit && !(regular && whole && !masked)) {
        if (*unless)
            lane_test = sn_arena_printf(emit->arena, " if (%s)", sn_emit_use(emit, instr->guard, false));
        emit_lanes(emit, instr, lane_test, lane_value);
        return;
    }
    const char *more =
        unit && whole ? ""
                      : sn_arena_printf(emit->arena, ", %s", unit ? "n" : sn_emit_dim(emit, stride, NULL));
    const char *load =
        sn_arena_printf(emit->arena, "sn_load_%s_%c(%s + %s%s)", name,
                        !unit   ? 'x'
                        : whole ? 'v'
                                : 'p',
                        source_text(emit, instr, NULL), sn_emit_dim(emit, instr->dim, NULL), more);
    if (masked) {
        sn_emit_line(emit, "const %s v%d = sn_load_%s_m(%s + %s, v%d%s);", type, instr->id, name,
                     source_text(emit, instr, NULL), sn_emit_dim(emit, instr->dim, NULL), instr->guard->id,
                     whole ? "" : " & live");
    } else {
        sn_emit_line(emit, "const %s v%d = %s%s;", type, instr->id, unless, load);
        if (unit && whole && !several) sn_emit_fetch(emit, instr);
    }
}

static void emit_load(Emit *emit, const Instr *instr, bool vector) {
    if (emit->ahead && emit->ahead[instr->id]) {
        sn_emit_line(emit, "const %s v%d = sn_load_%s_s(x%d + q);", sn_emit_type(instr->dtype, false),
                     instr->id, sn_dtype_name(instr->dtype), instr->id);
        return;
    }
    bool gathered = vector && (varies(emit, instr->dim) || (instr->which && varies(emit, instr->which)));
    if (gathered && emit->wide && emit->wide[instr->id]) {
        const bool whole = emit->form == SN_FORM_VECTOR;
        sn_emit_line(emit, "const vf32 v%d = sn_load_f32_%s(g%d + i%d%s);", instr->id, whole ? "v" : "p",
                     instr->id, (int)emit->vector_axis->value, whole ? "" : ", n");
        return;
    }
    if (gathered) {
        emit_load_vector(emit, instr);
        return;
    }
    /* One element for all lanes, though its guard may differ from lane to lane. */
    const char *load = sn_arena_printf(emit->arena, "sn_load_%s_s(%s + %s)", sn_dtype_name(instr->dtype),
                                       source_text(emit, instr, NULL), sn_emit_dim(emit, instr->dim, NULL));
    if (vector) {
        emit_lanes(emit, instr, sn_arena_printf(emit->arena, " if (v%d[l])", instr->guard->id), load);
        return;
    }
    const char *unless =
        instr->guard ? sn_arena_printf(emit->arena, "!%s ? 0 : ", sn_emit_use(emit, instr->guard, false))
                     : "";
    sn_emit_line(emit, "const %s v%d = %s%s;", sn_emit_type(instr->dtype, false), instr->id, unless, load);
}

/* Dims as numbers. */
static const char *dim_vector(Emit *emit, Dim dim) {
    Dim stride;
    if (!varies(emit, dim)) return splat(emit, SN_I64, sn_emit_dim(emit, dim, NULL));
    if (!sn_emit_strided(emit, dim, &stride)) return NULL;
    return sn_arena_printf(emit->arena, "(%s + %s * sn_iota_i64())", sn_emit_dim(emit, dim, NULL),
                           sn_emit_dim(emit, stride, NULL));
}

static void emit_dim_value(Emit *emit, const Instr *instr, bool vector) {
    if (!vector) {
        sn_emit_line(emit, "const int64_t v%d = %s;", instr->id, sn_emit_dim(emit, instr->dim, NULL));
        return;
    }
    const char *text = dim_vector(emit, instr->dim);
    if (text)
        sn_emit_line(emit, "const vi64 v%d = %s;", instr->id, text);
    else
        emit_lanes(emit, instr, "", sn_emit_dim(emit, instr->dim, "l"));
}

/* Both sides' difference moves by a small number from lane to lane: lanes are compared in 32 bits, what lies further away than
 * they reach comes to the same. Compilers take comparisons of sixteen 64-bit lanes apart. */
static bool emit_near_less(Emit *emit, const Instr *instr) {
    enum { FAR = 1 << 30, WIDEST = 1 << 20 };
    Dim stride, apart = sn_dim_sub(emit->kernel->dims, instr->limit, instr->dim);
    int64_t each;
    if (!sn_emit_strided(emit, apart, &stride) || !sn_dim_is(stride, &each) || each < -WIDEST ||
        each > WIDEST)
        return false;
    sn_emit_line(emit,
                 "const vi32 v%d = sn_lt_i32_v(sn_iota_i32() * %d, "
                 "sn_splat_i32((int32_t)sn_least_of(sn_largest_of(%s, -%d), %d)));",
                 instr->id, (int)-each, sn_emit_dim(emit, apart, NULL), FAR, FAR);
    return true;
}

static void emit_less(Emit *emit, const Instr *instr, bool vector) {
    if (!vector) {
        sn_emit_line(emit, "const int32_t v%d = -(%s < %s);", instr->id, sn_emit_dim(emit, instr->dim, NULL),
                     sn_emit_dim(emit, instr->limit, NULL));
        return;
    }
    if (emit_near_less(emit, instr)) return;
    const char *a = dim_vector(emit, instr->dim), *b = dim_vector(emit, instr->limit);
    if (a && b)
        sn_emit_line(emit, "const vi32 v%d = sn_lt_i64_v(%s, %s);", instr->id, a, b);
    else
        emit_lanes(emit, instr, "",
                   sn_arena_printf(emit->arena, "-(%s < %s)", sn_emit_dim(emit, instr->dim, "l"),
                                   sn_emit_dim(emit, instr->limit, "l")));
}

/* Reports fault `instr->fault` where `bad` (a mask, vector or scalar) holds under the guard in a live lane.
 */
static void emit_fault(Emit *emit, const Instr *instr, bool vector, const char *bad) {
    const char *guard =
        instr->guard ? sn_arena_printf(emit->arena, " & %s", sn_emit_use(emit, instr->guard, vector)) : "";
    const char *live = vector && emit->form == SN_FORM_PARTIAL ? " & live" : "";
    const char *fault = sn_arena_printf(emit->arena, emit->dialect->fault, instr->fault);
    if (vector)
        sn_emit_line(emit, "if (sn_any((%s)%s%s)) %s", bad, guard, live, fault);
    else
        sn_emit_line(emit, "if ((%s)%s) %s", bad, guard, fault);
}

static void emit_index(Emit *emit, const Instr *instr, bool vector) {
    const char *raw = sn_emit_use(emit, instr->arg[0], vector),
               *limit = sn_emit_dim(emit, instr->limit, NULL);
    const char *form = vector ? "v" : "s", *zero = vector ? "(vi64){0}" : "0";
    if (vector) limit = splat(emit, SN_I64, limit);
    sn_emit_line(emit, "%s v%d = sn_select_i64_%s(sn_lt_i64_%s(%s, %s), %s + %s, %s);",
                 sn_emit_type(SN_I64, vector), instr->id, form, form, raw, zero, raw, limit, raw);
    sn_emit_line(emit, "const %s bad%d = sn_lt_i64_%s(v%d, %s) | sn_ge_i64_%s(v%d, %s);",
                 sn_emit_type(SN_BOOL, vector), instr->id, form, instr->id, zero, form, instr->id, limit);
    emit_fault(emit, instr, vector, sn_arena_printf(emit->arena, "bad%d", instr->id));
    if (emit->dialect->goes_on || instr->guard || emit->form == SN_FORM_PARTIAL)
        sn_emit_line(emit, "v%d = sn_select_i64_%s(bad%d, %s, v%d);", instr->id, form, instr->id, zero,
                     instr->id);
}

static void define(Emit *emit, const Instr *instr, bool vector, const char *value) {
    sn_emit_line(emit, "const %s v%d = %s;", sn_emit_type(instr->dtype, vector), instr->id, value);
}

/* Integer powers are computed in 64 bits, modulo 2^64, and cut to their type. */
static const char *power_text(Emit *emit, DType dtype, bool vector, const char *const *arg) {
    const char *type = sn_emit_compute(dtype), *form = vector ? "v" : "s";
    return sn_arena_printf(emit->arena,
                           "sn_cvt_i64_%s_%s(sn_pow_i64_%s(sn_cvt_%s_i64_%s(%s), sn_cvt_%s_i64_%s(%s)))",
                           type, form, form, type, form, arg[0], type, form, arg[1]);
}

/* Zero to a negative power. */
static const char *power_fault_text(Emit *emit, DType dtype, bool vector, const char *const *arg) {
    const char *type = sn_emit_compute(dtype), *form = vector ? "v" : "s";
    const char *zero = vector ? sn_arena_printf(emit->arena, "(%s){0}", sn_emit_type(dtype, true)) : "0";
    return sn_arena_printf(emit->arena, "sn_eq_%s_%s(%s, %s) & sn_lt_%s_%s(%s, %s)", type, form, arg[0], zero,
                           type, form, arg[1], zero);
}

/* What erf is taken of in 1 + erf(…), which is cheaper than its parts; NULL: it is something else. */
static const Instr *one_plus_erf(const Emit *emit, const Instr *instr) {
    if (!emit->dialect->one_plus_erf || instr->operand != SN_F32 || strcmp(instr->function, "add") != 0)
        return NULL;
    for (int k = 0; k < 2; k++) {
        const Instr *one = instr->arg[k], *erf = instr->arg[1 - k];
        if (one->kind == SN_INSTR_LITERAL && one->number == 1 && erf->kind == SN_INSTR_CALL &&
            erf->scratch < 0 && strcmp(erf->function, "erf") == 0)
            return erf->arg[0];
    }
    return NULL;
}

/* Between a float and its bits: of the two the name has the float. */
static const char *bits_text(Emit *emit, const Instr *instr, bool vector, const char *arg) {
    bool of_float = sn_dtype_is_float(instr->operand);
    return sn_arena_printf(emit->arena, "sn_%s_%s_%s(%s)", of_float ? "bits" : "of_bits",
                           sn_dtype_name(of_float ? instr->operand : instr->dtype), vector ? "v" : "s", arg);
}

static void emit_call(Emit *emit, const Instr *instr, bool vector) {
    const Instr *of_erf = one_plus_erf(emit, instr);
    if (of_erf) {
        define(emit, instr, vector,
               sn_arena_printf(emit->arena, "sn_one_plus_erf_f32_%s(%s)", vector ? "v" : "s",
                               sn_emit_use(emit, of_erf, vector)));
        return;
    }
    if (strcmp(instr->function, "where") == 0 && holds(emit, instr->arg[0])) {
        define(emit, instr, vector, sn_emit_use(emit, instr->arg[1], vector));
        return;
    }
    const char *arg[3];
    for (int i = 0; i < instr->arg_count; i++) arg[i] = sn_emit_use(emit, instr->arg[i], vector);
    if (strcmp(instr->function, "bits") == 0) {
        define(emit, instr, vector, bits_text(emit, instr, vector, arg[0]));
        return;
    }
    const char *type = sn_emit_compute(instr->operand), *form = vector ? "v" : "s";
    bool integer_power = strcmp(instr->function, "pow") == 0 && !sn_dtype_is_float(instr->operand);
    if (instr->fault && integer_power)
        emit_fault(emit, instr, vector, power_fault_text(emit, instr->operand, vector, arg));
    else if (instr->fault)
        emit_fault(emit, instr, vector,
                   sn_arena_printf(emit->arena, "sn_div_fault_%s_%s(%s, %s)", type, form, arg[0], arg[1]));
    bool unsigned_abs = strcmp(instr->function, "abs") == 0 && !sn_dtype_is_signed(instr->operand);
    const char *value =
        integer_power  ? power_text(emit, instr->operand, vector, arg)
        : unsigned_abs ? arg[0]
                       : function_text(emit, instr->function, instr->operand, vector, instr->arg_count, arg);
    if (is_narrow(instr->dtype))
        value = sn_arena_printf(emit->arena, "sn_wrap_%s_%s(%s)", sn_dtype_name(instr->dtype), form, value);
    define(emit, instr, vector, value);
}

/* A cast that rounds what goes on being computed wider; w<id> is what it was before. */
static bool is_rounded(const Instr *instr) {
    return instr->kind == SN_INSTR_CAST && instr->exact &&
           (instr->dtype == SN_F16 || instr->dtype == SN_BF16);
}

static void emit_cast(Emit *emit, const Instr *instr, bool vector) {
    const char *value = sn_emit_use(emit, instr->arg[0], vector), *form = vector ? "v" : "s";
    const char *from = sn_emit_compute(instr->operand), *to = sn_emit_compute(instr->dtype);
    if (instr->fault)
        emit_fault(emit, instr, vector,
                   sn_arena_printf(emit->arena, "sn_ne_%s_%s(%s, %s)", from, form, value, value));
    if (strcmp(from, to) != 0)
        value = sn_arena_printf(emit->arena, "sn_cvt_%s_%s_%s(%s)", from, to, form, value);
    const char *name = sn_dtype_name(instr->dtype);
    if (is_narrow(instr->dtype)) value = sn_arena_printf(emit->arena, "sn_wrap_%s_%s(%s)", name, form, value);
    if (is_rounded(instr)) {
        sn_emit_line(emit, "const %s w%d = %s;", sn_emit_type(instr->dtype, vector), instr->id, value);
        value = sn_arena_printf(emit->arena, "sn_from_%s_%s(sn_to_%s_%s(w%d))", name, form, name, form,
                                instr->id);
    }
    define(emit, instr, vector, value);
}

/* A warp at 32 elements: a<n> is what all lanes have had before. */
static void emit_warp_running(Emit *emit, const Instr *instr) {
    const Acc *acc = instr->acc;
    const char *value = sn_arena_printf(emit->arena, "in ? %s : %s", sn_emit_use(emit, acc->value, false),
                                        sn_emit_identity(emit, acc->function, acc->dtype, false));
    const char *scan =
        sn_arena_printf(emit->arena, "sn_scan_%s_%s(&a%d, %s, part, %s)", acc->function,
                        sn_emit_compute(acc->dtype), acc->number, value, acc->exclusive ? "true" : "false");
    if (is_narrow(acc->dtype))
        scan = sn_arena_printf(emit->arena, "sn_wrap_%s_s(%s)", sn_dtype_name(acc->dtype), scan);
    define(emit, instr, false, scan);
}

static void emit_running(Emit *emit, const Instr *instr, bool vector) {
    const Acc *acc = instr->acc;
    if (emit->nest->block.scans) {
        emit_warp_running(emit, instr);
        return;
    }
    const char *a = sn_arena_printf(emit->arena, "a%d", acc->number);
    const char *next =
        sn_emit_combine(emit, acc->function, acc->dtype, vector, a, sn_emit_use(emit, acc->value, vector));
    if (is_narrow(acc->dtype))
        next = sn_arena_printf(emit->arena, "sn_wrap_%s_%s(%s)", sn_dtype_name(acc->dtype),
                               vector ? "v" : "s", next);
    if (acc->exclusive) define(emit, instr, vector, a);
    sn_emit_line(emit, "%s = %s;", a, next);
    if (!acc->exclusive) define(emit, instr, vector, a);
}

static const char *scratch_at(Emit *emit, const Instr *instr) {
    if (emit->dialect->kept) return sn_arena_printf(emit->arena, emit->dialect->kept, instr->scratch);
    Dim at = sn_dim(emit->kernel->dims, 0);
    for (int i = 0; i < emit->nest->reduced.count; i++) {
        Dim axis = emit->nest->reduced.at[i];
        at = sn_dim_add(emit->kernel->dims, sn_dim_mul(emit->kernel->dims, at, axis->operand[0]), axis);
    }
    const char *times = emit->nest->vector == SN_VECTOR_PARALLEL ? " * SN_LANES" : "";
    return sn_arena_printf(emit->arena, "r%d + %s%s", instr->scratch, sn_emit_dim(emit, at, NULL), times);
}

/* Row scratch is private, so in columns whole vectors go in and out even where only n lanes count. */
static const char *scratch_form(const Emit *emit) {
    if (emit->form == SN_FORM_SCALAR) return "s";
    return emit->form == SN_FORM_PARTIAL && emit->nest->vector == SN_VECTOR_REDUCED ? "p" : "v";
}

static void emit_kept(Emit *emit, const Instr *instr, bool vector, bool load) {
    const char *at = scratch_at(emit, instr), *form = scratch_form(emit), *n = *form == 'p' ? ", n" : "";
    const char *over = emit->online ? " * sn_splat_f32(over)" : ""; /* emit_online.c */
    if (load)
        define(emit, instr, vector,
               sn_arena_printf(emit->arena, "sn_load_f32_%s(%s%s)%s", form, at, n, over));
    else
        sn_emit_line(emit, "sn_store_f32_%s(%s, v%d%s);", form, at, instr->id, n);
}

void sn_emit_instr(Emit *emit, const Instr *instr) {
    bool vector = sn_emit_is_vector(emit, instr);
    if (instr->scratch >= 0 && emit->step > instr->kept) {
        emit_kept(emit, instr, vector, true);
        return;
    }
    switch (instr->kind) {
    case SN_INSTR_DIM:
        emit_dim_value(emit, instr, vector);
        break;
    case SN_INSTR_GIVEN:
        define(emit, instr, vector, sn_emit_given(emit, instr->dim));
        break;
    case SN_INSTR_LESS:
        emit_less(emit, instr, vector);
        break;
    case SN_INSTR_LOAD:
        emit_load(emit, instr, vector);
        break;
    case SN_INSTR_CALL:
        emit_call(emit, instr, vector);
        break;
    case SN_INSTR_CAST:
        emit_cast(emit, instr, vector);
        break;
    case SN_INSTR_INDEX:
        emit_index(emit, instr, vector);
        break;
    case SN_INSTR_CHECKED:
        define(emit, instr, vector, sn_emit_use(emit, instr->arg[0], vector));
        break;
    case SN_INSTR_RUNNING:
        emit_running(emit, instr, vector);
        break;
    case SN_INSTR_HOLE_ARG:
        define(emit, instr, vector, sn_arena_printf(emit->arena, "x%d", instr->buffer));
        break;
    case SN_INSTR_LITERAL:
    case SN_INSTR_REDUCED:
    case SN_INSTR_KIND_COUNT:
        break; /* literals are written where they are used, results where loops end */
    }
    if (instr->scratch >= 0 && emit->step == instr->kept) emit_kept(emit, instr, vector, false);
}

const char *sn_emit_stored(Emit *emit, const Store *store, bool vector) {
    const Instr *value = store->value;
    bool same = is_rounded(value) && value->dtype == store->dtype && value->scratch < 0;
    if (!same || sn_emit_is_vector(emit, value) != vector) return sn_emit_use(emit, value, vector);
    return sn_arena_printf(emit->arena, "w%d", value->id);
}

/* Whether a partial vector of that store goes through a line that rows share (emit_edge.c). */
static bool has_edge(const Emit *emit, const Store *store) {
    for (int i = 0; i < emit->edges.count; i++)
        if (emit->edges.at[i] == store) return true;
    return false;
}

void sn_emit_store(Emit *emit, const Store *store) {
    sn_emit_buffer(emit, store->buffer);
    bool vector = emit->form != SN_FORM_SCALAR && varies(emit, store->offset);
    const char *name = sn_dtype_name(store->dtype), *value = sn_emit_stored(emit, store, vector);
    Dim stride;
    if (!vector) {
        sn_emit_line(emit, "sn_store_%s_s(b%d + %s, %s);", name, store->buffer,
                     sn_emit_dim(emit, store->offset, NULL), value);
    } else if (sn_emit_strided(emit, store->offset, &stride) && sn_dim_equals(stride, 1)) {
        bool whole = emit->form == SN_FORM_VECTOR, streams = whole && emit->streams;
        if (!whole && has_edge(emit, store)) {
            sn_emit_line(emit, "sn_edge_%s_p(&edge%d, b%d + %s, %s, n, past);", name, store->buffer,
                         store->buffer, sn_emit_dim(emit, store->offset, NULL), value);
            return;
        }
        sn_emit_line(emit, "sn_%s_%s_%c(b%d + %s, %s%s);", streams ? "stream" : "store", name,
                     whole ? 'v' : 'p', store->buffer, sn_emit_dim(emit, store->offset, NULL), value,
                     streams ? ", past"
                     : whole ? ""
                             : ", n");
    } else {
        const char *lane = sn_emit_is_vector(emit, store->value)
                               ? sn_arena_printf(emit->arena, "%s[l]", value)
                               : sn_emit_use(emit, store->value, false);
        sn_emit_line(emit, "for (int64_t l = 0; l < %s; l++) sn_store_%s_s(b%d + %s, %s);", lanes(emit), name,
                     store->buffer, sn_emit_dim(emit, store->offset, "l"), lane);
    }
}
