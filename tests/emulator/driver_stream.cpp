/* Streams, events and graphs of the emulated driver. */
#include "driver.h"

#include "engine.h"
#include "faults.h"

#include <algorithm>
#include <time.h>

static double now() {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* ---- work ---- */

CuStream emu_captured_here() {
    for (CuStream stream : emu_driver.streams)
        if (stream->origin == stream && stream->capturer == std::this_thread::get_id()) return stream;
    return NULL;
}

/* The device is open to this process while an operation is done, one of which may wait for others. */
struct Opened {
    static int depth;
    Opened() {
        if (depth++ == 0) emu_open_device(true);
    }
    ~Opened() {
        if (--depth == 0) emu_open_device(false);
    }
};
int Opened::depth;

/* Does what is pending up to and with the operation after which `until` is true. */
static CuResult work(CuStream stream, const bool *until) {
    if (stream->pending.empty()) return emu_driver.lost;
    Opened opened;
    while (!stream->pending.empty() && !emu_driver.lost && !(until && *until)) {
        Operation operation = stream->pending.front();
        stream->pending.pop_front();
        emu_know(&stream->known, operation.told);
        CuResult result = operation.kind ? emu_run_ordered(operation, &stream->known) : operation.run();
        if (!emu_driver.lost) emu_driver.lost = result;
    }
    if (emu_driver.lost) stream->pending.clear();
    return emu_driver.lost;
}

CuResult emu_finish(CuStream stream) {
    CuResult result = work(stream, NULL);
    emu_know(&emu_driver.known, stream->known);
    bool idle = true;
    for (CuStream other : emu_driver.streams) idle = idle && other->pending.empty();
    if (idle) emu_forget_order();
    return result;
}

CuResult emu_finish_all() {
    for (CuStream stream : emu_driver.streams) emu_finish(stream);
    return emu_driver.lost;
}

static CuResult find_stream(CuStream stream) {
    return emu_driver.streams.count(stream) ? (CuResult)SN_CU_SUCCESS : CU_INVALID_HANDLE;
}

static CuResult enqueue(CuStream stream, const Operation &operation) {
    stream->pending.push_back(operation);
    return emu_setting("eager", 0) ? emu_finish(stream) : (CuResult)SN_CU_SUCCESS;
}

CuResult emu_enqueue(CuStream stream, const char *kind, std::function<CuResult()> run,
                     const std::string &name) {
    std::lock_guard<std::recursive_mutex> lock(emu_driver.mutex);
    CuResult refused = find_stream(stream);
    if (refused || emu_driver.lost) return refused ? refused : emu_driver.lost;
    Operation operation = {kind, name, run, emu_driver.known, stream->priority};
    if (!stream->origin) return enqueue(stream, operation);
    std::vector<Node> &captured = stream->origin->captured;
    captured.push_back({operation, stream->frontier});
    stream->frontier = {captured.size() - 1};
    return SN_CU_SUCCESS;
}

/* ---- streams ---- */

static const int PRIORITY_LEAST = 0, PRIORITY_GREATEST = -5;

CuResult cuCtxGetStreamPriorityRange(int *least, int *greatest) {
    Call call(EMU_CONTEXT);
    *least = PRIORITY_LEAST;
    *greatest = PRIORITY_GREATEST;
    return call.refused;
}

/* A priority beyond the range is the nearest that there is. */
CuResult cuStreamCreateWithPriority(CuStream *stream, unsigned flags, int priority) {
    Call call(EMU_CONTEXT | EMU_NO_CAPTURE);
    *stream = NULL;
    if (call.refused) return call.refused;
    if (flags & ~(unsigned)SN_CU_STREAM_NON_BLOCKING) return SN_CU_INVALID_VALUE;
    *stream = new CUstream_st();
    (*stream)->priority = std::min(PRIORITY_LEAST, std::max(PRIORITY_GREATEST, priority));
    (*stream)->known = emu_driver.known;
    emu_driver.streams.insert(*stream);
    return SN_CU_SUCCESS;
}

CuResult cuStreamDestroy_v2(CuStream stream) {
    Call call(EMU_CONTEXT);
    if (find_stream(stream)) return call.refused ? call.refused : (CuResult)CU_INVALID_HANDLE;
    CuResult result = emu_finish(stream);
    emu_driver.streams.erase(stream);
    for (CuEvent event : emu_driver.events)
        if (event->post && event->post->stream == stream) event->post->stream = NULL;
    delete stream;
    return result;
}

CuResult cuStreamSynchronize(CuStream stream) {
    Call call(EMU_CONTEXT);
    if (call.refused) return call.refused;
    if (find_stream(stream)) return CU_INVALID_HANDLE;
    if (stream->origin) {
        stream->origin->invalid = true;
        return SN_CU_STREAM_CAPTURE_UNSUPPORTED;
    }
    return emu_finish(stream);
}

/* ---- events ---- */

static CuResult wait_for(const std::shared_ptr<Post> &post) {
    if (post->stream && !post->done) work(post->stream, &post->done);
    return emu_driver.lost;
}

CuResult cuEventCreate(CuEvent *event, unsigned flags) {
    Call call(EMU_CONTEXT);
    *event = NULL;
    if (call.refused) return call.refused;
    *event = new CUevent_st();
    (*event)->timed = !(flags & SN_CU_EVENT_DISABLE_TIMING);
    emu_driver.events.insert(*event);
    return SN_CU_SUCCESS;
}

CuResult cuEventDestroy_v2(CuEvent event) {
    Call call(EMU_CONTEXT);
    if (!emu_driver.events.count(event)) return call.refused ? call.refused : (CuResult)CU_INVALID_HANDLE;
    emu_driver.events.erase(event);
    delete event;
    return emu_driver.lost;
}

/* What has been waited for before is not changed by another record. */
CuResult cuEventRecord(CuEvent event, CuStream stream) {
    Call call(EMU_CONTEXT);
    if (call.refused) return call.refused;
    if (!emu_driver.events.count(event) || find_stream(stream)) return CU_INVALID_HANDLE;
    std::shared_ptr<Post> post(new Post());
    event->post = post;
    if (stream->origin) {
        post->capture = stream->origin->capture;
        post->frontier = stream->frontier;
        return SN_CU_SUCCESS;
    }
    post->stream = stream;
    return emu_enqueue(stream, NULL, [=]() -> CuResult {
        post->seconds = now();
        post->known = stream->known;
        post->done = true;
        return SN_CU_SUCCESS;
    });
}

/* The stream takes part in the capture from here on. */
static CuResult join_capture(CuStream stream, const Post *post) {
    CuStream origin = NULL;
    for (CuStream other : emu_driver.streams)
        if (other->origin == other && other->capture == post->capture) origin = other;
    if (!origin || (stream->origin && stream->origin != origin)) {
        emu_say("a stream waits for an event of a capture that it has no part in");
        return SN_CU_INVALID_VALUE;
    }
    stream->origin = origin;
    for (size_t node : post->frontier) stream->frontier.push_back(node);
    return SN_CU_SUCCESS;
}

/* An event that was not recorded orders nothing, which nobody can want. */
CuResult cuStreamWaitEvent(CuStream stream, CuEvent event, unsigned flags) {
    Call call(EMU_CONTEXT);
    if (call.refused) return call.refused;
    if (!emu_driver.events.count(event) || find_stream(stream)) return CU_INVALID_HANDLE;
    std::shared_ptr<Post> post = event->post;
    if (flags || !post) {
        emu_say("a stream waits for an event that was not recorded");
        return SN_CU_INVALID_VALUE;
    }
    if (emu_planted("wait")) return SN_CU_SUCCESS;
    if (post->capture) return join_capture(stream, post.get());
    if (stream->origin) {
        stream->origin->invalid = true;
        return SN_CU_STREAM_CAPTURE_ISOLATION;
    }
    return emu_enqueue(stream, NULL, [=]() -> CuResult {
        CuResult result = wait_for(post);
        emu_know(&stream->known, post->known);
        return result;
    });
}

CuResult cuEventSynchronize(CuEvent event) {
    Call call(EMU_CONTEXT | EMU_NO_CAPTURE);
    if (call.refused) return call.refused;
    if (!emu_driver.events.count(event)) return CU_INVALID_HANDLE;
    if (!event->post) return emu_driver.lost;
    CuResult result = wait_for(event->post);
    emu_know(&emu_driver.known, event->post->known);
    return result;
}

CuResult cuEventElapsedTime(float *milliseconds, CuEvent from, CuEvent to) {
    Call call(EMU_CONTEXT);
    if (call.refused) return call.refused;
    if (!emu_driver.events.count(from) || !emu_driver.events.count(to)) return CU_INVALID_HANDLE;
    if (!from->timed || !to->timed || !from->post || !to->post) return CU_INVALID_HANDLE;
    if (!from->post->done || !to->post->done) return CU_NOT_READY;
    *milliseconds = (float)(1e3 * (to->post->seconds - from->post->seconds));
    return SN_CU_SUCCESS;
}

/* ---- capture ---- */

CuResult cuStreamBeginCapture_v2(CuStream stream, unsigned mode) {
    static unsigned captures;
    Call call(EMU_CONTEXT);
    if (call.refused) return call.refused;
    if (find_stream(stream)) return CU_INVALID_HANDLE;
    if (mode > 2 || stream->origin || emu_captured_here()) return SN_CU_INVALID_VALUE;
    stream->origin = stream;
    stream->frontier.clear();
    stream->invalid = false;
    stream->capture = ++captures;
    stream->capturer = std::this_thread::get_id();
    return SN_CU_SUCCESS;
}

/* Marks what comes before the node, and itself. */
static void mark_before(const std::vector<Node> &node, size_t at, std::vector<bool> *seen) {
    if ((*seen)[at]) return;
    (*seen)[at] = true;
    for (size_t before : node[at].before) mark_before(node, before, seen);
}

/* Whether every stream that took part has been waited for. */
static bool is_joined(CuStream origin) {
    std::vector<bool> seen(origin->captured.size());
    for (size_t at : origin->frontier) mark_before(origin->captured, at, &seen);
    for (bool joined : seen)
        if (!joined) return false;
    return true;
}

CuResult cuStreamEndCapture(CuStream stream, CuGraph *graph) {
    Call call(EMU_CONTEXT);
    *graph = NULL;
    if (find_stream(stream)) return call.refused ? call.refused : (CuResult)CU_INVALID_HANDLE;
    if (stream->origin != stream || stream->capturer != std::this_thread::get_id())
        return SN_CU_INVALID_VALUE;
    bool joined = is_joined(stream);
    std::vector<Node> captured;
    captured.swap(stream->captured);
    for (CuStream other : emu_driver.streams) {
        if (other->origin != stream) continue;
        other->origin = NULL;
        other->frontier.clear();
    }
    if (call.refused) return call.refused;
    if (stream->invalid || emu_planted("capture")) return SN_CU_STREAM_CAPTURE_INVALIDATED;
    if (!joined) return SN_CU_STREAM_CAPTURE_UNJOINED;
    *graph = new CUgraph_st{captured};
    emu_driver.graphs.insert(*graph);
    return SN_CU_SUCCESS;
}

/* ---- graphs ---- */

/* All nodes would have the priority of the stream that the graph is launched in, which nobody can want who captured several. */
static bool forgets_priorities(CuGraph graph, unsigned long long flags) {
    bool several = false;
    for (const Node &node : graph->node)
        several = several || node.operation.priority != graph->node[0].operation.priority;
    return several && !(flags & SN_CU_GRAPH_USE_NODE_PRIORITY);
}

CuResult cuGraphInstantiateWithFlags(CuGraphExec *exec, CuGraph graph, unsigned long long flags) {
    Call call(EMU_CONTEXT);
    *exec = NULL;
    if (call.refused) return call.refused;
    if (!emu_driver.graphs.count(graph)) return CU_INVALID_HANDLE;
    if (flags & ~15ull) return SN_CU_INVALID_VALUE;
    if (forgets_priorities(graph, flags)) {
        emu_say("a graph of streams of several priorities runs with one");
        return SN_CU_INVALID_VALUE;
    }
    if (emu_planted("instantiate")) return SN_CU_OUT_OF_MEMORY;
    *exec = new CUgraphExec_st{graph->node};
    emu_driver.execs.insert(*exec);
    return SN_CU_SUCCESS;
}

/* The new graph must have nodes of the same kinds, ordered alike; what is launched already goes on as it was. */
CuResult cuGraphExecUpdate_v2(CuGraphExec exec, CuGraph graph, CuGraphUpdate *result) {
    Call call(EMU_CONTEXT);
    *result = CuGraphUpdate();
    if (call.refused) return call.refused;
    if (!emu_driver.execs.count(exec) || !emu_driver.graphs.count(graph)) return CU_INVALID_HANDLE;
    bool same = exec->node.size() == graph->node.size();
    for (size_t i = 0; same && i < graph->node.size(); i++) {
        const Node *before = &exec->node[i], *now = &graph->node[i];
        same = strcmp(before->operation.kind, now->operation.kind) == 0 && before->before == now->before &&
               before->operation.priority == now->operation.priority; /* it runs by those of its nodes */
    }
    if (!same) {
        result->result = 2; /* the topology has changed */
        return SN_CU_GRAPH_EXEC_UPDATE_FAILURE;
    }
    exec->node = graph->node;
    return SN_CU_SUCCESS;
}

/* The orders that nodes are run in: as they were captured, or each as late as those behind it allow, the one that was
 * captured last and what comes before it first. */
static void add_late(const std::vector<Node> &node, size_t at, std::vector<bool> *seen,
                     std::vector<size_t> *order) {
    if ((*seen)[at]) return;
    (*seen)[at] = true;
    for (size_t before : node[at].before) add_late(node, before, seen, order);
    order->push_back(at);
}

static std::vector<size_t> order_of(const std::vector<Node> &node) {
    std::vector<size_t> order;
    std::vector<bool> seen(node.size());
    bool late = !emu_setting("captured_order", 0);
    for (size_t i = node.size(); late && i-- > 0;) add_late(node, i, &seen, &order);
    for (size_t i = 0; !late && i < node.size(); i++) order.push_back(i);
    return order;
}

static CuResult run_graph(const std::vector<Node> &node, Known *known) {
    std::vector<Known> behind(node.size());
    CuResult result = SN_CU_SUCCESS;
    for (size_t i : order_of(node)) {
        behind[i] = *known;
        for (size_t before : node[i].before) emu_know(&behind[i], behind[before]);
        if (!result) result = emu_run_ordered(node[i].operation, &behind[i]);
    }
    for (const Known &all : behind) emu_know(known, all);
    return result;
}

CuResult cuGraphLaunch(CuGraphExec exec, CuStream stream) {
    Call call(EMU_CONTEXT);
    if (call.refused) return call.refused;
    if (!emu_driver.execs.count(exec) || find_stream(stream)) return CU_INVALID_HANDLE;
    if (stream->origin) return SN_CU_STREAM_CAPTURE_UNSUPPORTED;
    std::vector<Node> node = exec->node;
    return emu_enqueue(stream, NULL, [=]() -> CuResult { return run_graph(node, &stream->known); });
}

CuResult cuGraphExecDestroy(CuGraphExec exec) {
    Call call(EMU_CONTEXT);
    if (!emu_driver.execs.erase(exec)) return call.refused ? call.refused : (CuResult)CU_INVALID_HANDLE;
    delete exec;
    return call.refused;
}

CuResult cuGraphDestroy(CuGraph graph) {
    Call call(EMU_CONTEXT);
    if (!emu_driver.graphs.erase(graph)) return call.refused ? call.refused : (CuResult)CU_INVALID_HANDLE;
    delete graph;
    return call.refused;
}
