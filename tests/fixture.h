/* What most unit tests share: assertions on a Status, and a folder of the test's own. A test includes this, or a
 * fixture that does. */
#ifndef SN_FIXTURE_H
#define SN_FIXTURE_H

#include "status.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static inline void assert_ok(Status status) {
    if (status) fail_msg("%s", sn_error_message(status));
}

static inline void assert_fails(Status status, sn_Code code, const char *fragment) {
    if (sn_error_code(status) != code)
        fail_msg("code %d, not %d: %s", (int)sn_error_code(status), (int)code, sn_error_message(status));
    if (!strstr(sn_error_message(status), fragment))
        fail_msg("\"%s\" is not in: %s", fragment, sn_error_message(status));
    sn_error_free(status);
}

/* Makes a folder below /tmp; 0, or -1 on failure, as cmocka's setups have it. */
static inline int make_test_folder(char folder[static 64]) {
    strcpy(folder, "/tmp/sinter-test-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

/* With all that is in it; 0 on success. */
static inline int remove_test_folder(const char *folder) {
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    return system(command);
}

#endif
