#include "status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One allocation: the message follows the struct. */
struct sn_Error {
    sn_Code code;
    const char *message;
};

/* What stands for any error when there is no memory to describe it. Never written to and never freed. */
static const sn_Error out_of_memory = {SN_NO_MEMORY, "out of memory"};

static Status without_memory(void) {
    return (Status)&out_of_memory;
}

/* An error with room for a message of `length` characters, which *message receives; NULL without memory. */
static Status make(sn_Code code, size_t length, char **message) {
    Status status = malloc(sizeof *status + length + 1);
    if (!status) return NULL;
    *message = (char *)(status + 1);
    **message = 0;
    *status = (sn_Error){code, *message};
    return status;
}

Status sn_failv(sn_Code code, const char *format, va_list args) {
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    char *message;
    Status status = make(code, length < 0 ? 0 : (size_t)length, &message);
    if (status && length > 0) vsnprintf(message, (size_t)length + 1, format, again);
    va_end(again);
    return status ? status : without_memory();
}

Status sn_fail(sn_Code code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    Status status = sn_failv(code, format, args);
    va_end(args);
    return status;
}

Status sn_status_prefix(Status status, const char *format, ...) {
    if (!status) return NULL;
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    size_t prefix = length < 0 ? 0 : (size_t)length;
    char *message;
    Status longer = make(status->code, prefix + 2 + strlen(status->message), &message);
    if (longer) {
        if (prefix) vsnprintf(message, prefix + 1, format, again);
        memcpy(message + prefix, ": ", 2);
        strcpy(message + prefix + 2, status->message);
        sn_error_free(status);
    }
    va_end(again);
    va_end(args);
    return longer ? longer : status;
}

sn_Code sn_error_code(const sn_Error *error) {
    return error ? error->code : SN_OK;
}

const char *sn_error_message(const sn_Error *error) {
    return error ? error->message : "";
}

void sn_error_free(sn_Error *error) {
    if (error != &out_of_memory) free(error);
}

const char *sn_version(void) {
    return SINTER_VERSION;
}
