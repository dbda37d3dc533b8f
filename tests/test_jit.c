/* Kernels from text to code: the cache and its seals, compilers that fail, folders that are not private. */
#include "cpu/cpu.h"
#include "cpu/jit.h"
#include "fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

typedef struct Fixture {
    char folder[64];
    Arena *arena;
    Toolchain tools;
} Fixture;

static int setup(void **state) {
    Fixture *f = calloc(1, sizeof *f);
    if (make_test_folder(f->folder)) return -1;
    f->arena = sn_arena_new();
    *state = f;
    return 0;
}

static int teardown(void **state) {
    Fixture *f = *state;
    sn_arena_free(f->arena);
    int failed = remove_test_folder(f->folder);
    free(f);
    unsetenv("SINTER_CC");
    return failed;
}

/* A kernel that returns `value`, or what `text` says. */
static Kernel *kernel(Arena *arena, int value, const char *text) {
    Kernel *kernel = SN_NEW(arena, Kernel);
    char hex[33];
    kernel->hash = sn_hash_string(sn_hash_u64((Hash){0}, (uint64_t)value), text ? text : "");
    sn_hash_hex(kernel->hash, hex);
    kernel->name = sn_arena_printf(arena, "k_%s", hex);
    kernel->source =
        sn_arena_printf(arena,
                        "#include <stdint.h>\nint %s(void *const *b, const int64_t *s, int64_t i, int64_t j) "
                        "{ return %d; }\n%s",
                        kernel->name, value, text ? text : "");
    return kernel;
}

static CompileRecord build(Fixture *f, int count) {
    const Kernel *list[16] = {0};
    CompileRecord record = {0};
    Library *library;
    for (int i = 0; i < count; i++) list[i] = kernel(f->arena, 10 + i, NULL);
    assert_ok(sn_jit_build(f->arena, &f->tools, list, count, &record, &library));
    for (int i = 0; i < count; i++) assert_int_equal(library->function[i](NULL, NULL, 0, 0), 10 + i);
    sn_jit_close(library);
    return record;
}

static void nothing_is_compiled_twice(void **state) {
    Fixture *f = *state;
    assert_ok(sn_toolchain_open(f->arena, f->folder, &f->tools));
    CompileRecord record = build(f, 3);
    assert_int_equal(record.kernels, 3);
    assert_int_equal(record.compiled, 3);
    assert_true(record.linked && record.compiler > 0 && record.link > 0 && record.load > 0);
    record = build(f, 3);
    assert_true(record.compiled == 0 && !record.linked && record.compiler == 0 && record.link == 0);
    record = build(f, 5); /* two new kernels beside the three */
    assert_true(record.compiled == 2 && record.linked);
    /* Another start of the same process finds all of it. */
    assert_ok(sn_toolchain_open(f->arena, f->folder, &f->tools));
    record = build(f, 5);
    assert_true(record.compiled == 0 && !record.linked);
    record = build(f, 0);
    assert_int_equal(record.kernels, 0);
}

static void a_miss_says_why(void **state) {
    Fixture *f = *state;
    assert_ok(sn_toolchain_open(f->arena, f->folder, &f->tools));
    assert_string_equal(build(f, 3).reason, "the cache was empty: all 3 kernels are new");
    assert_string_equal(build(f, 3).reason, "");
    assert_ok(sn_toolchain_open(f->arena, f->folder, &f->tools));
    CompileRecord record = build(f, 5);
    assert_string_equal(record.reason, "2 of 5 kernels are new");
    assert_int_equal(record.processes, 3);
    assert_string_equal(build(f, 4).reason, "all 4 kernels are there, but not linked as this set");
    /* The same compiler by another name is another one. */
    const char *name = sn_arena_printf(f->arena, "%s/another", f->folder);
    assert_int_equal(symlink(f->tools.compiler, name), 0);
    setenv("SINTER_CC", name, 1);
    assert_ok(sn_toolchain_open(f->arena, f->folder, &f->tools));
    assert_string_equal(build(f, 2).reason,
                        "2 of 2 kernels are new; changed since the last compilation: compiler");
    assert_ok(sn_toolchain_open(f->arena, f->folder, &f->tools));
    assert_string_equal(build(f, 3).reason, "1 of 3 kernels are new");
}

