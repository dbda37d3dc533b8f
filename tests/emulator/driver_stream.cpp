/* Streams, events and graphs of the emulated driver. */
#include "driver.h"

#include "engine.h"
#include "faults.h"

#include <time.h>

static double now() {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* ---- work ---- */

CuStream emu_captured_here() {
    for (CuStream stream : emu_driver.streams)
        if (stream->capturing && stream->capturer == std::this_thread::get_id()) return stream;
    return NULL;
}

/* Does what is pending up to and with the operation after which `until` is true. */
static CuResult work(CuStream stream, const bool *until) {
    if (stream->pending.empty()) return emu_driver.lost;
    emu_open_device(true);
    while (!stream->pending.empty() && !emu_driver.lost && !(until && *until)) {
        Operation operation = stream->pending.front();
        stream->pending.pop_front();
        emu_driver.lost = operation.run();
    }
    emu_open_device(false);
    if (emu_driver.lost) stream->pending.clear();
    return emu_driver.lost;
}

CuResult emu_finish(CuStream stream) {
    return work(stream, NULL);
}

CuResult emu_finish_all() {
    for (CuStream stream : emu_driver.streams) emu_finish(stream);
    return emu_driver.lost;
}

static CuResult find_stream(CuStream stream) {
    return emu_driver.streams.count(stream) ? (CuResult)SN_CU_SUCCESS : CU_INVALID_HANDLE;
}

CuResult emu_enqueue(CuStream stream, const char *kind, std::function<CuResult()> run) {
    std::lock_guard<std::recursive_mutex> lock(emu_driver.mutex);
    CuResult refused = find_stream(stream);
    if (refused || emu_driver.lost) return refused ? refused : emu_driver.lost;
    if (stream->capturing) {
        stream->captured.push_back({kind, run});
        return SN_CU_SUCCESS;
    }
    stream->pending.push_back({kind, run});
    return emu_setting("eager", 0) ? emu_finish(stream) : (CuResult)SN_CU_SUCCESS;
}

/* ---- streams ---- */

CuResult cuStreamCreate(CuStream *stream, unsigned flags) {
    Call call(EMU_CONTEXT);
    *stream = NULL;
    if (call.refused) return call.refused;
    if (flags & ~(unsigned)SN_CU_STREAM_NON_BLOCKING) return SN_CU_INVALID_VALUE;
    *stream = new CUstream_st();
    emu_driver.streams.insert(*stream);
    return SN_CU_SUCCESS;
}

CuResult cuStreamDestroy_v2(CuStream stream) {
    Call call(EMU_CONTEXT);
    if (find_stream(stream)) return call.refused ? call.refused : (CuResult)CU_INVALID_HANDLE;
    CuResult result = emu_finish(stream);
    emu_driver.streams.erase(stream);
    for (CuEvent event : emu_driver.events)
        if (event->stream == stream) event->stream = NULL;
    delete stream;
    return result;
}

CuResult cuStreamSynchronize(CuStream stream) {
    Call call(EMU_CONTEXT);
    if (call.refused) return call.refused;
    if (find_stream(stream)) return CU_INVALID_HANDLE;
    if (stream->capturing) {
        stream->invalid = true;
        return SN_CU_STREAM_CAPTURE_UNSUPPORTED;
    }
    return emu_finish(stream);
}

/* ---- events ---- */

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
    if (event->stream) emu_finish(event->stream);
    emu_driver.events.erase(event);
    delete event;
    return emu_driver.lost;
}

CuResult cuEventRecord(CuEvent event, CuStream stream) {
    Call call(EMU_CONTEXT);
    if (call.refused) return call.refused;
    if (!emu_driver.events.count(event) || find_stream(stream)) return CU_INVALID_HANDLE;
    if (stream->capturing) return SN_CU_STREAM_CAPTURE_UNSUPPORTED;
    if (event->stream && !event->done) work(event->stream, &event->done);
    event->stream = stream;
    event->done = false;
    return emu_enqueue(stream, "event", [=]() -> CuResult {
        event->seconds = now();
        event->done = true;
        return SN_CU_SUCCESS;
    });
}

