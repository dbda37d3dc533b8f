#include "zoo.h"

#include <math.h>

/* The deviation of the weights, as GPT-2 initialises them. Gains lie as closely around 1 and biases around 0,
 * which trains as well as exact ones and zeros do: those a compiler could leave out of what is measured. */
static const double weight_scale = 0.02;

/* One model being written. Names of nodes are "<scope>/<what>". */
typedef struct Zoo {
    Writer *w;
    Arena *arena;
    ZooOptions o;
    const char *scope;
    const char *past_length; /* with a cache: the scalar number of positions in it; else NULL */
} Zoo;

/* ---- options ---- */

static const struct {
    const char *name;
    int64_t d_model, d_ff, layers, heads;
} sizes[] = {
    {"S", 768, 3072, 12, 12},   {"M", 1024, 4096, 24, 16},    {"L", 1280, 5120, 36, 20},
    {"XL", 1600, 6400, 48, 25}, {"2p7", 2560, 10240, 32, 32},
};

bool sn_zoo_size(const char *name, ZooOptions *options) {
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        if (strcmp(sizes[i].name, name) != 0) continue;
        options->d_model = sizes[i].d_model;
        options->d_ff = sizes[i].d_ff;
        options->layers = sizes[i].layers;
        options->heads = options->kv_heads = sizes[i].heads;
        return true;
    }
    return false;
}

ZooOptions sn_zoo_defaults(void) {
    ZooOptions options = {.vocab = 10000, .context = 1024, .opset = 17, .dtype = SN_F32};
    sn_zoo_size("S", &options);
    return options;
}

/* ---- short spellings ---- */

static const char *named(Zoo *z, const char *what) {
    return sn_arena_printf(z->arena, "%s%s%s", z->scope, *z->scope ? "/" : "", what);
}

static const char *op1(Zoo *z, const char *op, const char *what, const char *a) {
    return sn_writer_op1(z->w, op, named(z, what), a);
}

static const char *op2(Zoo *z, const char *op, const char *what, const char *a, const char *b) {
    return sn_writer_op2(z->w, op, named(z, what), a, b);
}

static const char *cast(Zoo *z, const char *what, const char *x, DType to) {
    const char *y = op1(z, "Cast", what, x);
    sn_writer_attr_int(z->w, "to", sn_dtype_onnx(to));
    return y;
}

/* A scalar of the model's dtype, and of f32. */
static const char *number(Zoo *z, float value) {
    return sn_writer_float(z->w, z->o.dtype, value);
}
static const char *single(Zoo *z, float value) {
    return sn_writer_float(z->w, SN_F32, value);
}

/* From and to the model's dtype, where that is not f32. */
static const char *widened(Zoo *z, const char *what, const char *x) {
    return z->o.dtype == SN_F32 ? x : cast(z, what, x, SN_F32);
}
static const char *narrowed(Zoo *z, const char *what, const char *x) {
    return z->o.dtype == SN_F32 ? x : cast(z, what, x, z->o.dtype);
}

/* What masks a score. */
static const char *lowest(Zoo *z) {
    return number(z, z->o.dtype == SN_F16    ? -65504.0F
                     : z->o.dtype == SN_BF16 ? -3.3895314E38F
                                             : -3.4028235E38F);
}

static const char *weight(Zoo *z, const char *what, int64_t rows, int64_t columns, double scale) {
    int64_t extent[2] = {rows, columns};
    return sn_writer_weight(z->w, named(z, what), z->o.dtype, 2, extent, scale, 0);
}

static const char *vector(Zoo *z, const char *what, int64_t count, double scale, double offset) {
    return sn_writer_weight(z->w, named(z, what), z->o.dtype, 1, &count, scale, offset);
}

static const char *scaled_linear(Zoo *z, const char *what, const char *x, int64_t from, int64_t to, bool bias,
                                 double scale) {
    const char *w = weight(z, sn_arena_printf(z->arena, "%s.weight", what), from, to, scale);
    const char *y = op2(z, "MatMul", sn_arena_printf(z->arena, "%s/MatMul", what), x, w);
    if (!bias) return y;
    const char *b = vector(z, sn_arena_printf(z->arena, "%s.bias", what), to, weight_scale, 0);
    return op2(z, "Add", sn_arena_printf(z->arena, "%s/Add", what), y, b);
}

