/* Operations of the device that touch the same bytes, one of them writing, must be ordered: by a stream, by an event
 * that one waits for, by the edges of a graph, or by a host that has waited. That is found whichever of them happens to
 * run first, as what an operation touches is kept until everything that follows is ordered behind it.
 *
 * Kernels tell what they touch where they were compiled for it, which the setting `races` does (see nvrtc.cpp); copies
 * and products tell it always. */
#include "driver.h"

#include "engine.h"
#include "faults.h"

#include <bitset>
#include <map>

enum { PAGE_BITS = 12, PAGE_BYTES = 1 << PAGE_BITS };

typedef std::bitset<PAGE_BYTES> Bytes;
typedef std::map<uintptr_t, Bytes> Pages; /* by the address's upper bits */

struct Trace {
    size_t number;
    std::string name;
    Pages touched, written;
};
static std::vector<Trace> traces;
static Trace *now;
static size_t count;

void emu_know(Known *known, const Known &more) {
    if (known->size() < more.size()) known->resize(more.size());
    for (size_t i = 0; i < more.size(); i++)
        if (more[i]) (*known)[i] = true;
}

static bool knows(const Known &known, size_t number) {
    return number < known.size() && known[number];
}

void emu_touch(const void *at, size_t bytes, bool write) {
    for (size_t i = 0; now && i < bytes; i++) {
        uintptr_t byte = (uintptr_t)at + i;
        now->touched[byte >> PAGE_BITS].set(byte % PAGE_BYTES);
        if (write) now->written[byte >> PAGE_BITS].set(byte % PAGE_BYTES);
    }
}

/* A byte of both; 0: there is none. */
static uintptr_t common(const Pages &a, const Pages &b) {
    for (const Pages::value_type &page : a) {
        Pages::const_iterator other = b.find(page.first);
        if (other == b.end()) continue;
        Bytes both = page.second & other->second;
        if (both.any()) return (page.first << PAGE_BITS) + both._Find_first();
    }
    return 0;
}

static bool is_ordered(const Trace *trace, const Known &known) {
    for (const Trace &before : traces) {
        if (knows(known, before.number)) continue;
        uintptr_t byte = common(trace->written, before.touched);
        if (!byte) byte = common(trace->touched, before.written);
        if (!byte) continue;
        size_t bytes = 0;
        long offset = 0;
        emu_buffer_at((const void *)byte, &bytes, &offset);
        emu_say("race: %s and %s, which nothing orders, touch byte %ld of a buffer of %zu",
                before.name.c_str(), trace->name.c_str(), offset, bytes);
        return false;
    }
    return true;
}

CuResult emu_run_ordered(const Operation &operation, Known *known) {
    if (!emu_setting("races", 0)) return operation.run();
    Trace trace = {count++, operation.name.empty() ? operation.kind : operation.name, {}, {}};
    now = &trace;
    CuResult result = operation.run();
    now = NULL;
    if (!result && !is_ordered(&trace, *known)) result = SN_CU_LAUNCH_FAILED;
    if (known->size() <= trace.number) known->resize(trace.number + 1);
    (*known)[trace.number] = true;
    traces.push_back(trace);
    return result;
}

void emu_forget_order() {
    std::vector<Trace> kept;
    for (const Trace &trace : traces)
        if (!knows(emu_driver.known, trace.number)) kept.push_back(trace);
    traces.swap(kept);
}
