/* A model file written again with other weights. Everything else of it is copied byte for byte. */
#include "load.h"

#include "map.h"
#include "new_file.h"
#include "tensor.h"
#include "tensor_write.h"
#include "wire.h"

/* What all weights may take inside of the model: protobuf ends at 2 GiB. */
static const int64_t inside_most = INT64_C(1) << 30;

/* Record numbers of onnx.proto. */
enum { MODEL_GRAPH = 7, GRAPH_INITIALIZER = 5, LENGTH_DELIMITED = 2 };

/* What the new file is made of, in order: bytes, and behind them a tensor's elements. */
typedef struct Piece {
    const void *bytes;
    size_t size;
    const Tensor *tensor; /* NULL: none */
} Piece;

typedef struct Rewrite {
    Arena *arena;
    Weights weights;
    const Onnx__GraphProto *graph; /* the skeleton */
    Map *wanted;                   /* new weights by name */
    const char *location;          /* of the file with the weights; NULL: they are in the model */
    int64_t offset;                /* in that file */
    size_t initializer;            /* the next one */
    SN_VEC(Piece) piece;           /* of the graph */
    SN_VEC(const Tensor *) stored; /* in the file with the weights, in order */
} Rewrite;

/* ---- the fields of a message that wire.c has checked ---- */

typedef struct Record {
    uint64_t number, wire;
    const uint8_t *start, *value, *end; /* the whole field, and what is in it when it has a length */
} Record;

static uint64_t read_varint(const uint8_t **at) {
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
        uint8_t byte = *(*at)++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) return value;
    }
}

static Record read_record(const uint8_t *at) {
    Record field = {.start = at};
    uint64_t key = read_varint(&at);
    field.number = key >> 3, field.wire = key & 7;
    uint64_t length = field.wire == 1 ? 8 : field.wire == 5 ? 4 : 0;
    if (field.wire == LENGTH_DELIMITED) length = read_varint(&at);
    field.value = at;
    if (field.wire == 0) read_varint(&at);
    field.end = at + length;
    return field;
}

/* ---- initializers ---- */

static int64_t tensor_bytes(const Tensor *tensor) {
    return tensor->count * sn_dtype_bytes(tensor->dtype);
}

/* The values that are written anew: those that were given, and those that lie outside of the model. NULL: the
 * initializer stays as it is. */
static Status new_values(Rewrite *rewrite, const Onnx__TensorProto *proto, const Tensor **out) {
    *out = sn_map_get_string(rewrite->wanted, proto->name);
    Tensor *found;
    if (!*out && proto->data_location != 1) return NULL;
    TRY(sn_status_prefix(sn_tensor_import(&rewrite->weights, proto, &found), "initializer \"%s\"",
                         proto->name));
    if (!*out) *out = found;
    bool same = (*out)->dtype == found->dtype && (*out)->rank == found->rank;
    for (int i = 0; same && i < found->rank; i++) same = (*out)->extent[i] == found->extent[i];
    return same ? NULL
                : sn_fail(SN_INVALID, "initializer \"%s\": the new values have another type or shape",
                          proto->name);
}

static void put_piece(Rewrite *rewrite, const void *bytes, size_t size, const Tensor *tensor) {
    sn_push(rewrite->arena, &rewrite->piece, ((Piece){bytes, size, tensor}));
}

static void put_text(Rewrite *rewrite, Text *text, const Tensor *tensor) {
    put_piece(rewrite, sn_text_string(text), text->length, tensor);
}

static void put_initializer(Rewrite *rewrite, const char *name, const Tensor *tensor) {
    Text message = sn_text(rewrite->arena), field = sn_text(rewrite->arena);
    bool outside = rewrite->location && tensor_bytes(tensor) >= SN_TENSOR_OUTSIDE;
    if (outside) {
        sn_tensor_write_outside(&message, tensor, name, rewrite->location, rewrite->offset);
        sn_push(rewrite->arena, &rewrite->stored, tensor);
        rewrite->offset +=
            (tensor_bytes(tensor) + SN_TENSOR_ALIGNMENT - 1) / SN_TENSOR_ALIGNMENT * SN_TENSOR_ALIGNMENT;
    } else {
        sn_tensor_write_header(&message, tensor, name);
    }
    sn_tensor_write_key(&field, GRAPH_INITIALIZER, LENGTH_DELIMITED);
    sn_tensor_write_varint(&field, message.length + (outside ? 0 : (uint64_t)tensor_bytes(tensor)));
    sn_text_put(&field, sn_text_string(&message), message.length);
    put_text(rewrite, &field, outside ? NULL : tensor);
}

static Status rewrite_graph(Rewrite *rewrite, const Record *graph) {
    for (const uint8_t *at = graph->value; at < graph->end;) {
        Record field = read_record(at);
        at = field.end;
        const Tensor *tensor = NULL;
        const Onnx__TensorProto *proto = NULL;
        if (field.number == GRAPH_INITIALIZER) {
            if (rewrite->initializer >= rewrite->graph->n_initializer)
                return sn_fail(SN_INTERNAL, "more initializers in a file than were read from it");
            proto = rewrite->graph->initializer[rewrite->initializer++];
            TRY(new_values(rewrite, proto, &tensor));
        }
        if (tensor)
            put_initializer(rewrite, proto->name, tensor);
        else
            put_piece(rewrite, field.start, (size_t)(field.end - field.start), NULL);
    }
    return NULL;
}