static const char *linear(Zoo *z, const char *what, const char *x, int64_t from, int64_t to, bool bias) {
    return scaled_linear(z, what, x, from, to, bias, weight_scale);
}

/* What is added to the residual stream, two times a layer: as in GPT-2 the deviation is divided by the root of
 * their number, so that the stream is as wide behind many layers as behind few. */
static const char *residual(Zoo *z, const char *what, const char *x, int64_t from, int64_t to, bool bias) {
    return scaled_linear(z, what, x, from, to, bias, weight_scale / sqrt(2.0 * (double)z->o.layers));
}

/* Of what is added to the stream, so that a training drops it. */
static const char *dropped(Zoo *z, const char *what, const char *x) {
    return z->o.dropout > 0 ? op2(z, "Dropout", what, x, single(z, (float)z->o.dropout)) : x;
}

static const char *reshape(Zoo *z, const char *what, const char *x, int rank, const int64_t *extent) {
    return op2(z, "Reshape", what, x, sn_writer_ints(z->w, rank, extent));
}

static const char *transpose(Zoo *z, const char *what, const char *x, int rank, const int64_t *permutation) {
    const char *y = op1(z, "Transpose", what, x);
    sn_writer_attr_ints(z->w, "perm", rank, permutation);
    return y;
}

static const char *slice_last(Zoo *z, const char *what, const char *x, int64_t from, int64_t to) {
    int64_t axis = -1;
    const char *input[4] = {x, sn_writer_ints(z->w, 1, &from), sn_writer_ints(z->w, 1, &to),
                            sn_writer_ints(z->w, 1, &axis)};
    return sn_writer_node(z->w, "Slice", named(z, what), 4, input);
}

static const char *mean_last(Zoo *z, const char *what, const char *x) {
    static const int64_t last = -1;
    if (z->o.opset >= 18) return op2(z, "ReduceMean", what, x, sn_writer_ints(z->w, 1, &last));
    const char *y = op1(z, "ReduceMean", what, x);
    sn_writer_attr_ints(z->w, "axes", 1, &last);
    return y;
}

static const char *unsqueeze0(Zoo *z, const char *what, const char *x) {
    static const int64_t zero = 0;
    return op2(z, "Unsqueeze", what, x, sn_writer_ints(z->w, 1, &zero));
}

static const char *square(Zoo *z, const char *what, const char *x) {
    return op2(z, "Pow", what, x, single(z, 2));
}

/* x / √(mean(x²) + epsilon) · gain; x is f32 */
static const char *rms_scale(Zoo *z, const char *x, const char *gain, float epsilon) {
    const char *mean = mean_last(z, "variance", square(z, "square", x));
    const char *root = op1(z, "Sqrt", "deviation", op2(z, "Add", "plus_epsilon", mean, single(z, epsilon)));
    const char *y = narrowed(z, "narrowed", op2(z, "Div", "normalised", x, root));
    return op2(z, "Mul", "scaled", y, gain);
}

static const char *layer_norm(Zoo *z, const char *scope, const char *x) {
    const char *outer = z->scope;
    z->scope = named(z, scope);
    const char *gain = vector(z, "weight", z->o.d_model, weight_scale, 1);
    const char *bias = vector(z, "bias", z->o.d_model, weight_scale, 0);
    x = widened(z, "widened", x);
    const char *centred = op2(z, "Sub", "centred", x, mean_last(z, "mean", x));
    const char *y = op2(z, "Add", "shifted", rms_scale(z, centred, gain, 1e-5F), bias);
    z->scope = outer;
    return y;
}

static const char *rms_norm(Zoo *z, const char *scope, const char *x) {
    const char *outer = z->scope;
    z->scope = named(z, scope);
    const char *gain = vector(z, "weight", z->o.d_model, weight_scale, 1);
    const char *y = rms_scale(z, widened(z, "widened", x), gain, 1e-5F);
    z->scope = outer;
    return y;
}

