/* Token data for training: files of ids, mapped, and windows of them. */
#ifndef SN_TOKENS_H
#define SN_TOKENS_H

#include "type.h"

typedef struct TokenRequest {
    bool text;          /* every byte of the file is an id, whatever its name */
    int bytes;          /* of an id in a .bin file: 1, 2 or 4; 0: 2 where the vocabulary allows it, else 4 */
    int64_t vocabulary; /* ids are 0 … vocabulary - 1; <= 0: any that are not negative */
} TokenRequest;

/* A file of ids, which must stay as it is. */
typedef struct Tokens {
    const char *path;
    Tensor ids; /* one axis of integers, in the mapping */
} Tokens;

/* Maps `path` until `arena` ends: a .bin file of little-endian unsigned ids, a .npy file of one axis of integers,
 * or text (.txt, or asked for), whose bytes are the ids. SN_INVALID names the first id that is out of the
 * vocabulary (all are looked at), SN_UNSUPPORTED a file of another kind. */
Status sn_tokens_open(Arena *arena, const char *path, const TokenRequest *request, Tokens *out);

/* Where windows are taken from: ids [begin, end) of a file. */
typedef struct TokenPart {
    const Tokens *tokens;
    int64_t begin, end;
    int64_t length; /* of a window: so many inputs, and as many labels, which are one id further on */
} TokenPart;

/* The last `held_out` (0 <= held_out < 1) of the ids are kept apart. SN_INVALID where a part is shorter than one
 * window; with held_out 0 `held` is empty. */
Status sn_tokens_split(const Tokens *tokens, double held_out, int64_t length, TokenPart *train,
                       TokenPart *held);

/* Where window `index` of the stream `seed` begins, uniform over the part: a function of its arguments alone, so
 * that a training that is resumed needs to know nothing but its step. */
int64_t sn_tokens_random_start(const TokenPart *part, uint64_t seed, uint64_t index);

/* Where window `index` of `count` begins that are spread evenly over the part. */
int64_t sn_tokens_even_start(const TokenPart *part, int64_t index, int64_t count);

/* The window that begins at `start`: elements [at, at + length) of `inputs`, whose element type is `dtype`, and of
 * `labels`. */
void sn_tokens_window(const TokenPart *part, int64_t start, int64_t at, DType dtype, void *inputs,
                      int64_t *labels);

#endif
