#include "onednn.h"
#include "clock.h"
#include <dnnl.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

struct OnednnProduct {
    int threads, copies;
    int64_t M, N, K;
    dnnl_data_type_t type;
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_desc_t description;
    dnnl_primitive_t product;
    dnnl_memory_t x, *y, *w; /* y, w: per copy */
};

/* A failure of oneDNN is the caller's failure. */
#define TRY_DNNL(call)                                                                                       \
    do {                                                                                                     \
        dnnl_status_t dnnl_status_ = (call);                                                                 \
        if (dnnl_status_ != dnnl_success)                                                                    \
            return sn_fail(SN_DEVICE, "oneDNN: %s fails with status %d", #call, (int)dnnl_status_);          \
    } while (0)

const char *sn_onednn_name(void) {
    return "oneDNN";
}

static Status matrix(const OnednnProduct *p, dnnl_memory_desc_t *out, int64_t rows, int64_t columns,
                     dnnl_format_tag_t layout) {
    const dnnl_dims_t extent = {rows, columns};
    TRY_DNNL(dnnl_memory_desc_init_by_tag(out, 2, extent, p->type, layout));
    return NULL;
}

static size_t element_bytes(const OnednnProduct *p) {
    return p->type == dnnl_bf16 ? sizeof(uint16_t) : sizeof(float);
}

static Status make_product(OnednnProduct *p, const void *x, void *y) {
    dnnl_memory_desc_t source, weights, result;
    TRY(matrix(p, &source, p->M, p->K, dnnl_ab));
    TRY(matrix(p, &weights, p->K, p->N, dnnl_format_tag_any));
    TRY(matrix(p, &result, p->M, p->N, dnnl_ab));
    dnnl_matmul_desc_t wanted;
    TRY_DNNL(dnnl_matmul_desc_init(&wanted, &source, &weights, NULL, &result));
    TRY_DNNL(dnnl_primitive_desc_create(&p->description, &wanted, NULL, p->engine, NULL));
    TRY_DNNL(dnnl_primitive_create(&p->product, p->description));
    TRY_DNNL(dnnl_memory_create(&p->x, &source, p->engine, (void *)x));
    for (int i = 0; i < p->copies; i++)
        TRY_DNNL(dnnl_memory_create(&p->y[i], &result, p->engine,
                                    (char *)y + (size_t)i * (size_t)(p->M * p->N) * element_bytes(p)));
    return NULL;
}

/* w[copy] from the row-major `plain`, in the layout that the product chose. */
static Status rearrange(OnednnProduct *p, void *plain, int copy) {
    dnnl_memory_desc_t from;
    TRY(matrix(p, &from, p->K, p->N, dnnl_ab));
    const dnnl_memory_desc_t *to = dnnl_primitive_desc_query_md(p->description, dnnl_query_weights_md, 0);
    TRY_DNNL(dnnl_memory_create(&p->w[copy], to, p->engine, DNNL_MEMORY_ALLOCATE));
    dnnl_memory_t source;
    TRY_DNNL(dnnl_memory_create(&source, &from, p->engine, plain));
    dnnl_primitive_desc_t description = NULL;
    dnnl_primitive_t reorder = NULL;
    dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, source}, {DNNL_ARG_TO, p->w[copy]}};
    dnnl_status_t status =
        dnnl_reorder_primitive_desc_create(&description, &from, p->engine, to, p->engine, NULL);
    if (status == dnnl_success) status = dnnl_primitive_create(&reorder, description);
    if (status == dnnl_success) status = dnnl_primitive_execute(reorder, p->stream, 2, arguments);
    if (status == dnnl_success) status = dnnl_stream_wait(p->stream);
    dnnl_primitive_destroy(reorder);
    dnnl_primitive_desc_destroy(description);
    dnnl_memory_destroy(source);
    TRY_DNNL(status);
    return NULL;
}

static Status fill_all(OnednnProduct *p, void (*fill)(void *user, int copy, void *w), void *user) {
    void *plain = malloc((size_t)p->N * (size_t)p->K * element_bytes(p));
    if (!plain) return sn_fail(SN_NO_MEMORY, "out of memory for weights");
    Status status = NULL;
    for (int i = 0; i < p->copies && !status; i++) {
        fill(user, i, plain);
        status = rearrange(p, plain, i);
    }
    free(plain);
    return status;
}

static Status open_product(OnednnProduct *p) {
    omp_set_num_threads(p->threads);
    TRY_DNNL(dnnl_engine_create(&p->engine, dnnl_cpu, 0));
    TRY_DNNL(dnnl_stream_create(&p->stream, p->engine, dnnl_stream_default_flags));
    p->w = calloc((size_t)p->copies, sizeof(dnnl_memory_t));
    p->y = calloc((size_t)p->copies, sizeof(dnnl_memory_t));
    return p->w && p->y ? NULL : sn_fail(SN_NO_MEMORY, "out of memory for weights");
}

Status sn_onednn_product_new(int threads, int64_t M, int64_t N, int64_t K, int copies, bool bf16,
                             void (*fill)(void *user, int copy, void *w), void *user, const void *x, void *y,
                             OnednnProduct **out) {
    *out = NULL;
    OnednnProduct *p = calloc(1, sizeof *p);
    if (!p) return sn_fail(SN_NO_MEMORY, "out of memory");
    *p = (OnednnProduct){.threads = threads, .copies = copies, .M = M, .N = N, .K = K};
    p->type = bf16 ? dnnl_bf16 : dnnl_f32;
    Status status = open_product(p);
    if (!status) status = make_product(p, x, y);
    if (!status) status = fill_all(p, fill, user);
    if (status)
        sn_onednn_product_free(p);
    else
        *out = p;
    return status;
}

void sn_onednn_product_free(OnednnProduct *p) {
    if (!p) return;
    for (int i = 0; p->w && i < p->copies; i++) dnnl_memory_destroy(p->w[i]);
    free(p->w);
    for (int i = 0; p->y && i < p->copies; i++) dnnl_memory_destroy(p->y[i]);
    free(p->y);
    dnnl_memory_destroy(p->x);
    dnnl_primitive_destroy(p->product);
    dnnl_primitive_desc_destroy(p->description);
    dnnl_stream_destroy(p->stream);
    dnnl_engine_destroy(p->engine);
    free(p);
}

Status sn_onednn_product_run(void *product, int count, double *seconds) {
    OnednnProduct *p = product;
    omp_set_num_threads(p->threads);
    double start = sn_clock();
    for (int i = 0; i < count * p->copies; i++) {
        dnnl_exec_arg_t arguments[] = {{DNNL_ARG_SRC, p->x},
                                       {DNNL_ARG_WEIGHTS, p->w[i % p->copies]},
                                       {DNNL_ARG_DST, p->y[i % p->copies]}};
        TRY_DNNL(dnnl_primitive_execute(p->product, p->stream, 3, arguments));
    }
    TRY_DNNL(dnnl_stream_wait(p->stream));
    *seconds = sn_clock() - start;
    return NULL;
}
