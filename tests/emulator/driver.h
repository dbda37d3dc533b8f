/* What the parts of the emulated driver share: driver.cpp (devices, contexts, errors), driver_memory.cpp,
 * driver_stream.cpp (streams, events, graphs) and driver_kernel.cpp (modules and launches).
 *
 * Work is done as late as the interface allows: what is enqueued to a stream happens when somebody waits for it, so
 * that a missing wait shows. One lock is held in every call. */
#ifndef SN_EMULATOR_DRIVER_H
#define SN_EMULATOR_DRIVER_H

extern "C" {
#include "cuda/abi.h"
#define EMU_DECLARE(result, name, parameters) result name parameters;
SN_CUDA_DRIVER(EMU_DECLARE)
}

#include <deque>
#include <functional>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

static const CuResult CU_INVALID_DEVICE = 101, CU_INVALID_HANDLE = 400, CU_NOT_READY = 600;

/* ---- objects ---- */

struct Operation {
    const char *kind; /* of a node: "kernel", "copy", ... */
    std::function<CuResult()> run;
};

struct CUstream_st {
    std::deque<Operation> pending;
    bool capturing, invalid; /* invalid: the capture has met what cannot be captured */
    std::thread::id capturer;
    std::vector<Operation> captured;
};

struct CUevent_st {
    CuStream stream; /* of its last record; NULL: none yet */
    bool done, timed;
    double seconds;
};

struct CUgraph_st {
    std::vector<Operation> node;
};

struct CUgraphExec_st {
    std::vector<Operation> node;
};

/* ---- the one device and its context ---- */

struct Driver {
    std::recursive_mutex mutex;
    bool initialised;
    int retained;  /* how often the primary context is */
    CuResult lost; /* why no call succeeds any more; 0: they do */
    std::set<CuStream> streams;
    std::set<CuEvent> events;
    std::set<CuModule> modules;
    std::set<CuFunction> functions;
    std::set<CuGraph> graphs;
    std::set<CuGraphExec> execs;
    std::set<void *> device_memory, host_memory;
};
extern Driver emu_driver;

/* What a call needs. */
enum { EMU_INITIALISED = 1, EMU_CONTEXT = 2, EMU_NO_CAPTURE = 4 };

/* The beginning of each call: takes the lock, and finds why it must be refused. NO_CAPTURE: a call that cannot be made
 * while the thread captures a stream; that spoils the capture. */
struct Call {
    std::lock_guard<std::recursive_mutex> lock;
    CuResult refused;
    explicit Call(int needs);
};

/* Whether the calling thread has a context that works. */
bool emu_has_context();

/* ---- streams ---- */

/* Enqueues, or adds to the graph that the stream captures. Also what cuBLASLt's emulation does. */
CuResult emu_enqueue(CuStream stream, const char *kind, std::function<CuResult()> run);

/* Does all that is pending: of one stream, or of all. The first failure loses the context. */
CuResult emu_finish(CuStream stream);
CuResult emu_finish_all();

/* The stream that the calling thread captures; NULL: none. */
CuStream emu_captured_here();

/* ---- memory ---- */

/* Whether all of [at, at + bytes) lies in one buffer of the device, or in memory of the host that it sees. */
bool emu_device_sees(const void *at, size_t bytes);

/* Says on stderr what went wrong in the emulated device; codes alone are little to go by. */
void emu_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
