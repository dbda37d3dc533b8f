#include "jit.h"
#include "clock.h"
#include "process.h"
#include "text.h"
#include "threads.h"
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* What becomes an object: a kernel, or what it has in common with others. */
typedef struct Job {
    const Kernel *kernel;
    bool common;
    const char *source, *object, *output; /* files in the making */
    const char *name;                     /* of the object in the cache */
} Job;
typedef SN_VEC(Job) Jobs;

static const char *object_name(Arena *arena, const Toolchain *tools, const Job *job) {
    char hex[33];
    const Kernel *kernel = job->kernel;
    Hash key = job->common ? sn_hash(tools->key, kernel->source, kernel->common_bytes)
                           : sn_hash(tools->key, &kernel->hash, sizeof kernel->hash);
    sn_hash_hex(sn_hash_string(key, job->common ? "common" : kernel->name), hex);
    return sn_arena_printf(arena, "%s.o", hex);
}

/* Adds an object to those of a library, unless it is there, as what kernels have in common may be. */
static void add_object(Arena *arena, const Toolchain *tools, const Kernel *kernel, bool common, Jobs *out) {
    Job job = {.kernel = kernel, .common = common};
    job.name = object_name(arena, tools, &job);
    for (int i = 0; common && i < out->count; i++)
        if (strcmp(out->at[i].name, job.name) == 0) return;
    sn_push(arena, out, job);
}

static int by_hash(const void *a, const void *b) {
    const Hash *x = a, *y = b;
    if (x->hi != y->hi) return x->hi < y->hi ? -1 : 1;
    return x->lo < y->lo ? -1 : x->lo > y->lo;
}

/* The same for a set of kernels in any order. */
static const char *library_name(Arena *arena, const Toolchain *tools, const Kernel *const *kernel,
                                int count) {
    Hash *hash = SN_ARRAY(arena, Hash, count), key = tools->key;
    for (int i = 0; i < count; i++) hash[i] = kernel[i]->hash;
    qsort(hash, (size_t)count, sizeof *hash, by_hash);
    for (int i = 0; i < count; i++) key = sn_hash(key, &hash[i], sizeof hash[i]);
    char hex[33];
    sn_hash_hex(key, hex);
    return sn_arena_printf(arena, "%s.so", hex);
}

static Status write_source(const Job *job) {
    FILE *file = fopen(job->source, "wxe");
    if (!file) return sn_fail(SN_IO, "%s cannot be made: %s", job->source, strerror(errno));
    const Kernel *kernel = job->kernel;
    size_t length = job->common ? kernel->common_bytes : strlen(kernel->source);
    bool apart = kernel->common_bytes && !job->common;
    bool ok = !apart || fputs("#define SN_COMMON_APART\n", file) >= 0;
    ok = ok && fwrite(kernel->source, 1, length, file) == length;
    if (fclose(file) != 0 || !ok)
        return sn_fail(SN_IO, "%s cannot be written: %s", job->source, strerror(errno));
    return NULL;
}

static const char *const *compile_command(Arena *arena, const Toolchain *tools, const Job *job) {
    SN_VEC(const char *) argv = {0};
    sn_push(arena, &argv, tools->compiler);
    for (const char *const *flag = sn_kernel_flags; *flag; flag++) sn_push(arena, &argv, *flag);
    const char *const rest[] = {"-c", "-o", job->object, job->source, NULL};
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++) sn_push(arena, &argv, rest[i]);
    return argv.at;
}

/* Whether a compiler or linker has made its file and finished it: what says how far the file reaches is
 * written last. */
static bool is_whole(const char *path) {
    ElfW(Ehdr) header;
    struct stat info;
    FILE *file = fopen(path, "re");
    if (!file) return false;
    bool whole = fread(&header, sizeof header, 1, file) == 1 && fstat(fileno(file), &info) == 0 &&
                 memcmp(header.e_ident, ELFMAG, SELFMAG) == 0 &&
                 header.e_shoff + (uint64_t)header.e_shnum * header.e_shentsize <= (uint64_t)info.st_size;
    fclose(file);
    return whole;
}

static size_t text_length(const Job *job) {
    return job->common ? job->kernel->common_bytes : strlen(job->kernel->source) - job->kernel->common_bytes;
}

/* Long sources first: the last compiler to finish is then likely to be a quick one. */
static int by_length(const void *a, const void *b) {
    const Job *x = a, *y = b;
    size_t m = text_length(x), n = text_length(y);
    if (m != n) return m < n ? 1 : -1;
    return strcmp(x->name, y->name);
}

