/* Memory of the emulated device: allocation and copies. */
#include "driver.h"

#include "engine.h"
#include "faults.h"

enum { DEVICE_ALIGNMENT = 256 };

/* ---- allocation ---- */

CuResult cuMemAlloc_v2(CuAddress *at, size_t bytes) {
    Call call(EMU_CONTEXT | EMU_NO_CAPTURE);
    *at = 0;
    if (call.refused) return call.refused;
    if (!bytes) return SN_CU_INVALID_VALUE;
    if (emu_planted("alloc")) return SN_CU_OUT_OF_MEMORY;
    if (bytes > (size_t)emu_setting("memory", 4L << 30) - emu_device_bytes()) return SN_CU_OUT_OF_MEMORY;
    void *memory = emu_alloc_as(bytes, DEVICE_ALIGNMENT, EMU_DEVICE);
    if (!memory) return SN_CU_OUT_OF_MEMORY;
    emu_driver.device_memory.insert(memory);
    *at = (CuAddress)memory;
    return SN_CU_SUCCESS;
}

/* It waits for the device, as a real one does. */
CuResult cuMemFree_v2(CuAddress at) {
    Call call(EMU_CONTEXT | EMU_NO_CAPTURE);
    CuResult lost = call.refused == emu_driver.lost ? call.refused : (CuResult)SN_CU_SUCCESS;
    if (call.refused && !lost) return call.refused;
    if (!lost) lost = emu_finish_all();
    if (!emu_driver.device_memory.erase((void *)at)) return SN_CU_INVALID_VALUE;
    emu_free((void *)at);
    return lost;
}

CuResult cuMemHostAlloc(void **at, size_t bytes, unsigned flags) {
    Call call(EMU_CONTEXT | EMU_NO_CAPTURE);
    *at = NULL;
    if (call.refused) return call.refused;
    if (!bytes || flags & ~7u) return SN_CU_INVALID_VALUE;
    if (emu_planted("host_alloc")) return SN_CU_OUT_OF_MEMORY;
    *at = emu_alloc_as(bytes, DEVICE_ALIGNMENT, EMU_HOST);
    if (!*at) return SN_CU_OUT_OF_MEMORY;
    emu_driver.host_memory.insert(*at);
    return SN_CU_SUCCESS;
}

/* What is pending is left so: work that uses the memory later is found. */
CuResult cuMemFreeHost(void *at) {
    Call call(EMU_CONTEXT | EMU_NO_CAPTURE);
    if (call.refused && call.refused != emu_driver.lost) return call.refused;
    if (!emu_driver.host_memory.erase(at)) return SN_CU_INVALID_VALUE;
    emu_free(at);
    return call.refused;
}

/* ---- whose memory it is ---- */

/* In a buffer of that kind, with at least `bytes` from there on. */
static bool lies_in(const void *at, size_t bytes, EmuMemory wanted) {
    EmuMemory kind;
    size_t rest;
    return emu_memory_at(at, &kind, &rest) && kind == wanted && bytes <= rest;
}

bool emu_device_sees(const void *at, size_t bytes) {
    return lies_in(at, bytes, EMU_DEVICE) || lies_in(at, bytes, EMU_HOST);
}

static bool is_device(CuAddress at, size_t bytes) {
    if (lies_in((const void *)at, bytes, EMU_DEVICE)) return true;
    emu_say("%zu bytes at %#llx are not in one buffer of the device", bytes, at);
    return false;
}

/* Any address that is not the device's. */
static bool is_host(const void *at) {
    EmuMemory kind;
    size_t rest;
    if (at && (!emu_memory_at(at, &kind, &rest) || kind != EMU_DEVICE)) return true;
    emu_say("%p is not an address of the host", at);
    return false;
}

/* ---- copies ---- */

/* `bytes` as they are now, or, of memory that the device sees, as they will be. */
struct Source {
    const char *at;
    std::vector<char> kept;
    Source(const void *from, size_t bytes) : at((const char *)from) {
        if (!lies_in(from, bytes, EMU_HOST)) kept.assign(at, at + bytes);
    }
    const char *bytes() const { return kept.empty() ? at : kept.data(); }
};

/* Memory of the host that the device does not see is copied before the call returns, and cannot be captured. */
static CuResult enqueue_with_host(CuStream stream, const void *host, size_t bytes, bool wait,
                                  std::function<CuResult()> run) {
    bool seen = lies_in(host, bytes, EMU_HOST);
    if (!seen && emu_captured_here()) {
        emu_captured_here()->invalid = true;
        return SN_CU_STREAM_CAPTURE_UNSUPPORTED;
    }
    CuResult result = emu_enqueue(stream, "copy", run);
    return result || seen || !wait ? result : emu_finish(stream);
}

