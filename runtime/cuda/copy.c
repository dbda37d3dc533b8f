/* Copies between host and GPU, in pieces through pinned memory: one piece crosses the bus while the next one
 * is copied on the host. */
#include "gpu.h"

static size_t piece(int64_t bytes, int64_t from) {
    return (size_t)(bytes - from < SN_STAGING_BYTES ? bytes - from : SN_STAGING_BYTES);
}

/* The next piece of staging memory, when what was copied through it last has been. */
static Status take_staging(Cuda *cuda, Lane *lane, int *which) {
    *which = (int)(lane->turn++ % SN_STAGING_COUNT);
    return SN_CU(cuda, cuEventSynchronize, lane->copied[*which]);
}

static Status upload_pieces(Cuda *cuda, Lane *lane, CuAddress to, const char *from, int64_t bytes) {
    for (int64_t at = 0; at < bytes; at += SN_STAGING_BYTES) {
        int which;
        size_t size = piece(bytes, at);
        TRY(take_staging(cuda, lane, &which));
        memcpy(lane->staging[which], from + at, size);
        TRY(SN_CU(cuda, cuMemcpyHtoDAsync_v2, to + (CuAddress)at, lane->staging[which], size, lane->stream));
        TRY(SN_CU(cuda, cuEventRecord, lane->copied[which], lane->stream));
    }
    return NULL;
}

static Status download_pieces(Cuda *cuda, Lane *lane, char *to, CuAddress from, int64_t bytes) {
    int which, other = 0;
    for (int64_t at = 0; at - SN_STAGING_BYTES < bytes; at += SN_STAGING_BYTES, other = which) {
        int64_t before = at - SN_STAGING_BYTES;
        which = 0;
        if (at < bytes) {
            TRY(take_staging(cuda, lane, &which));
            TRY(SN_CU(cuda, cuMemcpyDtoHAsync_v2, lane->staging[which], from + (CuAddress)at,
                      piece(bytes, at), lane->stream));
            TRY(SN_CU(cuda, cuEventRecord, lane->copied[which], lane->stream));
        }
        if (before < 0) continue;
        TRY(SN_CU(cuda, cuEventSynchronize, lane->copied[other]));
        memcpy(to + before, lane->staging[other], piece(bytes, before));
    }
    return NULL;
}

static Status upload(Cuda *cuda, void *to, const void *from, int64_t bytes) {
    Lane *lane;
    TRY(sn_cuda_lane(cuda, &lane));
    TRY(sn_cuda_lane_staging(cuda, lane));
    return upload_pieces(cuda, lane, (CuAddress)(uintptr_t)to, from, bytes);
}

Status sn_cuda_upload(Device *device, void *to, const void *from, int64_t bytes) {
    Cuda *cuda = (Cuda *)device;
    if (bytes <= 0) return NULL;
    TRY(sn_cuda_enter(cuda));
    Status status = upload(cuda, to, from, bytes);
    sn_cuda_leave(cuda);
    return status;
}

static Status download(Cuda *cuda, void *to, const void *from, int64_t bytes) {
    Lane *lane;
    TRY(sn_cuda_lane(cuda, &lane));
    Status status = sn_cuda_lane_staging(cuda, lane);
    if (!status) status = download_pieces(cuda, lane, to, (CuAddress)(uintptr_t)from, bytes);
    Status ended = sn_cuda_lane_end(cuda, lane);
    if (!status) return ended;
    sn_error_free(ended);
    return status;
}

Status sn_cuda_download(Device *device, void *to, const void *from, int64_t bytes) {
    Cuda *cuda = (Cuda *)device;
    if (bytes <= 0) return NULL;
    TRY(sn_cuda_enter(cuda));
    Status status = download(cuda, to, from, bytes);
    sn_cuda_leave(cuda);
    return status;
}

/* ---- rows ---- */

static Status start_rows(Cuda *cuda, const RowsCopy *copy, CuStream stream) {
    CuAddress to = (CuAddress)(uintptr_t)copy->to, from = (CuAddress)(uintptr_t)copy->from;
    if (copy->rows == 1 && copy->kind == SN_COPY_MOVE)
        return SN_CU(cuda, cuMemcpyDtoDAsync_v2, to, from, (size_t)copy->width, stream);
    CuCopy2D rows = {.from_pitch = (size_t)copy->from_stride,
                     .to_pitch = (size_t)copy->to_stride,
                     .width = (size_t)copy->width,
                     .height = (size_t)copy->rows,
                     .from_kind = copy->kind == SN_COPY_UPLOAD ? SN_CU_MEMORY_HOST : SN_CU_MEMORY_DEVICE,
                     .to_kind = copy->kind == SN_COPY_DOWNLOAD ? SN_CU_MEMORY_HOST : SN_CU_MEMORY_DEVICE};
    if (copy->kind == SN_COPY_UPLOAD)
        rows.from_host = copy->from;
    else
        rows.from_device = from;
    if (copy->kind == SN_COPY_DOWNLOAD)
        rows.to_host = copy->to;
    else
        rows.to_device = to;
    return SN_CU(cuda, cuMemcpy2DAsync_v2, &rows, stream);
}

static Status run_rows(Cuda *cuda, const RowsCopy *copy) {
    Lane *lane;
    TRY(sn_cuda_lane(cuda, &lane));
    Status status = start_rows(cuda, copy, lane->stream), ended = sn_cuda_lane_end(cuda, lane);
    if (!status) return ended;
    sn_error_free(ended);
    return status;
}

/* Rows that lie farther apart than one copy can have them. */
static Status copy_row_by_row(Device *device, const RowsCopy *copy) {
    RowsCopy row = *copy;
    row.rows = 1;
    for (int64_t i = 0; i < copy->rows; i++) {
        row.to = (char *)copy->to + i * copy->to_stride;
        row.from = (const char *)copy->from + i * copy->from_stride;
        TRY(sn_cuda_copy_rows(device, &row));
    }
    return NULL;
}

Status sn_cuda_copy_rows(Device *device, const RowsCopy *copy) {
    Cuda *cuda = (Cuda *)device;
    if (copy->width <= 0 || copy->rows <= 0) return NULL;
    if (copy->rows > 1 && (copy->to_stride > cuda->pitch || copy->from_stride > cuda->pitch))
        return copy_row_by_row(device, copy);
    if (copy->rows == 1 && copy->kind == SN_COPY_UPLOAD)
        return sn_cuda_upload(device, copy->to, copy->from, copy->width);
    if (copy->rows == 1 && copy->kind == SN_COPY_DOWNLOAD)
        return sn_cuda_download(device, copy->to, copy->from, copy->width);
    TRY(sn_cuda_enter(cuda));
    Status status = run_rows(cuda, copy);
    sn_cuda_leave(cuda);
    return status;
}
