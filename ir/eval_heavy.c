/* Products, packing and rotary embedding, as sums over indices. */
#include "eval_rules.h"
#include "index.h"

/* ---- products ---- */

/* A matrix in an array: element (row, column) is at start + row·step + column·stride. */
typedef struct Matrix {
    const Array *array;
    int64_t start, step, stride;
} Matrix;

/* out(m, n) += Σ_k a(m, k)·b(k, n) in order of k, for rows × columns elements; the columns of `out` are
 * adjacent. They are the inner loop, so that a plain b is read as it lies. */
static void multiply(Array *out, Matrix to, int64_t rows, int64_t columns, int64_t length, Matrix a,
                     Matrix b) {
    for (int64_t m = 0; m < rows; m++)
        for (int64_t k = 0; k < length; k++) {
            int64_t at = to.start + m * to.step;
            int64_t left = a.start + m * a.step + k * a.stride, right = b.start + k * b.step;
            for (int64_t n = 0; n < columns && out->f; n++) {
                int64_t from = right + n * b.stride; /* packed integers are read as the numbers they are */
                out->f[at + n] +=
                    a.array->f[left] * (b.array->f ? b.array->f[from] : (double)b.array->i[from]);
            }
            for (int64_t n = 0; n < columns && out->i; n++)
                out->i[at + n] =
                    (int64_t)((uint64_t)out->i[at + n] +
                              (uint64_t)a.array->i[left] * (uint64_t)b.array->i[right + n * b.stride]);
        }
}

/* The batch part of `array`: all but its last two axes. */
static int64_t batch_at(const Array *array, int batch_rank, const int64_t *index) {
    int own = array->rank > 2 ? array->rank - 2 : 0;
    return sn_index_broadcast(own, array->extent, batch_rank, index);
}

/* numpy.matmul: a vector is one row (a) or one column (b). */
Status sn_eval_matmul(Eval *eval, const Node *node) {
    const Array *a = sn_eval_input(eval, node, 0), *b = sn_eval_input(eval, node, 1);
    Array *out;
    TRY(sn_eval_output(eval, node, 0, &out));
    bool a_vector = a->rank == 1, b_vector = b->rank == 1;
    int64_t rows = a_vector ? 1 : a->extent[a->rank - 2], length = a->extent[a->rank - 1];
    int64_t columns = b_vector ? 1 : b->extent[b->rank - 1];
    int batch_rank = out->rank - !a_vector - !b_vector;
    for (int64_t batch = 0; out->count && batch < out->count / (rows * columns); batch++) {
        int64_t index[SN_MAX_RANK];
        sn_index_split(batch_rank, out->extent, batch, index);
        Matrix left = {a, batch_at(a, batch_rank, index) * rows * length, length, 1};
        Matrix right = {b, batch_at(b, batch_rank, index) * length * columns, columns, 1};
        Matrix to = {out, batch * rows * columns, columns, 1};
        multiply(out, to, rows, columns, length, left, right);
    }
    return NULL;
}

/* Both rows of each byte of b. */
static const Array *without_halves(Eval *eval, const Array *b) {
    int64_t extent[SN_MAX_RANK], panel = b->extent[b->rank - 1];
    for (int k = 0; k < b->rank; k++) extent[k] = b->extent[k];
    extent[b->rank - 2] *= 2;
    Array *made = sn_array_new(eval->arena, SN_I8, b->rank, extent);
    for (int64_t i = 0; i < made->count; i++) {
        int64_t k = i / panel, both = b->i[k / 2 * panel + i % panel],
                low = (both & 15) < 8 ? both & 15 : (both & 15) - 16;
        made->i[i] = k % 2 == 0 ? low : (both - low) / 16 - (low < 0);
    }
    return made;
}

/* b with its factors multiplied in. */
static const Array *with_factors(Eval *eval, const Node *node, const Array *b, const Array *factors) {
    int64_t block = ((const AttrContract *)node->attr)->block, panel = b->extent[b->rank - 1];
    int64_t length = b->extent[b->rank - 2], blocks = factors->extent[factors->rank - 2];
    Array *made = sn_array_new(eval->arena, SN_F32, b->rank, b->extent);
    for (int64_t i = 0; i < b->count; i++) {
        int64_t of = i / panel / length, k = i / panel % length;
        made->f[i] =
            (b->f ? b->f[i] : (double)b->i[i]) * factors->f[(of * blocks + k / block) * panel + i % panel];
    }
    return made;
}

