/* The benchmark models of `make`: GPT-2, Llama and BERT shaped networks of any size, and attention alone, as
 * exporters write them (standard operators, normalizations decomposed). */
#ifndef SN_ZOO_H
#define SN_ZOO_H

#include "onnx_writer.h"

typedef struct ZooOptions {
    int64_t layers, d_model, heads, kv_heads, d_ff, vocab;
    int64_t context; /* gpt2, bert: rows of the position table */
    int opset;
    DType
        dtype; /* of weights and activations: f32, f16 or bf16; normalizations compute in f32, and inputs and
                      outputs are f32 but for caches */
    double
        dropout; /* gpt2, llama, bert: the ratio of Dropout nodes in front of each residual addition; 0: none */
    bool kv_cache; /* gpt2, llama: inputs past.N.key and past.N.value, outputs present.N.key and
                      present.N.value */
} ZooOptions;

/* The sizes by name: S M L XL 2p7 (vocabulary 10000, context 1024). False when there is no such size. */
bool sn_zoo_size(const char *name, ZooOptions *options);

/* Sensible options to start from (size S, opset 17). */
ZooOptions sn_zoo_defaults(void);

/* The kinds in order, NULL past the last. */
const char *sn_zoo_kind(int index);

/* Builds the model `kind` into a new writer. SN_INVALID for an unknown kind, or sizes that do not fit
 * together. */
Status sn_zoo_build(Arena *arena, const char *kind, const ZooOptions *options, Writer **out);

#endif
