/* The parts of the CUDA driver API, of NVRTC and of cuBLASLt that Sinter calls, declared by ourselves: they are opened while
 * the program runs (libraries.h), and building Sinter needs none of them.
 *
 * Names of functions are those of the symbols, so that X-lists below declare, look up and emulate the same thing.
 * Enumerations are `unsigned` and only the values that are used have names. tests/test_cuda_abi.c compares everything
 * here with the toolkit's headers where those are installed. The driver's list exists from version 12.0 on, which is
 * what cuGraphExecUpdate_v2 takes. */
#ifndef SN_CUDA_ABI_H
#define SN_CUDA_ABI_H

#include <stddef.h>
#include <stdint.h>

/* ---- driver ---- */

typedef unsigned CuResult;
typedef int CuDevice;
typedef unsigned long long CuAddress; /* of device memory */
typedef struct CUctx_st *CuContext;
typedef struct CUstream_st *CuStream;
typedef struct CUevent_st *CuEvent;
typedef struct CUmod_st *CuModule;
typedef struct CUfunc_st *CuFunction;
typedef struct CUgraph_st *CuGraph;
typedef struct CUgraphNode_st *CuGraphNode;
typedef struct CUgraphExec_st *CuGraphExec;

enum {
    SN_CU_SUCCESS = 0,
    SN_CU_INVALID_VALUE = 1,
    SN_CU_OUT_OF_MEMORY = 2,
    SN_CU_NOT_INITIALIZED = 3,
    SN_CU_STUB_LIBRARY = 34,
    SN_CU_NO_DEVICE = 100,
    SN_CU_INVALID_IMAGE = 200,
    SN_CU_INVALID_CONTEXT = 201,
    SN_CU_NO_BINARY_FOR_GPU = 209,
    SN_CU_ECC_UNCORRECTABLE = 214,
    SN_CU_NVLINK_UNCORRECTABLE = 220,
    SN_CU_CONTAINED = 226, /* a fault of the device that is shut in: all that follows fails */
    SN_CU_NOT_FOUND = 500,
    SN_CU_ILLEGAL_ADDRESS = 700,
    SN_CU_LAUNCH_OUT_OF_RESOURCES = 701,
    SN_CU_LAUNCH_TIMEOUT = 702,
    SN_CU_CONTEXT_IS_DESTROYED = 709,
    SN_CU_ASSERT = 710,
    SN_CU_HARDWARE_STACK_ERROR = 714,
    SN_CU_ILLEGAL_INSTRUCTION = 715,
    SN_CU_MISALIGNED_ADDRESS = 716,
    SN_CU_INVALID_ADDRESS_SPACE = 717,
    SN_CU_INVALID_PC = 718,
    SN_CU_LAUNCH_FAILED = 719,
    SN_CU_NOT_SUPPORTED = 801,
    SN_CU_STREAM_CAPTURE_UNSUPPORTED = 900,
    SN_CU_STREAM_CAPTURE_INVALIDATED = 901,
    SN_CU_STREAM_CAPTURE_UNJOINED = 904,
    SN_CU_STREAM_CAPTURE_ISOLATION = 905,
    SN_CU_GRAPH_EXEC_UPDATE_FAILURE = 910,
    SN_CU_UNKNOWN = 999,
};

enum {
    SN_CU_ATTRIBUTE_MAX_THREADS_PER_BLOCK = 1,
    SN_CU_ATTRIBUTE_WARP_SIZE = 10,
    SN_CU_ATTRIBUTE_MAX_PITCH = 11,  /* bytes from row to row of a copy */
    SN_CU_ATTRIBUTE_CLOCK_RATE = 13, /* kHz */
    SN_CU_ATTRIBUTE_MULTIPROCESSOR_COUNT = 16,
    SN_CU_ATTRIBUTE_MEMORY_CLOCK_RATE = 36,       /* kHz */
    SN_CU_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH = 37, /* bits */
    SN_CU_ATTRIBUTE_L2_CACHE_SIZE = 38,           /* bytes */
    SN_CU_ATTRIBUTE_UNIFIED_ADDRESSING = 41,
    SN_CU_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75,
    SN_CU_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76,
    SN_CU_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR = 81,
    SN_CU_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN = 97,
};

