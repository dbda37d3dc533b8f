/* Code generation: a cluster becomes one kernel's source text. No device is needed. */
#ifndef SN_CODEGEN_H
#define SN_CODEGEN_H

#include "graph.h"
#include "library.h"
#include "target.h"

enum { SN_ARGUMENT_BYTES = 4096 }; /* that a CUDA kernel can take: the least of all that are supported */

/* Result `output` of a kernel may lie in the memory of its input `input`, which it replaces: every element is read
 * at the offset where it is stored, before it is stored. They have equally many elements of one size. */
typedef struct InPlace {
    int input, output;
} InPlace;

/* One kernel, in the arena it was generated into. Kernels of equal text are equal: `name` is a hash of the
 * text, so layers of the same shape share one. */
typedef struct Kernel {
    const char *name;   /* "k_" + 32 hex digits: the symbol to look up */
    const char *source; /* the complete translation unit, C or CUDA C++ */
    Hash hash;

    /* CPU: so many bytes at the beginning of the source are a translation unit of their own, which kernels have in common;
     * behind `#define SN_COMMON_APART` the source only declares what that defines. 0: there is none. */
    size_t common_bytes;

    /* The launch passes pointers to the cluster's inputs, then its outputs, then `scratch_count` scratch
     * buffers, in that order; constants that were inlined into the text have been left out of the inputs by
     * fuse. */
    int input_count, output_count, scratch_count;
    const Dim *scratch_bytes; /* per scratch buffer */

    /* symbols[i] of the launch is the value of param[i], a Dim over the graph's symbols. */
    int param_count;
    const Dim *param;

    /* CPU: int name(void *const *buffers, const int64_t *symbols, int64_t begin, int64_t end); it does work
     * items [begin, end) of `items` and returns 0, or 1 + the index of the faulting node in the cluster's
     * body. CUDA: extern "C" __global__ void name(NameArgs args), args = { void *buffer[]; long long
     * symbol[]; int *fault; long long first }; `items` is the number of blocks, `threads` per block, `shared`
     * bytes of dynamic shared memory, and `first` the number of the grid's first block: 0. Buffers are
     * aligned to 16 bytes at least. */
    Dim items;
    Dim after; /* so many items more, with little work, from `items` on, once all of these have ended (CUDA: a
                  second launch of so many blocks, `first` being `items`); NULL: none */
    Dim together; /* CPU: so many neighbouring items, counted from the first, share what they prepare: better
                     done by one call; NULL: none do */
    int threads;
    bool walks; /* CUDA: a grid of fewer blocks does the same, each block having several turns */
    Dim shared;

    /* CUDA, contractions: the same results from the library's product and then, unless that is all, the kernel
     * `rest`, which has this kernel's buffers; when there is one the product's result is the last scratch buffer.
     * NULL: the library cannot. Which of the two ways is taken is decided when a shape is bound. */
    const LibraryProduct *library;
    const struct Kernel *rest;

    /* The same results by one product with an epilogue of training, which the library may lack; NULL: none. Where that is
     * the slope of ReLU, aux stands for the ReLU's result: whoever knows which product made that puts the mask there. */
    const LibraryProduct *full;

    /* The form of it that launches which run as one group take: loops without a template. On the CPU the kernel itself;
     * CUDA: a text with a second entry, NAME_group(NAME_groupArgs args), args = { long long count; NAMEArgs
     * member[group_most] }, whose grid has the blocks of `count` launches one after the other: `first` of each is minus the
     * block of the grid that it begins with. NULL: none. */
    const struct Kernel *grouped;
    int group_most; /* of a text that has that entry; 0: it has not */

    /* What may be in place; an input or an output can be in several pairs, of which a launch takes one. */
    int in_place_count;
    const InPlace *in_place;

    /* CPU: extensions of the processor that it uses beside those that the compiler may use anywhere, as runtime/cpu/features.h
     * names them, separated by spaces; NULL: none. */
    const char *needs;

    int fault_count;
    const int *fault; /* what its data can make it return: 1 + the index of a node in the cluster's body */

    Dim flops,
        bytes; /* work and memory traffic of one run (unmasked work only), for reports; NULL when not known */
} Kernel;

/* Lowers a CLUSTER node. SN_UNSUPPORTED names what this target cannot do (then fuse was wrong to form it, or
 * a target lacks a kernel kind): the caller prefixes the origin. `dims` is the graph's table. */
Status sn_codegen(Arena *arena, Dims *dims, const Node *cluster, const Target *target, Kernel **out);

/* The text of an embedded file of codegen/device, or "" when there is none of that name. */
const char *sn_device_text(const char *name);

/* The kernel IR (loop nest, scalar SSA, maps) as text, for `dump --stage kernels`. */
Status sn_codegen_print(Arena *arena, Dims *dims, const Node *cluster, const Target *target, Text *text);

#endif
