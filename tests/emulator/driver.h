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
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

static const CuResult CU_INVALID_DEVICE = 101, CU_INVALID_HANDLE = 400, CU_NOT_READY = 600;

/* ---- objects ---- */

/* Operations by their numbers; see order.cpp. */
typedef std::vector<bool> Known;

struct Operation {
    const char *kind; /* of a node: "kernel", "copy", ...; NULL: it touches no memory and knows the stream */
    std::string name; /* of a kernel */
    std::function<CuResult()> run;
    Known told;   /* what the host knew to have ended when it was enqueued */
    int priority; /* of the stream */
};

/* A node of a graph, and those that come before it. */
struct Node {
    Operation operation;
    std::vector<size_t> before;
};

struct CUstream_st {
    std::deque<Operation> pending;
    int priority;
    Known known; /* what has ended before that which follows */
    /* ---- while it is captured ---- */
    CuStream origin;              /* the stream that the capture began with; NULL: it is not captured */
    std::vector<size_t> frontier; /* the nodes that the next one comes after */
    /* ---- of an origin ---- */
    bool invalid;     /* the capture has met what cannot be captured */
    unsigned capture; /* its number among all */
    std::thread::id capturer;
    std::vector<Node> captured;
};

/* One record of an event. */
struct Post {
    CuStream stream; /* NULL: it was captured, or the stream is gone */
    bool done;
    double seconds;
    Known known;
    unsigned capture; /* 0: none */
    std::vector<size_t> frontier;
};

struct CUevent_st {
    std::shared_ptr<Post> post; /* NULL: not recorded yet */
    bool timed;
};

struct CUgraph_st {
    std::vector<Node> node; /* in an order that is possible */
};

struct CUgraphExec_st {
    std::vector<Node> node;
};

/* ---- the one device and its context ---- */

struct Driver {
    std::recursive_mutex mutex;
    bool initialised;
    int retained;  /* how often the primary context is */
    CuResult lost; /* why no call succeeds any more; 0: they do */
    Known known;   /* what the host knows to have ended */
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

/* Bytes of shared memory that a block of the device may ask for. */
size_t emu_block_shared();

/* Whether the calling thread has a context that works. */
bool emu_has_context();

/* ---- streams ---- */

/* Enqueues, or adds to the graph that the stream captures. Also what cuBLASLt's emulation does. */
CuResult emu_enqueue(CuStream stream, const char *kind, std::function<CuResult()> run,
                     const std::string &name = "");

/* Does all that is pending: of one stream, or of all. The first failure loses the context. */
CuResult emu_finish(CuStream stream);
CuResult emu_finish_all();

/* The stream that the calling thread captures; NULL: none. */
CuStream emu_captured_here();

/* ---- order.cpp: what touches the same bytes must be ordered ---- */

/* Adds the second to the first. */
void emu_know(Known *known, const Known &more);

/* Runs an operation behind those of *known, to which it is added. With the setting `races`, the failure of one that
 * touches what another touches that is not in *known. */
CuResult emu_run_ordered(const Operation &operation, Known *known);

/* What ends before everything that is enqueued from here on need not be compared any more. */
void emu_forget_order();

/* Memory that the operation that runs touches. */
void emu_touch(const void *at, size_t bytes, bool write);

/* ---- memory ---- */

/* Whether all of [at, at + bytes) lies in one buffer of the device, or in memory of the host that it sees. */
bool emu_device_sees(const void *at, size_t bytes);

/* Says on stderr what went wrong in the emulated device; codes alone are little to go by. */
void emu_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