enum {
    SN_CU_STREAM_NON_BLOCKING = 1,
    SN_CU_EVENT_DEFAULT = 0,
    SN_CU_EVENT_DISABLE_TIMING = 2,
    SN_CU_MEMHOSTALLOC_PORTABLE = 1,
    SN_CU_FUNC_MAX_THREADS_PER_BLOCK = 0,
    SN_CU_FUNC_SHARED_SIZE_BYTES = 1, /* static */
    SN_CU_FUNC_LOCAL_SIZE_BYTES = 3,
    SN_CU_FUNC_NUM_REGS = 4,
    SN_CU_FUNC_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8,
    SN_CU_CAPTURE_THREAD_LOCAL = 1,
    SN_CU_GRAPH_USE_NODE_PRIORITY = 8, /* else all have the launching stream's */
    SN_CU_MEMORY_HOST = 1,
    SN_CU_MEMORY_DEVICE = 2,
};

/* Pairs of the `extra` list of cuLaunchKernel: a tag, then its value; ended by SN_CU_LAUNCH_END. */
enum { SN_CU_LAUNCH_END_TAG = 0, SN_CU_LAUNCH_BUFFER_POINTER_TAG = 1, SN_CU_LAUNCH_BUFFER_SIZE_TAG = 2 };
#define SN_CU_LAUNCH_END            ((void *)SN_CU_LAUNCH_END_TAG)
#define SN_CU_LAUNCH_BUFFER_POINTER ((void *)SN_CU_LAUNCH_BUFFER_POINTER_TAG) /* the packed arguments */
#define SN_CU_LAUNCH_BUFFER_SIZE    ((void *)SN_CU_LAUNCH_BUFFER_SIZE_TAG)    /* a size_t * */

typedef struct CuGraphUpdate {
    unsigned result; /* 0: done */
    CuGraphNode node, from;
} CuGraphUpdate;

/* A copy of `height` rows of `width` bytes. Fields of the kind of memory that is not used are 0. */
typedef struct CuCopy2D {
    size_t from_x, from_y;
    unsigned from_kind;
    const void *from_host;
    CuAddress from_device;
    void *from_array;
    size_t from_pitch;
    size_t to_x, to_y;
    unsigned to_kind;
    void *to_host;
    CuAddress to_device;
    void *to_array;
    size_t to_pitch;
    size_t width, height;
} CuCopy2D;

