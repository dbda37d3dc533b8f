#include "gpu.h"

static bool loses_the_context(CuResult result) {
    static const CuResult lasting[] = {
        SN_CU_ECC_UNCORRECTABLE,
        SN_CU_NVLINK_UNCORRECTABLE,
        SN_CU_CONTAINED,
        SN_CU_ILLEGAL_ADDRESS,
        SN_CU_LAUNCH_TIMEOUT,
        SN_CU_CONTEXT_IS_DESTROYED,
        SN_CU_ASSERT,
        SN_CU_HARDWARE_STACK_ERROR,
        SN_CU_ILLEGAL_INSTRUCTION,
        SN_CU_MISALIGNED_ADDRESS,
        SN_CU_INVALID_ADDRESS_SPACE,
        SN_CU_INVALID_PC,
        SN_CU_LAUNCH_FAILED,
    };
    for (size_t i = 0; i < sizeof lasting / sizeof *lasting; i++)
        if (result == lasting[i]) return true;
    return false;
}

/* A stub, which programs are linked with, answers every question with this one error. */
static const char *name_of(const Cuda *cuda, CuResult result) {
    const char *name = NULL;
    if (result == SN_CU_STUB_LIBRARY) return "CUDA_ERROR_STUB_LIBRARY";
    return cuda->driver.cuGetErrorName(result, &name) == SN_CU_SUCCESS && name ? name : "an unknown error";
}

static const char *meaning_of(const Cuda *cuda, CuResult result) {
    const char *text = NULL;
    if (result == SN_CU_STUB_LIBRARY) return "the library is a stub to link with, not a driver";
    return cuda->driver.cuGetErrorString(result, &text) == SN_CU_SUCCESS && text ? text : "no description";
}

static Status is_lost(const Cuda *cuda) {
    CuResult result = atomic_load(&cuda->lost);
    return sn_fail(
        SN_DEVICE,
        "the GPU's context is lost since %s gave %u %s (%s): this process cannot use the GPU any more",
        atomic_load(&cuda->lost_call), result, name_of(cuda, result), meaning_of(cuda, result));
}

Status sn_cuda_check(Cuda *cuda, CuResult result, const char *call) {
    if (result == SN_CU_SUCCESS) return NULL;
    if (loses_the_context(result)) {
        unsigned alive = SN_CU_SUCCESS;
        atomic_store(&cuda->lost_call, call);
        atomic_compare_exchange_strong(&cuda->lost, &alive, result);
        return is_lost(cuda);
    }
    return sn_fail(result == SN_CU_OUT_OF_MEMORY ? SN_NO_MEMORY : SN_DEVICE, "%s gave %u %s (%s)", call,
                   result, name_of(cuda, result), meaning_of(cuda, result));
}

Status sn_cuda_enter(Cuda *cuda) {
    if (!cuda->context)
        return sn_fail(SN_DEVICE, "%s is only compiled for: it is not a GPU of this machine",
                       cuda->device.target.name);
    if (atomic_load(&cuda->lost)) return is_lost(cuda);
    return SN_CU(cuda, cuCtxPushCurrent_v2, cuda->context);
}

bool sn_cuda_enter_to_free(Cuda *cuda) {
    return cuda->context && cuda->driver.cuCtxPushCurrent_v2(cuda->context) == SN_CU_SUCCESS;
}

void sn_cuda_leave(Cuda *cuda) {
    CuContext ours;
    cuda->driver.cuCtxPopCurrent_v2(&ours);
}