/* ---- where the weights go ---- */

/* What all weights that are written anew take, and a hash of them: the name of their file, so that an older model
 * beside it keeps its own. */
static Status survey(Rewrite *rewrite, int64_t *bytes, Hash *hash) {
    *bytes = 0, *hash = (Hash){0};
    for (size_t i = 0; i < rewrite->graph->n_initializer; i++) {
        const Tensor *tensor;
        TRY(new_values(rewrite, rewrite->graph->initializer[i], &tensor));
        if (!tensor) continue;
        *bytes += tensor_bytes(tensor);
        if (tensor->payload == SN_PAYLOAD_BYTES)
            *hash = sn_hash(*hash, tensor->bytes, (size_t)tensor_bytes(tensor));
        else
            *hash = sn_hash_u64(sn_hash_u64(*hash, tensor->seed), (uint64_t)tensor->count);
    }
    return NULL;
}

static const char *file_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static Status write_outside(Rewrite *rewrite, const char *path) {
    NewFile file;
    TRY(sn_new_file_begin(rewrite->arena, path, &file));
    Status status = NULL;
    for (int i = 0; i < rewrite->stored.count && !status; i++) {
        static const char zeros[SN_TENSOR_ALIGNMENT];
        status = sn_tensor_write_elements(&file, rewrite->stored.at[i]);
        if (!status)
            status = sn_new_file_put(&file, zeros, (size_t)(-file.length & (SN_TENSOR_ALIGNMENT - 1)));
    }
    return sn_new_file_end(&file, status);
}

/* ---- the file ---- */

static Status write_pieces(Rewrite *rewrite, NewFile *file) {
    Text head = sn_text(rewrite->arena);
    uint64_t length = 0;
    for (int i = 0; i < rewrite->piece.count; i++) {
        const Piece *piece = &rewrite->piece.at[i];
        length += piece->size + (piece->tensor ? (uint64_t)tensor_bytes(piece->tensor) : 0);
    }
    sn_tensor_write_key(&head, MODEL_GRAPH, LENGTH_DELIMITED);
    sn_tensor_write_varint(&head, length);
    TRY(sn_new_file_put(file, sn_text_string(&head), head.length));
    for (int i = 0; i < rewrite->piece.count; i++) {
        const Piece *piece = &rewrite->piece.at[i];
        TRY(sn_new_file_put(file, piece->bytes, piece->size));
        if (piece->tensor) TRY(sn_tensor_write_elements(file, piece->tensor));
    }
    return NULL;
}

static Status write_model(Rewrite *rewrite, NewFile *file) {
    const uint8_t *end = rewrite->weights.file.bytes + rewrite->weights.file.size;
    bool met = false;
    for (const uint8_t *at = rewrite->weights.file.bytes; at < end;) {
        Record field = read_record(at);
        at = field.end;
        if (field.number != MODEL_GRAPH) {
            TRY(sn_new_file_put(file, field.start, (size_t)(field.end - field.start)));
            continue;
        }
        if (met) return sn_fail(SN_UNSUPPORTED, "a model file whose graph is in several parts");
        met = true;
        TRY(rewrite_graph(rewrite, &field));
        TRY(write_pieces(rewrite, file));
    }
    return NULL;
}

static Status open_model(Rewrite *rewrite, const char *from) {
    Weights *weights = &rewrite->weights;
    *weights = (Weights){.arena = rewrite->arena,
                         .tensors = rewrite->arena,
                         .path = from,
                         .folder = -1,
                         .external = true,
                         .mapped = sn_map_new(rewrite->arena)};
    TRY(sn_file_map(rewrite->arena, from, &weights->file));
    WireLimits limits = sn_wire_limits(0, 0);
    ProtobufCMessage *message;
    TRY(sn_wire_unpack(rewrite->arena, weights->file.bytes, weights->file.size,
                       &onnx__model_proto__descriptor, &limits, &message));
    rewrite->graph = ((const Onnx__ModelProto *)message)->graph;
    return rewrite->graph ? NULL : sn_fail(SN_INVALID, "%s: there is no graph in it", from);
}

Status sn_save_onnx(Arena *arena, const char *from, const char *to, int count, const NamedTensor *weight) {
    Rewrite rewrite = {.arena = arena, .wanted = sn_map_new(arena)};
    TRY(open_model(&rewrite, from));
    for (int i = 0; i < count; i++)
        *sn_map_at_string(rewrite.wanted, weight[i].name) = (void *)(uintptr_t)weight[i].tensor;
    int64_t bytes;
    Hash hash;
    TRY(survey(&rewrite, &bytes, &hash));
    const char *outside = NULL;
    if (bytes > inside_most) {
        char hex[33];
        sn_hash_hex(hash, hex);
        outside = sn_arena_printf(arena, "%s.%.16s.data", to, hex);
        rewrite.location = file_name(outside);
    }
    NewFile file;
    TRY(sn_new_file_begin(arena, to, &file));
    Status status = write_model(&rewrite, &file);
    if (!status && outside) status = write_outside(&rewrite, outside);
    return sn_new_file_end(&file, status);
}
