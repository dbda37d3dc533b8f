/* Tensors to files. */
#include "load.h"

#include "tensor.h"
#include "tensor_write.h"

static Status save(NewFile *file, Arena *scratch, const Tensor *tensor, const char *name) {
    size_t length = strlen(file->path);
    bool proto = length >= 3 && strcmp(file->path + length - 3, ".pb") == 0;
    bool widen = !proto && tensor->dtype == SN_BF16; /* NumPy has no bfloat16 */
    Text header = sn_text(scratch);
    if (proto)
        sn_tensor_write_header(&header, tensor, name);
    else
        sn_npy_header(&header, widen ? SN_F32 : tensor->dtype, tensor->rank, tensor->extent);
    TRY(sn_new_file_put(file, sn_text_string(&header), header.length));
    return widen ? sn_tensor_write_floats(file, tensor) : sn_tensor_write_elements(file, tensor);
}

static Status save_whole(Arena *scratch, const char *path, const Tensor *tensor, const char *name) {
    NewFile file;
    TRY(sn_new_file_begin(scratch, path, &file));
    return sn_new_file_end(&file, save(&file, scratch, tensor, name));
}

Status sn_save_tensor(const char *path, const Tensor *tensor, const char *name) {
    Arena *scratch = sn_arena_new();
    if (!scratch) return sn_fail(SN_NO_MEMORY, "out of memory");
    jmp_buf guard;
    sn_arena_guard(scratch, &guard);
    Status status =
        setjmp(guard) ? sn_fail(SN_NO_MEMORY, "out of memory") : save_whole(scratch, path, tensor, name);
    sn_arena_free(scratch);
    return status;
}