CuResult cuEventSynchronize(CuEvent event) {
    Call call(EMU_CONTEXT | EMU_NO_CAPTURE);
    if (call.refused) return call.refused;
    if (!emu_driver.events.count(event)) return CU_INVALID_HANDLE;
    return event->stream && !event->done ? work(event->stream, &event->done) : emu_driver.lost;
}

CuResult cuEventElapsedTime(float *milliseconds, CuEvent from, CuEvent to) {
    Call call(EMU_CONTEXT);
    if (call.refused) return call.refused;
    if (!emu_driver.events.count(from) || !emu_driver.events.count(to)) return CU_INVALID_HANDLE;
    if (!from->timed || !to->timed || !from->stream || !to->stream) return CU_INVALID_HANDLE;
    if (!from->done || !to->done) return CU_NOT_READY;
    *milliseconds = (float)(1e3 * (to->seconds - from->seconds));
    return SN_CU_SUCCESS;
}

/* ---- capture ---- */

CuResult cuStreamBeginCapture_v2(CuStream stream, unsigned mode) {
    Call call(EMU_CONTEXT);
    if (call.refused) return call.refused;
    if (find_stream(stream)) return CU_INVALID_HANDLE;
    if (mode > 2 || stream->capturing || emu_captured_here()) return SN_CU_INVALID_VALUE;
    stream->capturing = true;
    stream->invalid = false;
    stream->capturer = std::this_thread::get_id();
    return SN_CU_SUCCESS;
}

CuResult cuStreamEndCapture(CuStream stream, CuGraph *graph) {
    Call call(EMU_CONTEXT);
    *graph = NULL;
    if (find_stream(stream)) return call.refused ? call.refused : (CuResult)CU_INVALID_HANDLE;
    if (!stream->capturing || stream->capturer != std::this_thread::get_id()) return SN_CU_INVALID_VALUE;
    std::vector<Operation> captured;
    captured.swap(stream->captured);
    stream->capturing = false;
    if (call.refused) return call.refused;
    if (stream->invalid || emu_planted("capture")) return SN_CU_STREAM_CAPTURE_INVALIDATED;
    *graph = new CUgraph_st{captured};
    emu_driver.graphs.insert(*graph);
    return SN_CU_SUCCESS;
}

/* ---- graphs ---- */

CuResult cuGraphInstantiateWithFlags(CuGraphExec *exec, CuGraph graph, unsigned long long) {
    Call call(EMU_CONTEXT);
    *exec = NULL;
    if (call.refused) return call.refused;
    if (!emu_driver.graphs.count(graph)) return CU_INVALID_HANDLE;
    if (emu_planted("instantiate")) return SN_CU_OUT_OF_MEMORY;
    *exec = new CUgraphExec_st{graph->node};
    emu_driver.execs.insert(*exec);
    return SN_CU_SUCCESS;
}

/* The new graph must have nodes of the same kinds; what is launched already goes on as it was. */
CuResult cuGraphExecUpdate_v2(CuGraphExec exec, CuGraph graph, CuGraphUpdate *result) {
    Call call(EMU_CONTEXT);
    *result = CuGraphUpdate();
    if (call.refused) return call.refused;
    if (!emu_driver.execs.count(exec) || !emu_driver.graphs.count(graph)) return CU_INVALID_HANDLE;
    bool same = exec->node.size() == graph->node.size();
    for (size_t i = 0; same && i < graph->node.size(); i++)
        same = strcmp(exec->node[i].kind, graph->node[i].kind) == 0;
    if (!same) {
        result->result = 2; /* the topology has changed */
        return SN_CU_GRAPH_EXEC_UPDATE_FAILURE;
    }
    exec->node = graph->node;
    return SN_CU_SUCCESS;
}

CuResult cuGraphLaunch(CuGraphExec exec, CuStream stream) {
    Call call(EMU_CONTEXT);
    if (call.refused) return call.refused;
    if (!emu_driver.execs.count(exec)) return CU_INVALID_HANDLE;
    CuResult result = SN_CU_SUCCESS;
    for (size_t i = 0; i < exec->node.size() && !result; i++)
        result = emu_enqueue(stream, exec->node[i].kind, exec->node[i].run);
    return result;
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
