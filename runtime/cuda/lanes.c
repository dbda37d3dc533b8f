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

static Status new_lane(Cuda *cuda, Lane **out) {
    Lane *lane = calloc(1, sizeof *lane);
    if (!lane) return sn_fail(SN_NO_MEMORY, "out of memory for a stream");
    Status status = SN_CU(cuda, cuStreamCreate, &lane->stream, SN_CU_STREAM_NON_BLOCKING);
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

Status sn_cuda_lane_end(Cuda *cuda, Lane *lane) {
    Status status = SN_CU(cuda, cuStreamSynchronize, lane->stream);
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

void sn_cuda_lanes_free(Cuda *cuda) {
    for (Lane *lane = cuda->lanes, *next; lane; lane = next) {
        next = lane->next;
        for (int i = 0; i < SN_STAGING_COUNT; i++) {
            if (lane->staging[i]) cuda->driver.cuMemFreeHost(lane->staging[i]);
            if (lane->copied[i]) cuda->driver.cuEventDestroy_v2(lane->copied[i]);
        }
        cuda->driver.cuStreamDestroy_v2(lane->stream);
        free(lane);
    }
    cuda->lanes = NULL;
}
