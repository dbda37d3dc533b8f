/* Copies between host and GPU, in pieces through pinned memory: one piece crosses the bus while the next one
 * is copied on the host. */
#include "gpu.h"

static size_t piece(int64_t bytes, int64_t from) {
    return (size_t)(bytes - from < SN_STAGING_BYTES ? bytes - from : SN_STAGING_BYTES);
}

static Status upload_pieces(Cuda *cuda, Lane *lane, CuAddress to, const char *from, int64_t bytes) {
    for (int64_t at = 0; at < bytes; at += SN_STAGING_BYTES) {
        int which = (int)(at / SN_STAGING_BYTES % SN_STAGING_COUNT);
        size_t size = piece(bytes, at);
        if (at >= (int64_t)SN_STAGING_COUNT * SN_STAGING_BYTES)
            TRY(SN_CU(cuda, cuEventSynchronize, lane->copied[which]));
        memcpy(lane->staging[which], from + at, size);
        TRY(SN_CU(cuda, cuMemcpyHtoDAsync_v2, to + (CuAddress)at, lane->staging[which], size, lane->stream));
        TRY(SN_CU(cuda, cuEventRecord, lane->copied[which], lane->stream));
    }
    return NULL;
}

static Status download_pieces(Cuda *cuda, Lane *lane, char *to, CuAddress from, int64_t bytes) {
    for (int64_t at = 0; at - SN_STAGING_BYTES < bytes; at += SN_STAGING_BYTES) {
        int64_t before = at - SN_STAGING_BYTES;
        int which = (int)(at / SN_STAGING_BYTES % SN_STAGING_COUNT), other = !which;
        if (at < bytes) {
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

/* A lane with staging memory. When the copy returns, whatever came of it, the lane has ended. */
static Status with_lane(Cuda *cuda, CopyKind kind, void *to, const void *from, int64_t bytes) {
    Lane *lane;
    TRY(sn_cuda_lane(cuda, &lane));
    Status status = sn_cuda_lane_staging(cuda, lane);
    if (!status && kind == SN_COPY_UPLOAD)
        status = upload_pieces(cuda, lane, (CuAddress)(uintptr_t)to, from, bytes);
    if (!status && kind == SN_COPY_DOWNLOAD)
        status = download_pieces(cuda, lane, to, (CuAddress)(uintptr_t)from, bytes);
    Status ended = sn_cuda_lane_end(cuda, lane);
    if (!status) return ended;
    sn_error_free(ended);
    return status;
}

static Status copy(Device *device, CopyKind kind, void *to, const void *from, int64_t bytes) {
    Cuda *cuda = (Cuda *)device;
    if (bytes <= 0) return NULL;
    TRY(sn_cuda_enter(cuda));
    Status status = with_lane(cuda, kind, to, from, bytes);
    sn_cuda_leave(cuda);
    return status;
}

Status sn_cuda_upload(Device *device, void *to, const void *from, int64_t bytes) {
    return copy(device, SN_COPY_UPLOAD, to, from, bytes);
}

Status sn_cuda_download(Device *device, void *to, const void *from, int64_t bytes) {
    return copy(device, SN_COPY_DOWNLOAD, to, from, bytes);
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

Status sn_cuda_copy_rows(Device *device, const RowsCopy *copy) {
    Cuda *cuda = (Cuda *)device;
    if (copy->width <= 0 || copy->rows <= 0) return NULL;
    if (copy->rows == 1 && copy->kind == SN_COPY_UPLOAD)
        return sn_cuda_upload(device, copy->to, copy->from, copy->width);
    if (copy->rows == 1 && copy->kind == SN_COPY_DOWNLOAD)
        return sn_cuda_download(device, copy->to, copy->from, copy->width);
    TRY(sn_cuda_enter(cuda));
    Status status = run_rows(cuda, copy);
    sn_cuda_leave(cuda);
    return status;
}