/* clang-format off */
#define SN_CUDA_DRIVER(X)                                                                                              \
    X(CuResult, cuInit, (unsigned flags))                                                                              \
    X(CuResult, cuDriverGetVersion, (int *version)) /* 1000·major + 10·minor */                                        \
    X(CuResult, cuGetErrorName, (CuResult error, const char **name))                                                   \
    X(CuResult, cuGetErrorString, (CuResult error, const char **text))                                                 \
    X(CuResult, cuDeviceGetCount, (int *count))                                                                        \
    X(CuResult, cuDeviceGet, (CuDevice *device, int ordinal))                                                          \
    X(CuResult, cuDeviceGetName, (char *name, int size, CuDevice device))                                              \
    X(CuResult, cuDeviceGetAttribute, (int *value, unsigned attribute, CuDevice device))                               \
    X(CuResult, cuDeviceTotalMem_v2, (size_t *bytes, CuDevice device))                                                 \
    X(CuResult, cuDevicePrimaryCtxRetain, (CuContext *context, CuDevice device))                                       \
    X(CuResult, cuDevicePrimaryCtxRelease_v2, (CuDevice device))                                                       \
    X(CuResult, cuCtxPushCurrent_v2, (CuContext context)) /* of the calling thread */                                  \
    X(CuResult, cuCtxPopCurrent_v2, (CuContext *context))                                                              \
    X(CuResult, cuMemGetInfo_v2, (size_t *unused, size_t *total))                                                      \
    X(CuResult, cuMemAlloc_v2, (CuAddress *at, size_t bytes))                                                          \
    X(CuResult, cuMemFree_v2, (CuAddress at))                                                                          \
    X(CuResult, cuMemHostAlloc, (void **at, size_t bytes, unsigned flags))                                             \
    X(CuResult, cuMemFreeHost, (void *at))                                                                             \
    X(CuResult, cuMemcpyHtoDAsync_v2, (CuAddress to, const void *from, size_t bytes, CuStream stream))                 \
    X(CuResult, cuMemcpyDtoHAsync_v2, (void *to, CuAddress from, size_t bytes, CuStream stream))                       \
    X(CuResult, cuMemcpyDtoDAsync_v2, (CuAddress to, CuAddress from, size_t bytes, CuStream stream))                   \
    X(CuResult, cuMemcpy2DAsync_v2, (const CuCopy2D *copy, CuStream stream))                                           \
    X(CuResult, cuCtxGetStreamPriorityRange, (int *least, int *greatest)) /* lower numbers go first */                 \
    X(CuResult, cuStreamCreateWithPriority, (CuStream *stream, unsigned flags, int priority))                          \
    X(CuResult, cuStreamDestroy_v2, (CuStream stream))                                                                 \
    X(CuResult, cuStreamSynchronize, (CuStream stream))                                                                \
    X(CuResult, cuStreamWaitEvent, (CuStream stream, CuEvent event, unsigned flags))                                   \
    X(CuResult, cuStreamBeginCapture_v2, (CuStream stream, unsigned mode))                                             \
    X(CuResult, cuStreamEndCapture, (CuStream stream, CuGraph *graph))                                                 \
    X(CuResult, cuEventCreate, (CuEvent *event, unsigned flags))                                                       \
    X(CuResult, cuEventDestroy_v2, (CuEvent event))                                                                    \
    X(CuResult, cuEventRecord, (CuEvent event, CuStream stream))                                                       \
    X(CuResult, cuEventSynchronize, (CuEvent event))                                                                   \
    X(CuResult, cuEventElapsedTime, (float *milliseconds, CuEvent from, CuEvent to))                                   \
    X(CuResult, cuModuleLoadData, (CuModule *module, const void *image))                                               \
    X(CuResult, cuModuleUnload, (CuModule module))                                                                     \
    X(CuResult, cuModuleGetFunction, (CuFunction *function, CuModule module, const char *name))                        \
    X(CuResult, cuFuncGetAttribute, (int *value, unsigned attribute, CuFunction function))                             \
    X(CuResult, cuFuncSetAttribute, (CuFunction function, unsigned attribute, int value))                              \
    X(CuResult, cuOccupancyMaxActiveBlocksPerMultiprocessor,                                                           \
      (int *count, CuFunction function, int threads, size_t shared))                                                   \
    X(CuResult, cuLaunchKernel,                                                                                        \
      (CuFunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y,     \
       unsigned block_z, unsigned shared, CuStream stream, void **parameters, void **extra))                           \
    X(CuResult, cuGraphInstantiateWithFlags, (CuGraphExec *exec, CuGraph graph, unsigned long long flags))             \
    X(CuResult, cuGraphExecUpdate_v2, (CuGraphExec exec, CuGraph graph, CuGraphUpdate *result))                        \
    X(CuResult, cuGraphLaunch, (CuGraphExec exec, CuStream stream))                                                    \
    X(CuResult, cuGraphExecDestroy, (CuGraphExec exec))                                                                \
    X(CuResult, cuGraphDestroy, (CuGraph graph))

/* ---- NVRTC, 12 and 13 ---- */

typedef unsigned NvrtcResult; /* 0: success */
typedef struct _nvrtcProgram *NvrtcProgram;

enum { NVRTC_OUT_OF_MEMORY = 1, NVRTC_COMPILATION = 6 };