/* ---- positions and masks ---- */

static const char *extent_of(Zoo *z, const char *what, const char *value, int64_t axis) {
    const char *shape = op1(z, "Shape", sn_arena_printf(z->arena, "%s/shape", what), value);
    return op2(z, "Gather", what, shape, sn_writer_int(z->w, axis));
}

static const char *range(Zoo *z, const char *what, const char *from, const char *to) {
    const char *input[3] = {from, to, sn_writer_int(z->w, 1)};
    return sn_writer_node(z->w, "Range", named(z, what), 3, input);
}

/* P … P+T−1, T the extent of axis 1 of `ids` and P what the cache holds. */
static const char *positions(Zoo *z, const char *ids) {
    const char *length = extent_of(z, "length", ids, 1);
    if (!z->past_length) return range(z, "positions", sn_writer_int(z->w, 0), length);
    return range(z, "positions", z->past_length, op2(z, "Add", "total_length", z->past_length, length));
}

/* bool [T, P + T]: column <= position of the row */
static const char *causal_mask(Zoo *z, const char *position) {
    static const int64_t column[2] = {-1, 1};
    const char *columns = position;
    if (z->past_length) columns = range(z, "columns", sn_writer_int(z->w, 0), named(z, "total_length"));
    return op2(z, "LessOrEqual", "causal", columns, reshape(z, "rows", position, 2, column));
}

/* ---- key and value cache ---- */

static void cache_info(Zoo *z, bool output, const char *name) {
    static const char *const past[4] = {"batch", "", "past", ""}, *const total[4] = {"batch", "",
                                                                                     "past + sequence", ""};
    int64_t extent[4] = {-1, z->o.kv_heads, -1, z->o.d_model / z->o.heads};
    if (output)
        sn_writer_output(z->w, name, z->o.dtype, 4, extent, total);
    else
        sn_writer_input(z->w, name, z->o.dtype, 4, extent, past);
}

static const char *cache_name(Zoo *z, const char *which, int64_t layer, const char *what) {
    return sn_arena_printf(z->arena, "%s.%d.%s", which, (int)layer, what);
}

static void declare_cache(Zoo *z) {
    if (!z->o.kv_cache) return;
    for (int64_t l = 0; l < z->o.layers; l++) {
        cache_info(z, false, cache_name(z, "past", l, "key"));
        cache_info(z, false, cache_name(z, "past", l, "value"));
    }
    z->past_length = extent_of(z, "past_length", cache_name(z, "past", 0, "key"), 2);
}

/* The cached heads with the new ones behind them; `x` itself without a cache. */
static const char *with_cache(Zoo *z, int64_t layer, const char *what, const char *x) {
    if (!z->o.kv_cache) return x;
    const char *both[2] = {cache_name(z, "past", layer, what), x},
               *name = cache_name(z, "present", layer, what);
    sn_writer_node(z->w, "Concat", name, 2, both);
    sn_writer_attr_int(z->w, "axis", 2);
    cache_info(z, true, name);
    return name;
}

/* ---- attention ---- */

static const char *split_heads(Zoo *z, const char *what, const char *x, int64_t heads) {
    static const int64_t order[4] = {0, 2, 1, 3};
    int64_t extent[4] = {0, 0, heads, z->o.d_model / z->o.heads};
    const char *y = reshape(z, sn_arena_printf(z->arena, "%s/heads", what), x, 4, extent);
    return transpose(z, sn_arena_printf(z->arena, "%s/transposed", what), y, 4, order);
}

static const char *repeat_heads(Zoo *z, const char *what, const char *x) {
    int64_t times = z->o.heads / z->o.kv_heads, axis = 2, width = z->o.d_model / z->o.heads;
    if (times == 1) return x;
    int64_t ones[5] = {1, 1, times, 1, 1}, merged[4] = {0, z->o.heads, -1, width};
    const char *y = op2(z, "Unsqueeze", sn_arena_printf(z->arena, "%s/unsqueezed", what), x,
                        sn_writer_ints(z->w, 1, &axis));
    y = op2(z, "Expand", sn_arena_printf(z->arena, "%s/repeated", what), y, sn_writer_ints(z->w, 5, ones));
    return reshape(z, sn_arena_printf(z->arena, "%s/merged", what), y, 4, merged);
}

