#include "gpu.h"
#include <stdlib.h>

/* With the lock held: the lane that the thread has, or else one that nobody has. */
static Lane *find_lane(Cuda *cuda, pthread_t self) {
    Lane *unused = NULL;
    for (Lane *lane = cuda->lanes; lane; lane = lane->next) {
        if (lane->lent && pthread_equal(lane->thread, self)) return lane;
        if (!lane->lent) unused = lane;
    }
    return unused;
}

/* What runs beside the rest takes the room that the rest leaves. */
static Status new_stream(Cuda *cuda, bool beside, CuStream *out) {
    int least, greatest;
    TRY(SN_CU(cuda, cuCtxGetStreamPriorityRange, &least, &greatest));
    return SN_CU(cuda, cuStreamCreateWithPriority, out, SN_CU_STREAM_NON_BLOCKING, beside ? least : greatest);
}

static Status new_lane(Cuda *cuda, Lane **out) {
    Lane *lane = calloc(1, sizeof *lane);
    if (!lane) return sn_fail(SN_NO_MEMORY, "out of memory for a stream");
    Status status = new_stream(cuda, false, &lane->stream);
    if (status) {
        free(lane);
        return status;
    }
    lane->next = cuda->lanes;
    cuda->lanes = *out = lane;
    return NULL;
}

Status sn_cuda_lane(Cuda *cuda, Lane **out) {
    Status status = NULL;
    pthread_mutex_lock(&cuda->lock);
    *out = find_lane(cuda, pthread_self());
    if (!*out) status = new_lane(cuda, out);
    if (!status) {
        (*out)->lent = true;
        (*out)->thread = pthread_self();
    }
    pthread_mutex_unlock(&cuda->lock);
    return status;
}

CuStream sn_cuda_lane_stream(const Lane *lane) {
    return lane->is_beside ? lane->beside : lane->stream;
}

Status sn_cuda_lane_end(Cuda *cuda, Lane *lane) {
    Status status = SN_CU(cuda, cuStreamSynchronize, lane->stream);
    if (lane->beside) {
        Status other = SN_CU(cuda, cuStreamSynchronize, lane->beside);
        if (status)
            sn_error_free(other);
        else
            status = other;
    }
    lane->is_beside = false;
    pthread_mutex_lock(&cuda->lock);
    lane->lent = false;
    pthread_mutex_unlock(&cuda->lock);
    return status;
}

Status sn_cuda_sync(Device *device) {
    Cuda *cuda = (Cuda *)device;
    pthread_mutex_lock(&cuda->lock);
    Lane *lane = find_lane(cuda, pthread_self());
    bool lent = lane && lane->lent;
    pthread_mutex_unlock(&cuda->lock);
    if (!lent && !atomic_load(&cuda->lost)) return NULL;
    TRY(sn_cuda_enter(cuda));
    Status status = sn_cuda_lane_end(cuda, lane);
    sn_cuda_leave(cuda);
    return status;
}

Status sn_cuda_lane_staging(Cuda *cuda, Lane *lane) {
    for (int i = 0; i < SN_STAGING_COUNT; i++) {
        if (!lane->staging[i])
            TRY(SN_CU(cuda, cuMemHostAlloc, &lane->staging[i], SN_STAGING_BYTES,
                      SN_CU_MEMHOSTALLOC_PORTABLE));
        if (!lane->copied[i]) TRY(SN_CU(cuda, cuEventCreate, &lane->copied[i], SN_CU_EVENT_DISABLE_TIMING));
    }
    return NULL;
}

/* ---- beside the lane's stream ---- */

Status sn_cuda_lane_beside(Cuda *cuda, Lane *lane) {
    return atomic_load(&cuda->beside) && !lane->beside ? new_stream(cuda, true, &lane->beside) : NULL;
}

static Status turn(Cuda *cuda, bool beside) {
    Lane *lane;
    TRY(sn_cuda_lane(cuda, &lane));
    if (beside) atomic_store(&cuda->beside, true);
    if (beside) TRY(sn_cuda_lane_beside(cuda, lane));
    lane->is_beside = beside;
    return NULL;
}

Status sn_cuda_turn(Device *device, int number) {
    Cuda *cuda = (Cuda *)device;
    TRY(sn_cuda_enter(cuda));
    Status status = turn(cuda, number != 0);
    sn_cuda_leave(cuda);
    return status;
}

/* Room for a post of that number, and an event for it. */
static Status need_post(Cuda *cuda, Lane *lane, int number) {
    if (number >= lane->post_count) {
        int count = 2 * number + 1;
        CuEvent *more = realloc(lane->post, (size_t)count * sizeof *more);
        if (!more) return sn_fail(SN_NO_MEMORY, "out of memory for %d events", count);
        memset(more + lane->post_count, 0, (size_t)(count - lane->post_count) * sizeof *more);
        lane->post = more;
        lane->post_count = count;
    }
    if (lane->post[number]) return NULL;
    return SN_CU(cuda, cuEventCreate, &lane->post[number], SN_CU_EVENT_DISABLE_TIMING);
}

static Status put_post(Cuda *cuda, int number) {
    Lane *lane;
    TRY(sn_cuda_lane(cuda, &lane));
    TRY(need_post(cuda, lane, number));
    return SN_CU(cuda, cuEventRecord, lane->post[number], sn_cuda_lane_stream(lane));
}

Status sn_cuda_post(Device *device, int number) {
    Cuda *cuda = (Cuda *)device;
    TRY(sn_cuda_enter(cuda));
    Status status = put_post(cuda, number);
    sn_cuda_leave(cuda);
    return status;
}

static Status await_post(Cuda *cuda, int number) {
    Lane *lane;
    TRY(sn_cuda_lane(cuda, &lane));
    TRY(need_post(cuda, lane, number));
    return SN_CU(cuda, cuStreamWaitEvent, sn_cuda_lane_stream(lane), lane->post[number], 0);
}

Status sn_cuda_await(Device *device, int number) {
    Cuda *cuda = (Cuda *)device;
    TRY(sn_cuda_enter(cuda));
    Status status = await_post(cuda, number);
    sn_cuda_leave(cuda);
    return status;
}

void sn_cuda_lanes_free(Cuda *cuda) {
    for (Lane *lane = cuda->lanes, *next; lane; lane = next) {
        next = lane->next;
        for (int i = 0; i < SN_STAGING_COUNT; i++) {
            if (lane->staging[i]) cuda->driver.cuMemFreeHost(lane->staging[i]);
            if (lane->copied[i]) cuda->driver.cuEventDestroy_v2(lane->copied[i]);
        }
        for (int i = 0; i < lane->post_count; i++)
            if (lane->post[i]) cuda->driver.cuEventDestroy_v2(lane->post[i]);
        free(lane->post);
        if (lane->beside) cuda->driver.cuStreamDestroy_v2(lane->beside);
        cuda->driver.cuStreamDestroy_v2(lane->stream);
        free(lane);
    }
    cuda->lanes = NULL;
}
