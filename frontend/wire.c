#include "wire.h"

#include <stdint.h>

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

enum {
    OWN_FIELDS = 1000,         /* field numbers from here on are the scan's, not the file's */
    FIELDS_PER_NODE = 64,      /* how far messages' fields may outnumber max_nodes */
    LENGTH_BYTES = 5,          /* of a padded length in the skeleton */
    MAX_SKELETON = 1 << 30,    /* bytes; weights stored as typed fields count, raw ones do not */
    MAX_FIELD = (1 << 29) - 1, /* the largest field number of the format */
    MAX_SINGULAR = 64,         /* fields of one message type */
    DEFAULT_NODES = 1 << 20,
    DEFAULT_DEPTH = 64,
};

WireLimits sn_wire_limits(int64_t max_nodes, int64_t max_depth) {
    return (WireLimits){.max_nodes = max_nodes > 0 ? max_nodes : DEFAULT_NODES,
                        .max_depth = max_depth > 0 && max_depth < DEFAULT_DEPTH ? max_depth : DEFAULT_DEPTH};
}

typedef struct Scan {
    const uint8_t *bytes;
    size_t at;
    const WireLimits *limits;
    int64_t nodes, fields;
    Text *out;
} Scan;

static Status broken(const Scan *scan, size_t at, const char *what) {
    (void)scan;
    return sn_fail(SN_INVALID, "not a valid ONNX file: %s at offset %zu", what, at);
}

static Status read_varint(Scan *scan, size_t end, uint64_t *out) {
    size_t start = scan->at;
    uint64_t value = 0;
    for (int shift = 0; shift < 70; shift += 7) {
        if (scan->at >= end) return broken(scan, start, "a truncated number");
        uint8_t byte = scan->bytes[scan->at++];
        if (shift == 63 && byte > 1) return broken(scan, start, "a number beyond 64 bits");
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte & 0x80) continue;
        *out = value;
        return NULL;
    }
    return broken(scan, start, "a number beyond 64 bits");
}

static void put_varint(Text *out, uint64_t value) {
    char bytes[10];
    size_t count = 0;
    do {
        bytes[count] = (char)(value & 0x7f);
        value >>= 7;
        if (value) bytes[count] |= (char)0x80;
        count++;
    } while (value);
    sn_text_put(out, bytes, count);
}

static void put_tag(Text *out, uint32_t field, int wire) {
    put_varint(out, (uint64_t)field << 3 | (uint64_t)wire);
}

static int wire_of(const ProtobufCFieldDescriptor *field) {
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return WIRE_BYTES;
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_SFIXED32:
        return WIRE_FIXED32;
    case PROTOBUF_C_TYPE_DOUBLE:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return WIRE_FIXED64;
    default:
        return WIRE_VARINT;
    }
}

/* Moves past a value and checks that it ends inside the message; for BYTES *length is its size and the scan
 * stands at its first byte. */
static Status enter_value(Scan *scan, size_t end, int wire, uint64_t *length) {
    size_t start = scan->at;
    uint64_t ignored;
    *length = 0;
    if (wire == WIRE_VARINT) return read_varint(scan, end, &ignored);
    if (wire == WIRE_BYTES)
        TRY(read_varint(scan, end, length));
    else if (wire == WIRE_FIXED32 || wire == WIRE_FIXED64)
        *length = wire == WIRE_FIXED32 ? 4 : 8;
    else
        return broken(scan, start, "a field of an unknown kind");
    if (*length > end - scan->at) return broken(scan, start, "a length beyond the end");
    if (wire != WIRE_BYTES) scan->at += (size_t)*length;
    return NULL;
}

/* The elements of a packed field: whole numbers up to its end. */
static Status check_packed(Scan *scan, size_t end, int wire) {
    size_t start = scan->at, width = wire == WIRE_FIXED32 ? 4 : 8;
    uint64_t ignored;
    if (wire != WIRE_VARINT) {
        if ((end - start) % width != 0) return broken(scan, start, "a list of half elements");
        scan->at = end;
        return NULL;
    }
    while (scan->at < end) TRY(read_varint(scan, end, &ignored));
    return NULL;
}

static Status scan_message(Scan *scan, size_t end, const ProtobufCMessageDescriptor *type, int64_t depth);

/* The bytes of raw_data stay in the file. */
static void put_payload(Scan *scan, uint64_t length) {
    put_tag(scan->out, 1000, WIRE_VARINT);
    put_varint(scan->out, 1);
    put_tag(scan->out, 1001, WIRE_VARINT);
    put_varint(scan->out, scan->at);
    put_tag(scan->out, 1002, WIRE_VARINT);
    put_varint(scan->out, length);
}

/* A message in the skeleton: its length is not known before its end, so it gets five bytes, padded. */
static Status scan_submessage(Scan *scan, size_t end, const ProtobufCFieldDescriptor *field, int64_t depth) {
    put_tag(scan->out, field->id, WIRE_BYTES);
    size_t place = scan->out->length;
    sn_text_put(scan->out, "\x80\x80\x80\x80\x00", LENGTH_BYTES);
    TRY(scan_message(scan, end, field->descriptor, depth + 1));
    size_t length = scan->out->length - place - LENGTH_BYTES;
    for (int i = 0; i < LENGTH_BYTES; i++)
        scan->out->at[place + (size_t)i] |= (char)(length >> (7 * i) & 0x7f);
    return NULL;
}