/* q, k, v [B, H, T, D]; `mask`: bool (where), float (added) or NULL. */
static const char *attend(Zoo *z, const char *q, const char *k, const char *v, const char *mask,
                          bool additive) {
    static const int64_t swap[4] = {0, 1, 3, 2}, order[4] = {0, 2, 1, 3}, merged[3] = {0, 0, -1};
    double width = (double)z->o.d_model / (double)z->o.heads;
    const char *scores = op2(z, "MatMul", "scores", q, transpose(z, "k/swapped", k, 4, swap));
    scores = op2(z, "Div", "scaled_scores", scores, number(z, (float)sqrt(width)));
    if (mask && additive) scores = op2(z, "Add", "masked", scores, mask);
    if (mask && !additive) {
        const char *input[3] = {mask, scores, lowest(z)};
        scores = sn_writer_node(z->w, "Where", named(z, "masked"), 3, input);
    }
    const char *p = op1(z, "Softmax", "probabilities", scores);
    sn_writer_attr_int(z->w, "axis", -1);
    const char *out = transpose(z, "context", op2(z, "MatMul", "weighted", p, v), 4, order);
    return reshape(z, "joined", out, 3, merged);
}

/* ---- feed-forward ---- */

static const char *gelu_tanh(Zoo *z, const char *x) {
    const char *cube = op2(z, "Pow", "cube", x, number(z, 3));
    const char *sum = op2(z, "Add", "inner", x, op2(z, "Mul", "cubic", cube, number(z, 0.044715F)));
    const char *t = op1(z, "Tanh", "tanh", op2(z, "Mul", "argument", sum, number(z, 0.7978845608F)));
    const char *half = op2(z, "Mul", "half", x, number(z, 0.5F));
    return op2(z, "Mul", "gelu", half, op2(z, "Add", "one_plus", t, number(z, 1)));
}

static const char *gelu_erf(Zoo *z, const char *x) {
    const char *e = op1(z, "Erf", "erf", op2(z, "Div", "argument", x, number(z, 1.41421356F)));
    const char *product = op2(z, "Mul", "product", x, op2(z, "Add", "one_plus", e, number(z, 1)));
    return op2(z, "Mul", "gelu", product, number(z, 0.5F));
}

/* ---- GPT-2: learned positions, pre-norm, GELU (tanh), untied head ---- */

static void split3(Zoo *z, const char *x, const char *part[3]) {
    int64_t d = z->o.d_model;
    static const char *const names[3] = {"q", "k", "v"};
    for (int i = 0; i < 3; i++) part[i] = slice_last(z, names[i], x, i * d, (i + 1) * d);
}

static const char *gpt2_block(Zoo *z, int64_t layer, const char *x, const char *mask) {
    int64_t d = z->o.d_model, heads = z->o.heads;
    const char *part[3];
    split3(z, linear(z, "attn/qkv", layer_norm(z, "ln_1", x), d, 3 * d, true), part);
    const char *k = with_cache(z, layer, "key", split_heads(z, "k", part[1], heads));
    const char *v = with_cache(z, layer, "value", split_heads(z, "v", part[2], heads));
    const char *a = attend(z, split_heads(z, "q", part[0], heads), k, v, mask, false);
    a = dropped(z, "dropout_1", residual(z, "attn/proj", a, d, d, true));
    x = op2(z, "Add", "residual_1", a, x);
    const char *h = gelu_tanh(z, linear(z, "mlp/fc", layer_norm(z, "ln_2", x), d, z->o.d_ff, true));
    h = dropped(z, "dropout_2", residual(z, "mlp/proj", h, z->o.d_ff, d, true));
    return op2(z, "Add", "residual_2", h, x);
}

static const char *token_embedding(Zoo *z, const char *ids) {
    return op2(z, "Gather", "embedded", weight(z, "wte", z->o.vocab, z->o.d_model, weight_scale), ids);
}

