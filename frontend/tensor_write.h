/* TensorProto messages, piece by piece. */
#ifndef SN_TENSOR_WRITE_H
#define SN_TENSOR_WRITE_H

#include "new_file.h"
#include "text.h"
#include "type.h"

enum {
    SN_TENSOR_ALIGNMENT = 4096,
    SN_TENSOR_OUTSIDE = 1024 /* bytes from which a tensor leaves the model */
};

/* A protobuf number, and a field's key with it. */
void sn_tensor_write_varint(Text *text, uint64_t value);
void sn_tensor_write_key(Text *text, int field, int wire);

/* Everything of a TensorProto up to the bytes of raw_data, which sn_tensor_write_elements appends. `name` may be
 * NULL. */
void sn_tensor_write_header(Text *text, const Tensor *tensor, const char *name);

/* A whole TensorProto whose bytes are in another file. */
void sn_tensor_write_outside(Text *text, const Tensor *tensor, const char *name, const char *location,
                             int64_t offset);

/* The elements, little-endian and row-major. */
Status sn_tensor_write_elements(NewFile *file, const Tensor *tensor);

/* The same, each as an f32. */
Status sn_tensor_write_floats(NewFile *file, const Tensor *tensor);

#endif