/* Makes the use of every file of that ending `seconds` old; how many there are. */
static int age_all(const Fixture *f, const char *ending, time_t seconds) {
    int count = 0;
    DIR *folder = opendir(f->tools.cache.path);
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (!strstr(entry->d_name, ending)) continue;
        const struct timespec then = {.tv_sec = time(NULL) - seconds}, times[2] = {then, then};
        assert_int_equal(utimensat(dirfd(folder), entry->d_name, times, 0), 0);
        count++;
    }
    closedir(folder);
    return count;
}

/* A kernel that returns what others have in common with it, and its own value. */
static Kernel *kernel_in_common(Arena *arena, int value) {
    static const char common[] =
        "#include <stdint.h>\n"
        "__attribute__((visibility(\"hidden\"))) int common(int value);\n"
        "#ifndef SN_COMMON_APART\nint common(int value) { return 100 + value; }\n#endif\n";
    Kernel *made = kernel(arena, value, NULL);
    made->source = sn_arena_printf(
        arena, "%sint %s(void *const *b, const int64_t *s, int64_t i, int64_t j) { return common(%d); }\n",
        common, made->name, value);
    made->common_bytes = strlen(common);
    return made;
}

/* Two definitions of it could not be linked. */
static CompileRecord build_in_common(Fixture *f, int count) {
    const Kernel *list[8] = {0};
    CompileRecord record = {0};
    Library *library;
    for (int i = 0; i < count; i++) list[i] = kernel_in_common(f->arena, i);
    assert_ok(sn_jit_build(f->arena, &f->tools, list, count, &record, &library));
    for (int i = 0; i < count; i++) assert_int_equal(library->function[i](NULL, NULL, 0, 0), 100 + i);
    sn_jit_close(library);
    return record;
}

static void what_kernels_have_in_common_is_compiled_once(void **state) {
    Fixture *f = *state;
    assert_ok(sn_toolchain_open(f->arena, f->folder, &f->tools));
    CompileRecord record = build_in_common(f, 3);
    assert_true(record.kernels == 3 && record.compiled == 3 && record.processes == 5);
    record = build_in_common(f, 5);
    assert_true(record.compiled == 2 && record.processes == 3);
    /* What has gone is made again. */
    assert_int_equal(age_all(f, ".o", 7200), 6);
    sn_cache_limit(f->arena, &f->tools.cache, 1);
    assert_int_equal(sn_cache_usage(f->arena, &f->tools.cache, ".o").files, 0);
    record = build_in_common(f, 4);
    assert_true(record.compiled == 4 && record.processes == 6);
}

static void what_was_not_of_use_goes_first(void **state) {
    Fixture *f = *state;
    assert_ok(sn_toolchain_open(f->arena, f->folder, &f->tools));
    const Cache *cache = &f->tools.cache;
    build(f, 3);
    CacheUsage objects = sn_cache_usage(f->arena, cache, ".o"), all = sn_cache_usage(f->arena, cache, "");
    assert_int_equal(objects.files, 3);
    assert_true(all.files > 4 && all.bytes > objects.bytes && all.newest >= objects.oldest);
    /* What is of use this minute stays, however small the limit. */
    assert_int_equal(sn_cache_limit(f->arena, cache, 1), 0);
    assert_int_equal(age_all(f, ".o", 7200), 3);
    age_all(f, ".so", 3600);
    assert_int_equal(sn_cache_limit(f->arena, cache, all.bytes), 0);
    assert_int_equal(sn_cache_limit(f->arena, cache, all.bytes - 1), 1);
    assert_int_equal(sn_cache_usage(f->arena, cache, ".o").files, 2);
    assert_int_equal(sn_cache_usage(f->arena, cache, ".so").files, 1);
    /* A use makes a file young again. */
    assert_true(sn_cache_usage(f->arena, cache, ".so").oldest < time(NULL) - 60);
    CompileRecord record = build(f, 3);
    assert_false(record.linked);
    assert_true(sn_cache_usage(f->arena, cache, ".so").oldest > time(NULL) - 60);
    assert_true(sn_cache_limit(f->arena, cache, 0) > 3);
    assert_int_equal(sn_cache_usage(f->arena, cache, "").files, 0);
    assert_int_equal(build(f, 3).compiled, 3);
}