static void logits(Zoo *z, const char *x) {
    widened(z, "logits_f32", linear(z, "lm_head", x, z->o.d_model, z->o.vocab, false));
    static const char *const dims[3] = {"batch", "sequence", ""};
    sn_writer_rename(z->w, "logits");
    sn_writer_output(z->w, "logits", SN_F32, 3, (int64_t[3]){-1, -1, z->o.vocab}, dims);
}

static const char *ids_input(Zoo *z, const char *name) {
    static const char *const dims[2] = {"batch", "sequence"};
    sn_writer_input(z->w, name, SN_I64, 2, (int64_t[2]){-1, -1}, dims);
    return name;
}

static void build_gpt2(Zoo *z) {
    z->o.kv_heads = z->o.heads;
    const char *ids = ids_input(z, "input_ids");
    declare_cache(z);
    const char *position = positions(z, ids);
    const char *wpe = op2(z, "Gather", "position_embedded",
                          weight(z, "wpe", z->o.context, z->o.d_model, weight_scale), position);
    const char *x = op2(z, "Add", "embedding", token_embedding(z, ids), wpe),
               *mask = causal_mask(z, position);
    for (int64_t l = 0; l < z->o.layers; l++) {
        z->scope = sn_arena_printf(z->arena, "h.%d", (int)l);
        x = gpt2_block(z, l, x, mask);
    }
    z->scope = "";
    logits(z, layer_norm(z, "ln_f", x));
}

/* ---- Llama: rotary positions, RMS norm, grouped queries, SwiGLU, untied head ---- */

typedef struct Angles {
    const char *cosine, *sine; /* [1, 1, T, D] */
} Angles;

/* The angle of pair i at position t is t·10000^(−2i/D) (Su et al., 2021). */
static Angles angles(Zoo *z, const char *position) {
    static const int64_t column[2] = {-1, 1};
    int half = (int)(z->o.d_model / z->o.heads / 2);
    float *frequency = SN_ARRAY(z->arena, float, half);
    for (int i = 0; i < half; i++) frequency[i] = (float)pow(10000.0, -(double)i / half);
    const char *t = cast(z, "positions_f32", reshape(z, "position_column", position, 2, column), SN_F32);
    const char *angle = op2(z, "Mul", "angles", t, sn_writer_floats(z->w, half, frequency));
    const char *both[2] = {angle, angle};
    const char *wide = sn_writer_node(z->w, "Concat", named(z, "angles_twice"), 2, both);
    sn_writer_attr_int(z->w, "axis", -1);
    Angles result;
    const char *cosine = narrowed(z, "cos_narrowed", op1(z, "Cos", "cos", wide));
    const char *sine = narrowed(z, "sin_narrowed", op1(z, "Sin", "sin", wide));
    result.cosine = unsqueeze0(z, "cos_1", unsqueeze0(z, "cos_0", cosine));
    result.sine = unsqueeze0(z, "sin_1", unsqueeze0(z, "sin_0", sine));
    return result;
}

static const char *rotary(Zoo *z, const char *what, const char *x, Angles angle) {
    int64_t width = z->o.d_model / z->o.heads;
    const char *outer = z->scope;
    z->scope = named(z, what);
    const char *first = slice_last(z, "first", x, 0, width / 2),
               *second = slice_last(z, "second", x, width / 2, width);
    const char *turned[2] = {op1(z, "Neg", "negated", second), first};
    const char *half = sn_writer_node(z->w, "Concat", named(z, "rotated"), 2, turned);
    sn_writer_attr_int(z->w, "axis", -1);
    const char *y = op2(z, "Add", "turned", op2(z, "Mul", "with_cos", x, angle.cosine),
                        op2(z, "Mul", "with_sin", half, angle.sine));
    z->scope = outer;
    return y;
}

