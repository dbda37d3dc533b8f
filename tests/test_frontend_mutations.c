/* Changed models through the fuzz target: bits flipped, bytes cut out, doubled and replaced, with a fixed
 * seed. */
#include "fuzz_onnx.c"

#include "number.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { CHANGES = 400, MAX_SIZE = 1 << 20 };

static size_t read_model(const char *name, uint8_t *bytes) {
    char path[512];
    snprintf(path, sizeof path, "%s/models/%s/model.onnx", SN_TESTS, name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t size = fread(bytes, 1, MAX_SIZE, file);
    fclose(file);
    assert_true(size > 0 && size < MAX_SIZE);
    return size;
}

/* One change at a place that the stream chooses; gives the new size. */
static size_t change(uint8_t *bytes, size_t size, uint64_t seed, uint64_t step) {
    uint32_t random[4];
    sn_philox(seed, step, random);
    size_t at = random[0] % size, length = 1 + random[1] % 16;
    if (length > size - at) length = size - at;
    switch (random[2] % 4) {
    case 0:
        bytes[at] ^= (uint8_t)(1 << random[3] % 8);
        return size;
    case 1:
        bytes[at] = (uint8_t)random[3];
        return size;
    case 2:
        memmove(bytes + at, bytes + at + length, size - at - length);
        return size - length;
    default:
        if (size + length > MAX_SIZE) return size;
        memmove(bytes + at + length, bytes + at, size - at);
        return size + length;
    }
}

static void changed(const char *name, uint64_t seed) {
    static uint8_t model[MAX_SIZE], bytes[MAX_SIZE];
    size_t size = read_model(name, model);
    for (uint64_t i = 0; i < CHANGES; i++) {
        memcpy(bytes, model, size);
        size_t left = size;
        for (uint64_t k = 0; k <= i % 4 && left > 16; k++) left = change(bytes, left, seed, 8 * i + k);
        LLVMFuzzerTestOneInput(bytes, left);
    }
}

static void changed_models_are_refused_or_verify(void **state) {
    (void)state;
    changed("gpt2_op11_dynamic", 1);
    changed("gpt2_block_op23", 2);
    changed("ops/Slice_10_plain", 3);
    changed("ops/Split_13_sizes", 5);
    changed("ops/Attention_23_past", 6);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(changed_models_are_refused_or_verify)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
