/* The texts embedded in the program are those of codegen/device, byte for byte. */
#include "device_files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void embedded_files_equal_their_sources(void **state) {
    (void)state;
    assert_true(sn_device_file_count > 0);
    for (int i = 0; i < sn_device_file_count; i++) {
        const DeviceFile *embedded = &sn_device_files[i];
        char path[4096];
        snprintf(path, sizeof path, "%s/../codegen/device/%s", SN_TESTS, embedded->name);
        FILE *source = fopen(path, "rb");
        assert_non_null(source);
        char *text = malloc(embedded->length + 1);
        assert_non_null(text);
        assert_int_equal(fread(text, 1, embedded->length + 1, source), embedded->length);
        assert_memory_equal(text, embedded->text, embedded->length);
        assert_int_equal(embedded->text[embedded->length], 0);
        if (i > 0) assert_true(strcmp(sn_device_files[i - 1].name, embedded->name) < 0);
        free(text);
        fclose(source);
    }
    assert_null(sn_device_files[sn_device_file_count].name);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(embedded_files_equal_their_sources)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
