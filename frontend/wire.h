/* One bounds-checked scan of an untrusted protobuf file. */
#ifndef SN_WIRE_H
#define SN_WIRE_H

#include "status.h"
#include "text.h"

#include "onnx.pb-c.h"

typedef struct WireLimits {
    int64_t max_nodes; /* NodeProtos; other messages and fields are held to multiples of it */
    int64_t max_depth; /* messages inside messages, the root being 1 */
} WireLimits;

/* Zero and what exceeds the greatest allowed depth: the defaults. */
WireLimits sn_wire_limits(int64_t max_nodes, int64_t max_depth);

/* Checks the structure of `size` bytes as a message of type `root` (varints, lengths, wire types, depth,
 * counts) and appends to *skeleton the same message without unknown fields and without the bytes of raw_data,
 * whose place in the file is told by has_raw, raw_offset and raw_length. What protobuf-c then unpacks is
 * known to be well formed and bounded. SN_INVALID names the offset of what is wrong; SN_UNSUPPORTED a limit.
 */
Status sn_wire_skeleton(const uint8_t *bytes, size_t size, const ProtobufCMessageDescriptor *root,
                        const WireLimits *limits, Text *skeleton);

/* The unpacked skeleton, in `arena`. */
Status sn_wire_unpack(Arena *arena, const uint8_t *bytes, size_t size, const ProtobufCMessageDescriptor *root,
                      const WireLimits *limits, ProtobufCMessage **out);

#endif
