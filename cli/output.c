/* Files, notes and progress. */
#include "cli.h"
#include <errno.h>
#include <unistd.h>

Status sn_cli_usage(Cli *cli, const char *format, ...) {
    va_list args;
    va_start(args, format);
    Status status = sn_failv(SN_INVALID, format, args);
    va_end(args);
    cli->usage = true;
    return status;
}

Status sn_cli_write(const char *path, const char *text, size_t length) {
    if (!path) {
        fwrite(text, 1, length, stdout); /* main looks at the stream's error at the end */
        return NULL;
    }
    FILE *file = fopen(path, "we");
    if (!file) return sn_fail(SN_IO, "%s cannot be written: %s", path, strerror(errno));
    bool good = fwrite(text, 1, length, file) == length;
    if (fclose(file) != 0 || !good) return sn_fail(SN_IO, "%s cannot be written: %s", path, strerror(errno));
    return NULL;
}

void sn_cli_note(const char *format, ...) {
    sn_cli_progress("%s", "");
    va_list args;
    va_start(args, format);
    fprintf(stderr, "sinter: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
}

void sn_cli_progress(const char *format, ...) {
    if (!isatty(STDERR_FILENO)) return;
    va_list args;
    va_start(args, format);
    fprintf(stderr, "\r\033[K");
    vfprintf(stderr, format, args);
    fflush(stderr);
    va_end(args);
}