/* A length-delimited value whose bytes are [at, end). */
static Status scan_bytes(Scan *scan, size_t end, const ProtobufCMessageDescriptor *type,
                         const ProtobufCFieldDescriptor *field, int64_t depth) {
    size_t start = scan->at, length = end - start;
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) return scan_submessage(scan, end, field, depth);
    if (type == &onnx__tensor_proto__descriptor && strcmp(field->name, "raw_data") == 0) {
        put_payload(scan, length);
        scan->at = end;
        return NULL;
    }
    if (field->type == PROTOBUF_C_TYPE_STRING && length > 0 && memchr(scan->bytes + start, 0, length))
        return broken(scan, start, "a name with a zero byte");
    if (wire_of(field) != WIRE_BYTES) TRY(check_packed(scan, end, wire_of(field)));
    if (length > MAX_SKELETON) return sn_fail(SN_UNSUPPORTED, "unsupported: a field of %zu bytes", length);
    put_tag(scan->out, field->id, WIRE_BYTES);
    put_varint(scan->out, length);
    sn_text_put(scan->out, (const char *)scan->bytes + start, length);
    scan->at = end;
    return NULL;
}

/* A known field whose tag was read. */
static Status scan_known(Scan *scan, size_t end, const ProtobufCMessageDescriptor *type,
                         const ProtobufCFieldDescriptor *field, int wire, int64_t depth) {
    bool packed = field->label == PROTOBUF_C_LABEL_REPEATED && wire == WIRE_BYTES;
    size_t start = scan->at;
    if (wire != wire_of(field) && !packed) return broken(scan, start, "a field of the wrong kind");
    uint64_t length;
    TRY(enter_value(scan, end, wire, &length));
    if (wire == WIRE_BYTES) return scan_bytes(scan, scan->at + (size_t)length, type, field, depth);
    put_tag(scan->out, field->id, wire);
    sn_text_put(scan->out, (const char *)scan->bytes + start, scan->at - start);
    return NULL;
}

/* Tells how much protobuf-c will need to unpack what was scanned so far. */
static Status check_counts(Scan *scan) {
    if (++scan->fields > scan->limits->max_nodes * FIELDS_PER_NODE || scan->out->length > MAX_SKELETON)
        return sn_fail(SN_UNSUPPORTED, "unsupported: the file has too many fields (at offset %zu)", scan->at);
    return NULL;
}

static Status scan_message(Scan *scan, size_t end, const ProtobufCMessageDescriptor *type, int64_t depth) {
    uint64_t seen = 0, tag, length;
    if (depth > scan->limits->max_depth) return broken(scan, scan->at, "messages nested too deeply");
    if (type == &onnx__node_proto__descriptor && ++scan->nodes > scan->limits->max_nodes)
        return sn_fail(SN_UNSUPPORTED, "unsupported: more than %lld nodes",
                       (long long)scan->limits->max_nodes);
    while (scan->at < end) {
        size_t start = scan->at;
        TRY(read_varint(scan, end, &tag));
        if (tag >> 3 == 0 || tag >> 3 > MAX_FIELD) return broken(scan, start, "a field without a number");
        unsigned number = (unsigned)(tag >> 3);
        const ProtobufCFieldDescriptor *field =
            number < OWN_FIELDS ? protobuf_c_message_descriptor_get_field(type, number) : NULL;
        if (!field) {
            TRY(enter_value(scan, end, (int)(tag & 7), &length));
            if ((tag & 7) == WIRE_BYTES) scan->at += (size_t)length;
            continue;
        }
        /* A message given twice would be merged, and whoever looked first might have seen only one half. */
        uint64_t bit = UINT64_C(1) << ((size_t)(field - type->fields) % MAX_SINGULAR);
        if (field->label != PROTOBUF_C_LABEL_REPEATED) {
            if (seen & bit) return broken(scan, start, "a field that is there twice");
            seen |= bit;
        }
        TRY(check_counts(scan));
        TRY(scan_known(scan, end, type, field, (int)(tag & 7), depth));
    }
    return NULL;
}

Status sn_wire_skeleton(const uint8_t *bytes, size_t size, const ProtobufCMessageDescriptor *root,
                        const WireLimits *limits, Text *skeleton) {
    Scan scan = {.bytes = bytes, .limits = limits, .out = skeleton};
    return scan_message(&scan, size, root, 1);
}

static void *arena_alloc(void *arena, size_t bytes) {
    return sn_arena_alloc(arena, bytes);
}

/* The arena frees everything at once. */
static void arena_free(void *arena, void *pointer) {
    (void)arena, (void)pointer;
}

Status sn_wire_unpack(Arena *arena, const uint8_t *bytes, size_t size, const ProtobufCMessageDescriptor *root,
                      const WireLimits *limits, ProtobufCMessage **out) {
    Arena *scratch = sn_arena_child(arena);
    Text skeleton = sn_text(scratch);
    sn_text_string(&skeleton);
    Status status = sn_wire_skeleton(bytes, size, root, limits, &skeleton);
    if (!status) {
        ProtobufCAllocator allocator = {arena_alloc, arena_free, arena};
        *out = protobuf_c_message_unpack(root, &allocator, skeleton.length, (const uint8_t *)skeleton.at);
        if (!*out) status = sn_fail(SN_INVALID, "not a valid ONNX file");
    }
    sn_arena_free(scratch);
    return status;
}