static Status compile(Arena *arena, const Toolchain *tools, Job *job, int count) {
    const char *folder;
    TRY(sn_cache_scratch(arena, &tools->cache, &folder));
    qsort(job, (size_t)count, sizeof *job, by_length);
    Process *process = SN_ARRAY(arena, Process, count);
    for (int i = 0; i < count; i++) {
        job[i].source = sn_arena_printf(arena, "%s/%d.c", folder, i);
        job[i].object = sn_arena_printf(arena, "%s/%d.o", folder, i);
        job[i].output = sn_arena_printf(arena, "%s/%d.txt", folder, i);
        TRY(write_source(&job[i]));
        process[i] = (Process){.argv = compile_command(arena, tools, &job[i]), .output = job[i].output};
    }
    TRY(sn_process_run(process, count, sn_cpu_count()));
    for (int i = 0; i < count; i++) {
        if (process[i].exit_code != 0 || !is_whole(job[i].object))
            return sn_toolchain_failure(tools->compiler,
                                        sn_arena_printf(arena, "kernel %s failed", job[i].kernel->name),
                                        job[i].output);
        TRY(sn_cache_keep(arena, &tools->cache, job[i].object, job[i].name));
    }
    return NULL;
}

/* libm is named because the host program may have loaded it out of our sight. No -ffast-math and no flags of
 * compilation here: some of them link code that changes the rounding mode of the whole process. */
static Status link_objects(Arena *arena, const Toolchain *tools, const Jobs *objects, const char *name) {
    const char *folder;
    TRY(sn_cache_scratch(arena, &tools->cache, &folder));
    const char *library = sn_arena_printf(arena, "%s/library.so", folder);
    const char *output = sn_arena_printf(arena, "%s/link.txt", folder);
    SN_VEC(const char *) argv = {0};
    const char *const first[] = {tools->compiler,      "-shared", "-nostartfiles",
                                 "-Wl,-z,noexecstack", "-o",      library};
    for (size_t i = 0; i < sizeof first / sizeof *first; i++) sn_push(arena, &argv, first[i]);
    for (int i = 0; i < objects->count; i++)
        sn_push(arena, &argv, sn_cache_path(arena, &tools->cache, objects->at[i].name));
    sn_push(arena, &argv, "-lm");
    sn_push(arena, &argv, NULL);
    Process process = {.argv = argv.at, .output = output};
    TRY(sn_process_run(&process, 1, 1));
    if (process.exit_code != 0 || !is_whole(library))
        return sn_toolchain_failure(tools->compiler, "linking the kernels failed", output);
    return sn_cache_keep(arena, &tools->cache, library, name);
}

static Library *new_library(int count) {
    Library *library = calloc(1, sizeof *library + (size_t)count * sizeof *library->function);
    if (!library) return NULL;
    library->function = (KernelFunction **)(library + 1);
    library->count = count;
    library->file = -1;
    return library;
}

/* Opens the library at `path`; it belongs to *out then, or is closed. */
static Status load(Library *library, const char *path, const Kernel *const *kernel, Library **out) {
    library->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    Status status =
        library->handle ? NULL : sn_fail(SN_COMPILER, "compiled kernels cannot be loaded: %s", dlerror());
    int count = library->count;
    for (int i = 0; i < count && !status; i++) {
        void *symbol = dlsym(library->handle, kernel[i]->name);
        memcpy(&library->function[i], &symbol, sizeof symbol);
        if (!symbol) status = sn_fail(SN_COMPILER, "compiled kernels lack %s", kernel[i]->name);
    }
    if (status)
        sn_jit_close(library);
    else
        *out = library;
    return status;
}

/* The first words of the lines of `now` that `before` does not have. */
static const char *changed_lines(Arena *arena, const char *before, const char *now) {
    Text text = sn_text(arena);
    for (const char *line = now; *line;) {
        int length = (int)strcspn(line, "\n");
        const char *same = strstr(before, sn_arena_printf(arena, "%.*s\n", length, line));
        bool unchanged = same && (same == before || same[-1] == '\n');
        if (!unchanged) sn_text_add(&text, "%s%.*s", text.length ? ", " : "", (int)strcspn(line, " "), line);
        line += length + (line[length] == '\n');
    }
    return sn_text_string(&text);
}

/* Why the cache does not have the program as a whole. What it says of the toolchain is about the last time
 * that something was compiled before this toolchain was opened. */
static const char *explain(Arena *arena, const Toolchain *tools, int count, int missing) {
    if (!missing)
        return sn_arena_printf(arena, "all %d kernels are there, but not linked as this set", count);
    if (!tools->before) return sn_arena_printf(arena, "the cache was empty: all %d kernels are new", missing);
    const char *changed = changed_lines(arena, tools->before, tools->about);
    return sn_arena_printf(arena, "%d of %d kernels are new%s%s", missing, count,
                           *changed ? "; changed since the last compilation: " : "", changed);
}

/* Remembers the toolchain for the next one to be compared with. Without the note, the next reason says less. */
static void leave_note(Arena *arena, const Toolchain *tools) {
    if (tools->before && strcmp(tools->before, tools->about) == 0) return;
    sn_error_free(sn_cache_write(arena, &tools->cache, SN_TOOLCHAIN_NOTE, tools->about));
}