/* What a damaged file is made from the whole one. */
static void cut_short(const char *path) {
    assert_int_equal(truncate(path, 100), 0);
}
static void empty(const char *path) {
    assert_int_equal(truncate(path, 0), 0);
}
static void flip_a_bit(const char *path) {
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, 200, SEEK_SET), 0);
    int byte = fgetc(file);
    assert_int_equal(fseek(file, 200, SEEK_SET), 0);
    assert_true(fputc(byte ^ 16, file) != EOF && fclose(file) == 0);
}

static int damage_all(const Fixture *f, const char *ending, void (*damage)(const char *path)) {
    int count = 0;
    DIR *folder = opendir(f->tools.cache.path);
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder));) {
        size_t length = strlen(entry->d_name), tail = strlen(ending);
        if (length < tail || strcmp(entry->d_name + length - tail, ending) != 0) continue;
        char path[512];
        snprintf(path, sizeof path, "%s/%s", f->tools.cache.path, entry->d_name);
        damage(path);
        count++;
    }
    closedir(folder);
    return count;
}

static void damaged_files_are_rebuilt(void **state) {
    static void (*const damages[])(const char *) = {cut_short, empty, flip_a_bit};
    Fixture *f = *state;
    assert_ok(sn_toolchain_open(f->arena, f->folder, &f->tools));
    build(f, 2);
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        assert_int_equal(damage_all(f, ".so", damages[i]), 1);
        CompileRecord record = build(f, 2);
        assert_true(record.compiled == 0 && record.linked);
        assert_int_equal(damage_all(f, ".so", damages[i]), 1);
        assert_int_equal(damage_all(f, ".o", damages[i]), 2);
        record = build(f, 2);
        assert_true(record.compiled == 2 && record.linked);
        record = build(f, 2);
        assert_true(record.compiled == 0 && !record.linked);
    }
}

static int files_in(const char *path) {
    int count = 0;
    DIR *folder = opendir(path);
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder));) count += entry->d_name[0] != '.';
    closedir(folder);
    return count;
}

static void compiler_errors_are_told(void **state) {
    Fixture *f = *state;
    assert_ok(sn_toolchain_open(f->arena, f->folder, &f->tools));
    build(f, 1);
    int before = files_in(f->tools.cache.path);
    const Kernel *list[] = {kernel(f->arena, 1, "int broken = undeclared_thing;"), kernel(f->arena, 2, NULL)};
    CompileRecord record = {0};
    Library *library;
    assert_fails(sn_jit_build(f->arena, &f->tools, list, 2, &record, &library), SN_COMPILER,
                 "undeclared_thing");
    assert_null(library);
    const Kernel *unlinkable[] = {
        kernel(f->arena, 1, "int missing_thing(void); int f(void) { return missing_thing(); }")};
    assert_fails(sn_jit_build(f->arena, &f->tools, unlinkable, 1, &record, &library), SN_COMPILER,
                 "missing_thing");
    /* The object is kept, the attempt at a library is not, and nothing is left of what failed. */
    assert_int_equal(files_in(f->tools.cache.path), before + 2);
    build(f, 3);
}

/* A compiler that is killed while it writes its object, as a host that waits for every child sees it. */
static void endings_that_the_host_takes_are_told(void **state) {
    Fixture *f = *state;
    char path[128];
    snprintf(path, sizeof path, "%s/half", f->folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "#!/bin/sh\nfor word; do\n  [ \"$word\" = -E ] && exec cc \"$@\"\n"
                  "  case $word in *.o) echo half > \"$word\"; echo struck down; exit 3;; esac\ndone\n");
    assert_true(fclose(file) == 0 && chmod(path, 0700) == 0);
    struct sigaction before, ignore = {.sa_handler = SIG_IGN};
    assert_int_equal(sigaction(SIGCHLD, &ignore, &before), 0);
    assert_ok(sn_toolchain_open(f->arena, f->folder, &f->tools));
    build(f, 2);
    const Kernel *broken[] = {kernel(f->arena, 1, "int broken = undeclared_thing;")};
    const Kernel *unlinkable[] = {
        kernel(f->arena, 1, "int missing_thing(void); int f(void) { return missing_thing(); }")};
    const Kernel *fine[] = {kernel(f->arena, 3, NULL)};
    CompileRecord record = {0};
    Library *library;
    assert_fails(sn_jit_build(f->arena, &f->tools, broken, 1, &record, &library), SN_COMPILER,
                 "undeclared_thing");
    assert_fails(sn_jit_build(f->arena, &f->tools, unlinkable, 1, &record, &library), SN_COMPILER,
                 "missing_thing");
    setenv("SINTER_CC", path, 1);
    assert_ok(sn_toolchain_open(f->arena, f->folder, &f->tools));
    assert_fails(sn_jit_build(f->arena, &f->tools, fine, 1, &record, &library), SN_COMPILER, "struck down");
    setenv("SINTER_CC", "false", 1);
    assert_fails(sn_toolchain_open(f->arena, f->folder, &f->tools), SN_COMPILER, "false");
    assert_int_equal(sigaction(SIGCHLD, &before, NULL), 0);
}

