/* Safetensors files: named tensors and a few texts, as they are shared between programs.
 *
 * The format (github.com/huggingface/safetensors): 8 bytes, the length of the header, little-endian; the
 * header, one JSON object {"NAME": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ...,
 * "__metadata__": {"KEY": "TEXT", ...}}; the elements, little-endian and row-major, tensor behind tensor
 * without gaps, offsets counted from their beginning. */
#ifndef SN_SAFETENSORS_H
#define SN_SAFETENSORS_H

#include "load.h"

typedef struct NamedText {
    const char *name, *text;
} NamedText;

typedef struct SafeTensors {
    int count, text_count;
    NamedTensor *tensor; /* in the header's order; their bytes lie in the mapped file, maybe unaligned */
    NamedText *text;     /* __metadata__ */
    const Map *by_name;  /* of const Tensor * */
} SafeTensors;

/* Maps the file; everything lies in `arena`, and the mapping ends with it. SN_INVALID for a header that
 * contradicts itself or the file, SN_UNSUPPORTED for element types that Sinter has not. */
Status sn_safetensors_read(Arena *arena, const char *path, SafeTensors *out);

/* The tensor or the text of that name; NULL when there is none. */
const Tensor *sn_safetensors_tensor(const SafeTensors *file, const char *name);
const char *sn_safetensors_text(const SafeTensors *file, const char *name);

/* Writes a file, which appears under its name when it is complete. Names are different from each other.
 * Tensors of wide elements come before those of narrow ones, so that all are aligned. */
Status sn_safetensors_write(Arena *arena, const char *path, int count, const NamedTensor *tensor,
                            int text_count, const NamedText *text);

#endif