static const char *llama_block(Zoo *z, int64_t layer, const char *x, const char *mask, Angles angle) {
    int64_t d = z->o.d_model, heads = z->o.heads, kv = z->o.kv_heads, width = d / heads, ff = z->o.d_ff;
    const char *h = rms_norm(z, "attention_norm", x);
    const char *q = split_heads(z, "q", linear(z, "attn/q", h, d, d, false), heads);
    const char *k = split_heads(z, "k", linear(z, "attn/k", h, d, kv * width, false), kv);
    const char *v = split_heads(z, "v", linear(z, "attn/v", h, d, kv * width, false), kv);
    q = rotary(z, "q_rotary", q, angle);
    k = repeat_heads(z, "k", with_cache(z, layer, "key", rotary(z, "k_rotary", k, angle)));
    v = repeat_heads(z, "v", with_cache(z, layer, "value", v));
    const char *a = attend(z, q, k, v, mask, false);
    x = op2(z, "Add", "residual_1", x, dropped(z, "dropout_1", residual(z, "attn/o", a, d, d, false)));
    h = rms_norm(z, "ffn_norm", x);
    const char *gate = linear(z, "mlp/gate", h, d, ff, false), *up = linear(z, "mlp/up", h, d, ff, false);
    const char *silu = op2(z, "Mul", "mlp/silu", gate, op1(z, "Sigmoid", "mlp/sigmoid", gate));
    const char *down = residual(z, "mlp/down", op2(z, "Mul", "mlp/gated", silu, up), ff, d, false);
    return op2(z, "Add", "residual_2", x, dropped(z, "dropout_2", down));
}

static void build_llama(Zoo *z) {
    const char *ids = ids_input(z, "input_ids");
    declare_cache(z);
    const char *position = positions(z, ids);
    const char *x = token_embedding(z, ids), *mask = causal_mask(z, position);
    Angles angle = angles(z, position);
    for (int64_t l = 0; l < z->o.layers; l++) {
        z->scope = sn_arena_printf(z->arena, "layers.%d", (int)l);
        x = llama_block(z, l, x, mask, angle);
    }
    z->scope = "";
    logits(z, rms_norm(z, "norm", x));
}

/* ---- BERT: post-norm encoder with a padding mask, GELU (erf) ---- */

/* (1 − mask)·(lowest), as [B, 1, 1, T] */
static const char *padding_bias(Zoo *z, const char *mask) {
    static const int64_t axes[2] = {1, 2};
    const char *wide = op2(z, "Unsqueeze", "mask/wide", mask, sn_writer_ints(z->w, 2, axes));
    const char *f = cast(z, "mask/float", wide, z->o.dtype);
    const char *off = op2(z, "Sub", "mask/off", number(z, 1), f);
    return op2(z, "Mul", "mask/bias", off, lowest(z));
}

static const char *bert_block(Zoo *z, const char *x, const char *bias) {
    int64_t d = z->o.d_model, heads = z->o.heads;
    const char *q = split_heads(z, "q", linear(z, "attn/q", x, d, d, true), heads);
    const char *k = split_heads(z, "k", linear(z, "attn/k", x, d, d, true), heads);
    const char *v = split_heads(z, "v", linear(z, "attn/v", x, d, d, true), heads);
    const char *a = linear(z, "attn/o", attend(z, q, k, v, bias, true), d, d, true);
    x = layer_norm(z, "attn/norm", op2(z, "Add", "residual_1", dropped(z, "dropout_1", a), x));
    const char *h = gelu_erf(z, linear(z, "mlp/up", x, d, z->o.d_ff, true));
    h = dropped(z, "dropout_2", linear(z, "mlp/down", h, z->o.d_ff, d, true));
    return layer_norm(z, "mlp/norm", op2(z, "Add", "residual_2", h, x));
}

static void build_bert(Zoo *z) {
    const char *ids = ids_input(z, "input_ids"), *mask = ids_input(z, "attention_mask");
    const char *types = ids_input(z, "token_type_ids");
    const char *wpe = op2(z, "Gather", "position_embedded",
                          weight(z, "wpe", z->o.context, z->o.d_model, weight_scale), positions(z, ids));
    const char *type =
        op2(z, "Gather", "type_embedded", weight(z, "token_type", 2, z->o.d_model, weight_scale), types);
    const char *x = op2(z, "Add", "with_types", token_embedding(z, ids), type);
    x = layer_norm(z, "embedding_norm", op2(z, "Add", "embedding", x, wpe));
    const char *bias = padding_bias(z, mask);
    for (int64_t l = 0; l < z->o.layers; l++) {
        z->scope = sn_arena_printf(z->arena, "layer.%d", (int)l);
        x = bert_block(z, x, bias);
    }
    z->scope = "";
    widened(z, "last_hidden_state_f32", x);
    static const char *const dims[3] = {"batch", "sequence", ""};
    sn_writer_rename(z->w, "last_hidden_state");
    sn_writer_output(z->w, "last_hidden_state", SN_F32, 3, (int64_t[3]){-1, -1, z->o.d_model}, dims);
}