static void what_killed_processes_left_is_removed(void **state) {
    Fixture *f = *state;
    char old[256], young[256], file[300];
    assert_ok(sn_toolchain_open(f->arena, f->folder, &f->tools));
    snprintf(old, sizeof old, "%s/new-old", f->tools.cache.path);
    snprintf(young, sizeof young, "%s/new-young", f->tools.cache.path);
    snprintf(file, sizeof file, "%s/0.c", old);
    assert_true(mkdir(old, 0700) == 0 && mkdir(young, 0700) == 0);
    int made = open(file, O_CREAT | O_WRONLY, 0600);
    assert_true(made >= 0 && close(made) == 0);
    struct timespec yesterday[2] = {{.tv_sec = time(NULL) - 25 * 3600}, {.tv_sec = time(NULL) - 25 * 3600}};
    assert_int_equal(utimensat(AT_FDCWD, old, yesterday, 0), 0);
    build(f, 1);
    assert_int_equal(access(old, F_OK), -1);
    assert_int_equal(access(young, F_OK), 0);
}

static void a_wrong_compiler_is_told(void **state) {
    Fixture *f = *state;
    Toolchain tools;
    setenv("SINTER_CC", "/nonexistent/cc", 1);
    assert_fails(sn_toolchain_open(f->arena, f->folder, &tools), SN_COMPILER, "/nonexistent/cc");
    setenv("SINTER_CC", "false", 1);
    assert_fails(sn_toolchain_open(f->arena, f->folder, &tools), SN_COMPILER, "false");
    setenv("SINTER_CC", "cc; echo", 1); /* no shell looks at it */
    assert_fails(sn_toolchain_open(f->arena, f->folder, &tools), SN_COMPILER, "cc; echo");
    char path[] = "PATH=/nonexistent", *old = strdup(getenv("PATH"));
    assert_non_null(old);
    unsetenv("SINTER_CC");
    putenv(path);
    Status status = sn_toolchain_open(f->arena, f->folder, &tools);
    setenv("PATH", old, 1);
    free(old);
    assert_fails(status, SN_COMPILER, "no C compiler");
}