static Status build(Arena *arena, const Toolchain *tools, const Kernel *const *kernel, int count,
                    const char *name, CompileRecord *record) {
    double start = sn_clock();
    Jobs objects = {0}, absent = {0};
    int missing = 0; /* kernels */
    for (int i = 0; i < count; i++) {
        if (kernel[i]->common_bytes) add_object(arena, tools, kernel[i], true, &objects);
        add_object(arena, tools, kernel[i], false, &objects);
    }
    for (int i = 0; i < objects.count; i++) {
        if (sn_cache_has(arena, &tools->cache, objects.at[i].name)) {
            sn_cache_touch(arena, &tools->cache, objects.at[i].name);
            continue;
        }
        sn_push(arena, &absent, objects.at[i]);
        missing += !objects.at[i].common;
    }
    snprintf(record->reason, sizeof record->reason, "%s", explain(arena, tools, count, missing));
    if (absent.count) TRY(compile(arena, tools, absent.at, absent.count));
    if (missing) leave_note(arena, tools);
    record->compiled += missing;
    record->processes += absent.count + 1;
    double compiled = sn_clock();
    record->compiler += compiled - start;
    TRY(link_objects(arena, tools, &objects, name));
    record->linked = true;
    record->link += sn_clock() - compiled;
    sn_cache_limit(arena, &tools->cache, SN_CACHE_BYTES);
    return NULL;
}

static Status load_cached(Arena *arena, const Toolchain *tools, const char *name, const Kernel *const *kernel,
                          int count, Library **out) {
    Library *library = new_library(count);
    if (!library) return sn_fail(SN_NO_MEMORY, "out of memory for %d kernels", count);
    snprintf(library->name, sizeof library->name, "%s", name);
    sn_cache_touch(arena, &tools->cache, name);
    return load(library, sn_cache_path(arena, &tools->cache, name), kernel, out);
}

Status sn_jit_build(Arena *arena, const Toolchain *tools, const Kernel *const *kernel, int count,
                    CompileRecord *record, Library **out) {
    *out = NULL;
    record->kernels += count;
    if (count == 0) {
        *out = new_library(0);
        return *out ? NULL : sn_fail(SN_NO_MEMORY, "out of memory");
    }
    Arena *scratch = sn_arena_child(arena);
    const char *name = library_name(scratch, tools, kernel, count);
    Status status = NULL;
    if (!sn_cache_has(scratch, &tools->cache, name))
        status = build(scratch, tools, kernel, count, name, record);
    if (!status) {
        double start = sn_clock();
        status = load_cached(scratch, tools, name, kernel, count, out);
        record->load += sn_clock() - start;
    }
    sn_arena_free(scratch);
    return status;
}

/* ---- images ---- */

Status sn_jit_image(Arena *arena, const Toolchain *tools, const Library *library, const void **bytes,
                    size_t *size) {
    *bytes = "";
    *size = 0;
    if (library->count == 0) return NULL;
    if (!*library->name)
        return sn_fail(SN_UNSUPPORTED, "kernels that come from a saved program: saving them again is "
                                       "unsupported; copy the file");
    *bytes = sn_cache_read_sized(arena, &tools->cache, library->name, size);
    return *bytes
               ? NULL
               : sn_fail(SN_IO, "%s can be read from the kernel cache no more: compile again", library->name);
}

static Status write_whole(int file, const void *bytes, size_t size) {
    const char *at = bytes;
    while (size) {
        ssize_t written = write(file, at, size);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return sn_fail(SN_IO, "a file in memory cannot be written: %s", strerror(errno));
        at += written;
        size -= (size_t)written;
    }
    return NULL;
}

/* The loader wants a path. The file stays open as long as the library does: the loader knows libraries by
 * their paths, and another one must not come to have the same. */
Status sn_jit_load(const void *bytes, size_t size, const Kernel *const *kernel, int count, Library **out) {
    *out = NULL;
    Library *library = new_library(count);
    if (!library) return sn_fail(SN_NO_MEMORY, "out of memory for %d kernels", count);
    if (count == 0) return *out = library, NULL;
    library->file = memfd_create("sinter-kernels", MFD_CLOEXEC);
    Status status = library->file >= 0
                        ? write_whole(library->file, bytes, size)
                        : sn_fail(SN_IO, "a file in memory cannot be made: %s", strerror(errno));
    if (status) {
        sn_jit_close(library);
        return status;
    }
    char path[48];
    snprintf(path, sizeof path, "/proc/self/fd/%d", library->file);
    return load(library, path, kernel, out);
}

void sn_jit_close(Library *library) {
    if (!library) return;
    if (library->handle) dlclose(library->handle);
    if (library->file >= 0) close(library->file);
    free(library);
}
