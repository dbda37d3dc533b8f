/* The error value. NULL is success; anything else is owned by whoever holds it, until it is freed. */
#ifndef SN_STATUS_H
#define SN_STATUS_H

#include <sinter/sinter.h>
#include <stdarg.h>

typedef sn_Error *Status;

/* A new error. Never NULL: when memory is short it is a static "out of memory" that needs no freeing. */
Status sn_fail(sn_Code code, const char *format, ...)
    __attribute__((format(printf, 2, 3), warn_unused_result, returns_nonnull));
Status sn_failv(sn_Code code, const char *format, va_list args)
    __attribute__((format(printf, 2, 0), returns_nonnull));

/* Puts "<formatted>: " before the message of `status` and gives it back; NULL stays NULL. */
Status sn_status_prefix(Status status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* sn_error_code, sn_error_message and sn_error_free are public: see sinter.h. */

/* The one macro that hides control flow: a failure of `call` is the caller's failure. */
#define TRY(call)                                                                                            \
    do {                                                                                                     \
        Status try_status_ = (call);                                                                         \
        if (try_status_) return try_status_;                                                                 \
    } while (0)

#endif