#define SN_CUDA_NVRTC(X)                                                                                               \
    X(const char *, nvrtcGetErrorString, (NvrtcResult result))                                                         \
    X(NvrtcResult, nvrtcVersion, (int *major, int *minor))                                                             \
    X(NvrtcResult, nvrtcGetNumSupportedArchs, (int *count))                                                            \
    X(NvrtcResult, nvrtcGetSupportedArchs, (int *sm))                                                                  \
    X(NvrtcResult, nvrtcCreateProgram,                                                                                 \
      (NvrtcProgram *program, const char *source, const char *name, int header_count, const char *const *header,       \
       const char *const *include_name))                                                                               \
    X(NvrtcResult, nvrtcCompileProgram, (NvrtcProgram program, int option_count, const char *const *option))           \
    X(NvrtcResult, nvrtcGetProgramLogSize, (NvrtcProgram program, size_t *bytes)) /* with the NUL */                   \
    X(NvrtcResult, nvrtcGetProgramLog, (NvrtcProgram program, char *log))                                              \
    X(NvrtcResult, nvrtcGetCUBINSize, (NvrtcProgram program, size_t *bytes))                                           \
    X(NvrtcResult, nvrtcGetCUBIN, (NvrtcProgram program, char *cubin))                                                 \
    X(NvrtcResult, nvrtcDestroyProgram, (NvrtcProgram *program))

/* ---- cuBLASLt, 12 and 13 ---- */

typedef unsigned LtStatus; /* 0: success */
typedef struct cublasLtContext *LtHandle;
typedef void *LtProduct;    /* cublasLtMatmulDesc_t */
typedef void *LtLayout;     /* cublasLtMatrixLayout_t */
typedef void *LtPreference; /* cublasLtMatmulPreference_t */

enum { LT_NOT_INITIALIZED = 1, LT_ALLOC_FAILED = 3, LT_INVALID_VALUE = 7, LT_NOT_SUPPORTED = 15 };

enum {
    LT_R_32F = 0, /* cudaDataType */
    LT_R_64F = 1,
    LT_R_16F = 2,
    LT_R_16BF = 14,
    LT_COMPUTE_32F = 68, /* cublasComputeType_t */
    LT_COMPUTE_32F_FAST_TF32 = 77,
    LT_OP_N = 0, /* cublasOperation_t, an int32_t as an attribute */
    LT_OP_T = 1,
    LT_ORDER_COL = 0, /* int32_t */
    LT_ORDER_ROW = 1,
    LT_EPILOGUE_DEFAULT = 1, /* uint32_t; bits: RELU_BIAS is RELU | BIAS */
    LT_EPILOGUE_RELU = 2,
    LT_EPILOGUE_BIAS = 4, /* a vector along the rows of D in its column order */
    LT_EPILOGUE_GELU = 32,
    LT_EPILOGUE_AUX = 128,     /* with RELU or GELU: writes aux; with these: reads it */
    LT_EPILOGUE_DRELU = 8 | 128,
    LT_EPILOGUE_DGELU = 64 | 128,
    LT_EPILOGUE_BGRAD = 16,   /* with DRELU or DGELU: the sums of D's rows to the bias vector */
    LT_EPILOGUE_BGRADA = 256, /* alone: the sums of A over k, for each row of D */
    LT_EPILOGUE_BGRADB = 512, /* of B, for each column of D */
};

enum {
    LT_PRODUCT_TRANSA = 3,          /* int32_t */
    LT_PRODUCT_TRANSB = 4,          /* int32_t */
    LT_PRODUCT_EPILOGUE = 7,        /* uint32_t */
    LT_PRODUCT_BIAS_POINTER = 8,    /* const void * */
    LT_PRODUCT_AUX_POINTER = 11,    /* void * */
    LT_PRODUCT_AUX_STRIDE = 12,     /* int64_t: GELU's in elements, by 8; ReLU's in bits, by 128; no less than D's rows */
    LT_PRODUCT_BIAS_DATA_TYPE = 26, /* int32_t */
    LT_LAYOUT_ORDER = 1,            /* int32_t */
    LT_LAYOUT_BATCH_COUNT = 5,      /* int32_t */
    LT_LAYOUT_BATCH_STRIDE = 6,     /* int64_t, elements */
    LT_PREFERENCE_WORKSPACE = 1,    /* uint64_t, bytes */
    LT_PREFERENCE_ALIGNMENT_A = 5,  /* uint32_t, bytes */
    LT_PREFERENCE_ALIGNMENT_B = 6,
    LT_PREFERENCE_ALIGNMENT_C = 7,
    LT_PREFERENCE_ALIGNMENT_D = 8,
};

