/* The emulated cuBLASLt itself: that its products are right, and that what the library refuses is refused. */
#include "emulated_cuda_fixture.h"

typedef struct Product {
    LtHandle handle;
    LtProduct product;
    LtLayout a, b, d;
    LtPreference preference;
} Product;

enum { ROWS = 3, COLUMNS = 4, DEPTH = 5 }; /* of D, by columns */

/* D = A^T B + bias, A (DEPTH, ROWS) and B (DEPTH, COLUMNS) by columns; all in `in`, D in `out`. */
static Product make_product(const Fixture *f, unsigned compute, uint32_t epilogue) {
    Product p;
    int32_t transposed = LT_OP_T;
    assert_int_equal(f->lt.cublasLtCreate(&p.handle), 0);
    assert_int_equal(f->lt.cublasLtMatmulDescCreate(&p.product, compute, LT_R_32F), 0);
    assert_int_equal(
        f->lt.cublasLtMatmulDescSetAttribute(p.product, LT_PRODUCT_TRANSA, &transposed, sizeof transposed),
        0);
    assert_int_equal(
        f->lt.cublasLtMatmulDescSetAttribute(p.product, LT_PRODUCT_EPILOGUE, &epilogue, sizeof epilogue), 0);
    assert_int_equal(f->lt.cublasLtMatrixLayoutCreate(&p.a, LT_R_32F, DEPTH, ROWS, DEPTH), 0);
    assert_int_equal(f->lt.cublasLtMatrixLayoutCreate(&p.b, LT_R_32F, DEPTH, COLUMNS, DEPTH), 0);
    assert_int_equal(f->lt.cublasLtMatrixLayoutCreate(&p.d, LT_R_32F, ROWS, COLUMNS, ROWS + 1), 0);
    assert_int_equal(f->lt.cublasLtMatmulPreferenceCreate(&p.preference), 0);
    for (unsigned i = LT_PREFERENCE_ALIGNMENT_A; i <= LT_PREFERENCE_ALIGNMENT_D; i++) {
        uint32_t alignment = 4;
        assert_int_equal(
            f->lt.cublasLtMatmulPreferenceSetAttribute(p.preference, i, &alignment, sizeof alignment), 0);
    }
    return p;
}

static void free_product(const Fixture *f, Product *p) {
    f->lt.cublasLtMatmulPreferenceDestroy(p->preference);
    f->lt.cublasLtMatrixLayoutDestroy(p->a);
    f->lt.cublasLtMatrixLayoutDestroy(p->b);
    f->lt.cublasLtMatrixLayoutDestroy(p->d);
    f->lt.cublasLtMatmulDescDestroy(p->product);
    f->lt.cublasLtDestroy(p->handle);
}

static LtStatus choose(const Fixture *f, const Product *p, LtChoice *choice) {
    int found;
    return f->lt.cublasLtMatmulAlgoGetHeuristic(p->handle, p->product, p->a, p->b, p->d, p->d, p->preference,
                                                1, choice, &found);
}

static LtStatus multiply(const Fixture *f, const Product *p, const LtChoice *choice, CuAddress b,
                         float beta) {
    float one = 1;
    void *out = (void *)(uintptr_t)f->out;
    return f->lt.cublasLtMatmul(p->handle, p->product, &one, (void *)(uintptr_t)f->in, p->a,
                                (void *)(uintptr_t)b, p->b, &beta, out, p->d, out, p->d, &choice->algorithm,
                                NULL, 0, f->stream);
}

static double gelu(double x) {
    return 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
}

static void products_are_right(void **state) {
    Fixture *f = *state;
    LtChoice choice;
    CuAddress bias = f->in + 40 * sizeof(float);
    Product p = make_product(f, LT_COMPUTE_32F, LT_EPILOGUE_BIAS | LT_EPILOGUE_GELU);
    assert_int_equal(
        f->lt.cublasLtMatmulDescSetAttribute(p.product, LT_PRODUCT_BIAS_POINTER, &bias, sizeof bias), 0);
    assert_int_equal(choose(f, &p, &choice), 0);
    for (int i = 0; i < COUNT; i++) f->host[i] = (float)sin(i);
    assert_int_equal(f->cu.cuMemcpyHtoDAsync_v2(f->in, f->host, BYTES, f->stream), 0);
    assert_int_equal(multiply(f, &p, &choice, f->in + 15 * sizeof(float), 0), 0);
    assert_int_equal(f->cu.cuMemcpyDtoHAsync_v2(f->host, f->out, BYTES, f->stream), 0);
    assert_int_equal(f->cu.cuStreamSynchronize(f->stream), 0);
    for (int m = 0; m < ROWS; m++)
        for (int n = 0; n < COLUMNS; n++) {
            double sum = sin(40 + m);
            for (int k = 0; k < DEPTH; k++)
                sum += (float)sin(m * DEPTH + k) * (double)(float)sin(15 + n * DEPTH + k);
            assert_true(fabs(f->host[n * (ROWS + 1) + m] - gelu(sum)) < 1e-6);
        }
    assert_true(isnan(f->host[ROWS])); /* between the columns nothing is written */
    free_product(f, &p);
}