static void only_private_folders_are_used(void **state) {
    Fixture *f = *state;
    Cache cache;
    char path[128];
    snprintf(path, sizeof path, "%s/a/b", f->folder);
    assert_ok(sn_cache_open(f->arena, path, &cache));
    struct stat info;
    assert_int_equal(stat(cache.path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
    assert_int_equal(chmod(cache.path, 0750), 0);
    assert_fails(sn_cache_open(f->arena, path, &cache), SN_IO, "not private");
    assert_int_equal(chmod(cache.path, 0700), 0);
    assert_int_equal(chmod(path, 0777), 0);
    assert_fails(sn_cache_open(f->arena, path, &cache), SN_IO, "not private");
    assert_int_equal(chmod(path, 0755), 0);
    assert_ok(sn_cache_open(f->arena, path, &cache));

    snprintf(path, sizeof path, "%s/link", f->folder);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/link/kernels", f->folder);
    assert_int_equal(symlink(cache.path, path), 0);
    snprintf(path, sizeof path, "%s/link", f->folder);
    assert_fails(sn_cache_open(f->arena, path, &cache), SN_IO, "is not a folder");

    snprintf(path, sizeof path, "%s/file", f->folder);
    int file = open(path, O_CREAT | O_WRONLY, 0600);
    assert_true(file >= 0 && close(file) == 0);
    assert_fails(sn_cache_open(f->arena, path, &cache), SN_IO, "file");
}

/* The folder goes away behind the toolchain. */
static void a_cache_that_cannot_be_used_is_named(void **state) {
    Fixture *f = *state;
    const Kernel *first = kernel(f->arena, 1, NULL), *second = kernel(f->arena, 2, NULL);
    CompileRecord record = {0};
    Library *library, *other;
    const void *bytes;
    size_t size;
    assert_ok(sn_toolchain_open(f->arena, f->folder, &f->tools));
    assert_ok(sn_jit_build(f->arena, &f->tools, &first, 1, &record, &library));
    const char *cache = f->tools.cache.path, *away = sn_arena_printf(f->arena, "%s/away", f->folder);
    assert_int_equal(rename(cache, away), 0);
    assert_fails(sn_jit_image(f->arena, &f->tools, library, &bytes, &size), SN_IO, "compile again");
    Status status = sn_jit_build(f->arena, &f->tools, &second, 1, &record, &other);
    assert_fails(status, SN_IO, sn_arena_printf(f->arena, "kernel cache %s cannot be written", cache));
    sn_jit_close(library);
}

static void the_environment_names_the_folder(void **state) {
    Fixture *f = *state;
    Cache cache;
    char expected[128];
    snprintf(expected, sizeof expected, "%s/kernels", f->folder);
    setenv("SINTER_CACHE", f->folder, 1);
    assert_ok(sn_cache_open(f->arena, NULL, &cache));
    assert_string_equal(cache.path, expected);
    unsetenv("SINTER_CACHE");
    setenv("XDG_CACHE_HOME", f->folder, 1);
    snprintf(expected, sizeof expected, "%s/sinter/kernels", f->folder);
    assert_ok(sn_cache_open(f->arena, NULL, &cache));
    assert_string_equal(cache.path, expected);
    unsetenv("XDG_CACHE_HOME");
}

static void the_target_is_described(void **state) {
    Fixture *f = *state;
    Target target, again;
    assert_ok(sn_cpu_target(f->arena, f->folder, &target));
    assert_int_equal(target.kind, SN_TARGET_CPU);
    assert_true(target.vector_bytes == 16 || target.vector_bytes == 32 || target.vector_bytes == 64);
    assert_true(target.l1_bytes >= 8 << 10 && target.l2_bytes >= target.l1_bytes);
    assert_ok(sn_cpu_target(f->arena, f->folder, &again));
    assert_string_equal(target.isa, again.isa);
}

static void memory_is_aligned_and_refused(void **state) {
    Fixture *f = *state;
    Pool *pool;
    Device *device;
    void *at;
    assert_ok(sn_pool_new(1, &pool));
    assert_ok(sn_cpu_open(f->arena, f->folder, pool, &device));
    for (int64_t bytes = 1; bytes < 1 << 27; bytes = bytes * 5 + 3) {
        assert_ok(device->ops->alloc(device, bytes, &at));
        assert_int_equal((uintptr_t)at % 64, 0);
        memset(at, 1, (size_t)bytes);
        device->ops->free(device, at, bytes);
    }
    assert_fails(device->ops->alloc(device, INT64_MAX, &at), SN_NO_MEMORY, "");
    assert_null(at);
    assert_fails(device->ops->alloc(device, (int64_t)1 << 50, &at), SN_NO_MEMORY, "");
    device->ops->free(device, NULL, 10);
    device->ops->close(device);
    sn_pool_free(pool);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(nothing_is_compiled_twice),
        TEST(a_miss_says_why),
        TEST(what_was_not_of_use_goes_first),
        TEST(damaged_files_are_rebuilt),
        TEST(compiler_errors_are_told),
        TEST(a_wrong_compiler_is_told),
        TEST(only_private_folders_are_used),
        TEST(a_cache_that_cannot_be_used_is_named),
        TEST(the_environment_names_the_folder),
        TEST(endings_that_the_host_takes_are_told),
        TEST(what_killed_processes_left_is_removed),
        TEST(what_kernels_have_in_common_is_compiled_once),
        TEST(the_target_is_described),
        TEST(memory_is_aligned_and_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