typedef struct LtAlgorithm {
    uint64_t data[8];
} LtAlgorithm;

typedef struct LtChoice {
    LtAlgorithm algorithm;
    size_t workspace; /* bytes that it needs */
    LtStatus state;   /* 0: usable */
    float waves;
    int reserved[4];
} LtChoice;

#define SN_CUDA_CUBLASLT(X)                                                                                            \
    X(LtStatus, cublasLtCreate, (LtHandle *handle))                                                                    \
    X(LtStatus, cublasLtDestroy, (LtHandle handle))                                                                    \
    X(size_t, cublasLtGetVersion, (void)) /* 10000·major + 100·minor + patch */                                        \
    X(const char *, cublasLtGetStatusName, (LtStatus status))                                                          \
    X(const char *, cublasLtGetStatusString, (LtStatus status))                                                        \
    X(LtStatus, cublasLtMatmulDescCreate, (LtProduct *product, unsigned compute, unsigned scale))                      \
    X(LtStatus, cublasLtMatmulDescDestroy, (LtProduct product))                                                        \
    X(LtStatus, cublasLtMatmulDescSetAttribute, (LtProduct product, unsigned attribute, const void *value, size_t size)) \
    X(LtStatus, cublasLtMatrixLayoutCreate,                                                                            \
      (LtLayout *layout, unsigned type, uint64_t rows, uint64_t columns, int64_t stride))                              \
    X(LtStatus, cublasLtMatrixLayoutDestroy, (LtLayout layout))                                                        \
    X(LtStatus, cublasLtMatrixLayoutSetAttribute, (LtLayout layout, unsigned attribute, const void *value, size_t size)) \
    X(LtStatus, cublasLtMatmulPreferenceCreate, (LtPreference *preference))                                            \
    X(LtStatus, cublasLtMatmulPreferenceDestroy, (LtPreference preference))                                            \
    X(LtStatus, cublasLtMatmulPreferenceSetAttribute,                                                                  \
      (LtPreference preference, unsigned attribute, const void *value, size_t size))                                   \
    X(LtStatus, cublasLtMatmulAlgoGetHeuristic,                                                                        \
      (LtHandle handle, LtProduct product, LtLayout a, LtLayout b, LtLayout c, LtLayout d, LtPreference preference,    \
       int wanted, LtChoice *choice, int *found))                                                                      \
    X(LtStatus, cublasLtMatmul,                                                                                        \
      (LtHandle handle, LtProduct product, const void *alpha, const void *a, LtLayout a_layout, const void *b,         \
       LtLayout b_layout, const void *beta, const void *c, LtLayout c_layout, void *d, LtLayout d_layout,              \
       const LtAlgorithm *algorithm, void *workspace, size_t workspace_bytes, CuStream stream))
/* clang-format on */

/* Fields of a struct of function pointers: SN_CUDA_DRIVER(SN_CUDA_POINTER). */
#define SN_CUDA_POINTER(result, name, parameters) result(*name) parameters;

typedef struct DriverLibrary {
    SN_CUDA_DRIVER(SN_CUDA_POINTER)
} DriverLibrary;

typedef struct NvrtcLibrary {
    SN_CUDA_NVRTC(SN_CUDA_POINTER)
} NvrtcLibrary;

typedef struct LtLibrary {
    SN_CUDA_CUBLASLT(SN_CUDA_POINTER)
} LtLibrary;

#endif