static void wrong_products_are_refused(void **state) {
    Fixture *f = *state;
    LtChoice choice;
    int32_t type = LT_R_16F, row = LT_ORDER_ROW;
    Product p = make_product(f, LT_COMPUTE_32F, LT_EPILOGUE_BIAS);
    plant("contradictions=1");
    assert_int_equal(choose(f, &p, &choice), 0);
    assert_int_equal(multiply(f, &p, &choice, f->in, 0), LT_INVALID_VALUE); /* no bias */
    assert_int_equal(
        f->lt.cublasLtMatmulDescSetAttribute(p.product, LT_PRODUCT_BIAS_DATA_TYPE, &type, sizeof type), 0);
    assert_int_equal(choose(f, &p, &choice), LT_NOT_SUPPORTED);
    free_product(f, &p);
    p = make_product(f, LT_COMPUTE_32F, 64);
    assert_int_equal(choose(f, &p, &choice), LT_NOT_SUPPORTED);
    free_product(f, &p);
    p = make_product(f, LT_COMPUTE_32F, LT_EPILOGUE_DEFAULT);
    assert_int_equal(f->lt.cublasLtMatrixLayoutSetAttribute(p.d, LT_LAYOUT_ORDER, &row, sizeof row), 0);
    assert_int_equal(choose(f, &p, &choice), LT_NOT_SUPPORTED);
    free_product(f, &p);
    p = make_product(f, LT_COMPUTE_32F, LT_EPILOGUE_DEFAULT);
    f->lt.cublasLtMatrixLayoutDestroy(p.b);
    assert_int_equal(f->lt.cublasLtMatrixLayoutCreate(&p.b, LT_R_32F, DEPTH, COLUMNS, DEPTH - 1), 0);
    assert_int_equal(choose(f, &p, &choice), LT_INVALID_VALUE);
    free_product(f, &p);
}

static void set_aux(const Fixture *f, const Product *p, CuAddress aux, int64_t stride) {
    assert_int_equal(
        f->lt.cublasLtMatmulDescSetAttribute(p->product, LT_PRODUCT_AUX_POINTER, &aux, sizeof aux), 0);
    assert_int_equal(
        f->lt.cublasLtMatmulDescSetAttribute(p->product, LT_PRODUCT_AUX_STRIDE, &stride, sizeof stride), 0);
}

/* As cublasLt.h has it: aux is there, with a stride by 128 bits or 8 elements; and as the algorithm was chosen for. */
static void wrong_aux_is_refused(void **state) {
    static const uint32_t cases[][4] = {/* epilogue, is there, stride, status */
                                        {LT_EPILOGUE_RELU | LT_EPILOGUE_AUX, 1, 128, 0},
                                        {LT_EPILOGUE_RELU | LT_EPILOGUE_AUX, 1, 64, LT_INVALID_VALUE},
                                        {LT_EPILOGUE_DRELU, 0, 128, LT_INVALID_VALUE},
                                        {LT_EPILOGUE_DGELU, 1, 8, 0},
                                        {LT_EPILOGUE_DGELU, 1, 9, LT_INVALID_VALUE},
                                        {LT_EPILOGUE_BGRADA | LT_EPILOGUE_RELU, 1, 8, LT_NOT_SUPPORTED}};
    Fixture *f = *state;
    LtChoice choice;
    plant("contradictions=1");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Product p = make_product(f, LT_COMPUTE_32F, cases[i][0]);
        set_aux(f, &p, cases[i][1] ? f->out : 0, cases[i][2]);
        assert_int_equal(choose(f, &p, &choice), cases[i][3]);
        set_aux(f, &p, f->out, 2 * cases[i][2]);
        if (!cases[i][3]) assert_int_equal(multiply(f, &p, &choice, f->in, 0), LT_INVALID_VALUE);
        free_product(f, &p);
    }
}

/* The result lies over an operand; a promised alignment is not kept. */
static void a_product_over_its_operand(void **state) {
    Fixture *f = *state;
    LtChoice choice;
    Product p = make_product(f, LT_COMPUTE_32F_FAST_TF32, LT_EPILOGUE_DEFAULT);
    assert_int_equal(choose(f, &p, &choice), 0);
    assert_int_equal(multiply(f, &p, &choice, f->in + 2, 0), LT_INVALID_VALUE);
    assert_int_equal(multiply(f, &p, &choice, f->out, 0), 0);
    assert_int_equal(f->cu.cuStreamSynchronize(f->stream), SN_CU_ILLEGAL_ADDRESS);
    free_product(f, &p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        FRESH(products_are_right),
        FRESH(wrong_products_are_refused),
        FRESH(wrong_aux_is_refused),
        FRESH_LOST(a_product_over_its_operand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