/* b as it lies without groups, [..., K, P], from [..., ceildiv(K, group), P, group]. */
static const Array *without_groups(Eval *eval, const Array *b, int64_t K) {
    int64_t extent[SN_MAX_RANK], group = b->extent[b->rank - 1], panel = b->extent[b->rank - 2];
    for (int k = 0; k < b->rank - 1; k++) extent[k] = b->extent[k];
    int64_t length = extent[b->rank - 3] * group;
    extent[b->rank - 3] = K;
    Array *made = sn_array_new(eval->arena, b->dtype, b->rank - 1, extent);
    for (int64_t i = 0; i < made->count; i++) {
        int64_t n = i % panel, k = i / panel % K, of = i / panel / K;
        sn_array_copy(made, i, b,
                      (of * (length / group) + k / group) * panel * group + n * group + k % group);
    }
    return made;
}

/* Column n of a packed operand is column n mod P of panel n / P; unpacked it is one panel of N columns. */
Status sn_eval_contract(Eval *eval, const Node *node) {
    const Array *a = sn_eval_input(eval, node, 0), *b = sn_eval_input(eval, node, 1);
    Array *out;
    TRY(sn_eval_output(eval, node, 0, &out));
    if (out->count == 0) return NULL;
    const AttrContract *attr = node->attr;
    if (attr->group) b = without_groups(eval, b, a->extent[a->rank - 1] / (attr->halves ? 2 : 1));
    if (attr->halves) b = without_halves(eval, b);
    if (node->input_count > 2) b = with_factors(eval, node, b, sn_eval_input(eval, node, 2));
    int64_t rows = a->extent[a->rank - 2], length = a->extent[a->rank - 1];
    int64_t columns = out->extent[out->rank - 1], panel = b->extent[b->rank - 1];
    int64_t panels = (columns + panel - 1) / panel;
    for (int64_t batch = 0; batch < out->count / (rows * columns); batch++)
        for (int64_t p = 0; p < panels; p++) {
            int64_t first = p * panel, width = columns - first < panel ? columns - first : panel;
            Matrix left = {a, batch * rows * length, length, 1};
            Matrix right = {b, (batch * panels + p) * length * panel, panel, 1};
            Matrix to = {out, batch * rows * columns + first, columns, 1};
            multiply(out, to, rows, width, length, left, right);
        }
    return NULL;
}

Status sn_eval_pack(Eval *eval, const Node *node) {
    int64_t panel = ((const AttrPack *)node->attr)->panel, group = ((const AttrPack *)node->attr)->group;
    const Array *x = sn_eval_input(eval, node, 0);
    Array *out;
    TRY(sn_eval_output(eval, node, 0, &out));
    int64_t length = x->extent[x->rank - 2], columns = x->extent[x->rank - 1];
    int64_t panels = out->extent[x->rank - 2], groups = out->extent[x->rank - 1];
    for (int64_t i = 0; i < x->count; i++) {
        int64_t batch = i / columns / length, k = i / columns % length, n = i % columns;
        int64_t of = batch * panels + n / panel, row = of * length + k, at = row * panel + n % panel;
        if (group) at = ((of * groups + k / group) * panel + n % panel) * group + k % group;
        sn_array_copy(out, at, x, i); /* what no element comes to stays zero */
    }
    return NULL;
}

/* ---- rotary ---- */

Status sn_eval_rotary(Eval *eval, const Node *node) {
    bool interleaved = ((const AttrRotary *)node->attr)->interleaved;
    const Array *x = sn_eval_input(eval, node, 0);
    const Array *cosine = sn_eval_input(eval, node, 1), *sine = sn_eval_input(eval, node, 2);
    Array *out;
    TRY(sn_eval_output(eval, node, 0, &out));
    int64_t half = cosine->extent[cosine->rank - 1], size = out->extent[out->rank - 1];
    for (int64_t i = 0; i < out->count; i++) {
        int64_t along = i % size, index[SN_MAX_RANK];
        out->f[i] = x->f[i];
        if (along >= 2 * half) continue;
        int64_t pair = interleaved ? along / 2 : along % half;
        bool second = interleaved ? along % 2 : along >= half;
        int64_t other = interleaved ? 1 : half;
        sn_index_split(out->rank, out->extent, i, index);
        index[out->rank - 1] = pair;
        double c = cosine->f[sn_index_broadcast(cosine->rank, cosine->extent, out->rank, index)];
        double s = sine->f[sn_index_broadcast(sine->rank, sine->extent, out->rank, index)];
        out->f[i] = second ? x->f[i] * c + x->f[i - other] * s : x->f[i] * c - x->f[i + other] * s;
    }
    return NULL;
}