CuResult cuMemcpyHtoDAsync_v2(CuAddress to, const void *from, size_t bytes, CuStream stream) {
    Call call(EMU_CONTEXT);
    if (call.refused || !bytes) return call.refused;
    if (!is_device(to, bytes) || !is_host(from)) return SN_CU_INVALID_VALUE;
    if (emu_planted("copy")) return SN_CU_ILLEGAL_ADDRESS;
    Source source(from, bytes);
    return enqueue_with_host(stream, from, bytes, false, [=]() -> CuResult {
        if (!is_device(to, bytes)) return SN_CU_ILLEGAL_ADDRESS;
        emu_touch((void *)to, bytes, true);
        memcpy((void *)to, source.bytes(), bytes);
        return SN_CU_SUCCESS;
    });
}

CuResult cuMemcpyDtoHAsync_v2(void *to, CuAddress from, size_t bytes, CuStream stream) {
    Call call(EMU_CONTEXT);
    if (call.refused || !bytes) return call.refused;
    if (!is_device(from, bytes) || !is_host(to)) return SN_CU_INVALID_VALUE;
    if (emu_planted("copy")) return SN_CU_ILLEGAL_ADDRESS;
    return enqueue_with_host(stream, to, bytes, true, [=]() -> CuResult {
        if (!is_device(from, bytes)) return SN_CU_ILLEGAL_ADDRESS;
        emu_touch((void *)from, bytes, false);
        memcpy(to, (const void *)from, bytes);
        return SN_CU_SUCCESS;
    });
}

CuResult cuMemcpyDtoDAsync_v2(CuAddress to, CuAddress from, size_t bytes, CuStream stream) {
    Call call(EMU_CONTEXT);
    if (call.refused || !bytes) return call.refused;
    if (!is_device(from, bytes) || !is_device(to, bytes)) return SN_CU_INVALID_VALUE;
    return emu_enqueue(stream, "copy", [=]() -> CuResult {
        if (!is_device(from, bytes) || !is_device(to, bytes)) return SN_CU_ILLEGAL_ADDRESS;
        emu_touch((void *)from, bytes, false);
        emu_touch((void *)to, bytes, true);
        memmove((void *)to, (const void *)from, bytes);
        return SN_CU_SUCCESS;
    });
}

/* The start of one side of a copy of rows, or NULL: rows that overlap or leave their buffer. */
static char *rows_start(unsigned kind, const void *host, CuAddress device, size_t x, size_t y, size_t pitch,
                        const CuCopy2D *copy) {
    char *start = (kind == SN_CU_MEMORY_HOST ? (char *)host : (char *)device) + y * pitch + x;
    size_t bytes = (copy->height - 1) * pitch + copy->width;
    if (x + copy->width > pitch || pitch > (size_t)emu_setting("pitch", INT32_MAX)) return NULL;
    if (kind == SN_CU_MEMORY_DEVICE) return is_device((CuAddress)start, bytes) ? start : NULL;
    return kind == SN_CU_MEMORY_HOST && is_host(start) ? start : NULL;
}

/* With rows of the host that the device does not see, it waits. */
CuResult cuMemcpy2DAsync_v2(const CuCopy2D *copy, CuStream stream) {
    Call call(EMU_CONTEXT);
    if (call.refused || !copy->width || !copy->height) return call.refused;
    char *from = rows_start(copy->from_kind, copy->from_host, copy->from_device, copy->from_x, copy->from_y,
                            copy->from_pitch, copy);
    char *to = rows_start(copy->to_kind, copy->to_host, copy->to_device, copy->to_x, copy->to_y,
                          copy->to_pitch, copy);
    if (!from || !to) return SN_CU_INVALID_VALUE;
    CuCopy2D kept = *copy;
    size_t from_bytes = (kept.height - 1) * kept.from_pitch + kept.width,
           to_bytes = (kept.height - 1) * kept.to_pitch + kept.width;
    bool seen = emu_device_sees(from, from_bytes) && emu_device_sees(to, to_bytes);
    if (!seen && emu_captured_here()) return SN_CU_STREAM_CAPTURE_UNSUPPORTED;
    CuResult result = emu_enqueue(stream, "copy", [=]() -> CuResult {
        if (seen && (!emu_device_sees(from, from_bytes) || !emu_device_sees(to, to_bytes)))
            return SN_CU_ILLEGAL_ADDRESS;
        for (size_t row = 0; row < kept.height; row++) {
            emu_touch(from + row * kept.from_pitch, kept.width, false);
            emu_touch(to + row * kept.to_pitch, kept.width, true);
            memcpy(to + row * kept.to_pitch, from + row * kept.from_pitch, kept.width);
        }
        return SN_CU_SUCCESS;
    });
    return result || seen ? result : emu_finish(stream);
}
