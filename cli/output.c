/* Files, notes and progress. */
#include "cli.h"
#include "new_file.h"
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

Status sn_cli_usage(Cli *cli, const char *format, ...) {
    va_list args;
    va_start(args, format);
    Status status = sn_failv(SN_INVALID, format, args);
    va_end(args);
    cli->usage = true;
    return status;
}

/* A device or a pipe, or what is open already, as /dev/stdout: written as it is, and never replaced by a file. */
static bool is_special(const char *path) {
    struct stat info;
    if (strncmp(path, "/dev/", 5) == 0 || strncmp(path, "/proc/", 6) == 0) return true;
    return stat(path, &info) == 0 && !S_ISREG(info.st_mode);
}

static Status write_special(const char *path, const char *text, size_t length) {
    FILE *file = fopen(path, "we");
    if (!file) return sn_fail(SN_IO, "%s cannot be written: %s", path, strerror(errno));
    bool good = fwrite(text, 1, length, file) == length;
    if (fclose(file) != 0 || !good) return sn_fail(SN_IO, "%s cannot be written: %s", path, strerror(errno));
    return NULL;
}

Status sn_cli_write(Cli *cli, const char *path, const char *text, size_t length) {
    NewFile file;
    if (!path) {
        fwrite(text, 1, length, stdout); /* main looks at the stream's error at the end */
        return NULL;
    }
    if (is_special(path)) return write_special(path, text, length);
    TRY(sn_new_file_begin(cli->arena, path, &file));
    return sn_new_file_end(&file, sn_new_file_put(&file, text, length));
}

Status sn_cli_check_place(Cli *cli, const char *path) {
    NewFile file;
    if (!path) return NULL;
    TRY(sn_new_file_begin(cli->arena, path, &file));
    sn_error_free(sn_new_file_end(&file, sn_fail(SN_IO, "only a try")));
    return NULL;
}

Status sn_cli_check_text_place(Cli *cli, const char *path) {
    return path && is_special(path) ? NULL : sn_cli_check_place(cli, path);
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