/* ---- attention alone: one causal head of width d_model on given q, k and v ---- */

static void build_attention(Zoo *z) {
    static const char *const names[3] = {"q", "k", "v"}, *const dims[3] = {"batch", "sequence", ""};
    const char *head[3];
    z->o.heads = z->o.kv_heads = 1;
    for (int i = 0; i < 3; i++) {
        sn_writer_input(z->w, names[i], SN_F32, 3, (int64_t[3]){-1, -1, z->o.d_model}, dims);
        const char *x = narrowed(z, sn_arena_printf(z->arena, "%s_narrowed", names[i]), names[i]);
        head[i] = split_heads(z, sn_arena_printf(z->arena, "%s_in", names[i]), x, 1);
    }
    const char *mask = causal_mask(z, positions(z, "q"));
    widened(z, "output_f32", attend(z, head[0], head[1], head[2], mask, false));
    sn_writer_rename(z->w, "output");
    sn_writer_output(z->w, "output", SN_F32, 3, (int64_t[3]){-1, -1, z->o.d_model}, dims);
}

/* ---- the table ---- */

static const struct {
    const char *kind;
    void (*build)(Zoo *);
    bool even_heads; /* rotary pairs need an even head width */
    bool decoder;    /* may have a key and value cache */
} kinds[] = {
    {"gpt2", build_gpt2, false, true},
    {"llama", build_llama, true, true},
    {"bert", build_bert, false, false},
    {"attention", build_attention, false, false},
};

const char *sn_zoo_kind(int index) {
    return index >= 0 && (size_t)index < sizeof kinds / sizeof *kinds ? kinds[index].kind : NULL;
}

static Status check_options(const ZooOptions *o, bool even_heads) {
    bool positive = o->layers > 0 && o->d_model > 0 && o->heads > 0 && o->kv_heads > 0 && o->d_ff > 0 &&
                    o->vocab > 0 && o->context > 0;
    if (!positive) return sn_fail(SN_INVALID, "sizes must be positive");
    if (o->d_model % o->heads) return sn_fail(SN_INVALID, "d-model must be a multiple of heads");
    if (o->heads % o->kv_heads) return sn_fail(SN_INVALID, "heads must be a multiple of kv-heads");
    if (even_heads && o->d_model / o->heads % 2)
        return sn_fail(SN_INVALID, "the width of a head must be even");
    if (o->dtype != SN_F32 && o->dtype != SN_F16 && o->dtype != SN_BF16)
        return sn_fail(SN_INVALID, "models are made of f32, f16 or bf16");
    if (!(o->dropout >= 0 && o->dropout < 1)) return sn_fail(SN_INVALID, "a dropout of %g", o->dropout);
    if (o->opset < 13 || o->opset > 23) return sn_fail(SN_INVALID, "make writes opsets 13 to 23");
    return NULL;
}

Status sn_zoo_build(Arena *arena, const char *kind, const ZooOptions *options, Writer **out) {
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(kinds[i].kind, kind) != 0) continue;
        TRY(check_options(options, kinds[i].even_heads));
        if (options->kv_cache && !kinds[i].decoder)
            return sn_fail(SN_INVALID, "%s has no key and value cache", kind);
        *out = sn_writer_new(arena, kind, options->opset);
        Zoo zoo = {*out, arena, *options, "", NULL};
        kinds[i].build(&zoo);
        return NULL;
    }
    return sn_fail(SN_INVALID, "no model kind \"%s\"", kind);
}
