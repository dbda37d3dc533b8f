/* For tests that run the system's compilers: what these make is kept in the kernel cache, where the tests of another build find
 * it again. */
#ifndef SN_COMPILER_FIXTURE_H
#define SN_COMPILER_FIXTURE_H

#include "cpu/toolchain.h"
#include "fixture.h"

#include <sys/wait.h>
#include <unistd.h>

static inline int run_program(const char *const *argv) {
    pid_t child = fork();
    if (child == 0) {
        execvp(argv[0], (char *const *)argv);
        _exit(127);
    }
    int state = -1;
    assert_int_equal(waitpid(child, &state, 0), child);
    return state;
}

static inline Hash hash_file(Hash seed, const char *path) {
    char piece[4096];
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    for (size_t got; (got = fread(piece, 1, sizeof piece, file)) > 0;) seed = sn_hash(seed, piece, got);
    assert_int_equal(fclose(file), 0);
    return seed;
}

/* The path, in `arena`, of the shared object that `command` (NULL-terminated) makes of `text` in a file with this ending, which
 * stands before `link` in its arguments. `reads`: files that matter beside the text. SINTER_KEEP_KERNELS names a folder for the
 * texts. */
static inline const char *compile_kept(Arena *arena, const char *const *command, const char *const *link,
                                       const char *const *reads, const char *ending, const char *text) {
    Toolchain tools;
    char hex[33];
    assert_ok(sn_toolchain_open(arena, NULL, &tools));
    Hash key = sn_hash_string(tools.key, text);
    for (int i = 0; command[i]; i++) key = sn_hash_string(key, command[i]);
    for (int i = 0; link[i]; i++) key = sn_hash_string(key, link[i]);
    for (int i = 0; reads[i]; i++) key = hash_file(key, reads[i]);
    sn_hash_hex(key, hex);
    const char *name = sn_arena_printf(arena, "test-%s.so", hex), *folder,
               *kept = sn_cache_path(arena, &tools.cache, name), *argv[64];
    const char *texts = getenv("SINTER_KEEP_KERNELS");
    if (sn_cache_has(arena, &tools.cache, name) && !texts) return kept;
    assert_ok(sn_cache_scratch(arena, &tools.cache, &folder));
    const char *source = sn_arena_printf(arena, "%s/%s%s", texts ? texts : folder, hex, ending),
               *object = sn_arena_printf(arena, "%s/%s.so", folder, hex);
    FILE *file = fopen(source, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    int count = 0;
    for (int i = 0; command[i]; i++) argv[count++] = command[i];
    argv[count++] = source, argv[count++] = "-o", argv[count++] = object;
    for (int i = 0; link[i]; i++) argv[count++] = link[i];
    argv[count] = NULL;
    if (run_program(argv) != 0) fail_msg("%s does not compile", source);
    assert_ok(sn_cache_keep(arena, &tools.cache, object, name));
    return kept;
}

/* The shared object, in `arena`, of text behind the emulator's headers, with the calls for the check of accesses. */
static inline const char *emulated_object(Arena *arena, const char *text) {
    static const char *const command[] = {"g++",
                                          "@" SN_TESTS "/emulator/kernel.opts",
                                          "-fsanitize=thread",
                                          "-I",
                                          SN_TESTS "/emulator",
                                          "-I",
                                          SN_TESTS "/../codegen/device",
                                          NULL};
    static const char *const link[] = {"@" SN_TESTS "/emulator/link.opts", NULL};
    static const char *const reads[] = {SN_TESTS "/emulator/emulator.h",
                                        SN_TESTS "/emulator/launch.h",
                                        SN_TESTS "/emulator/probe.cu",
                                        SN_TESTS "/../codegen/device/prelude.cuh",
                                        SN_TESTS "/emulator/kernel.opts",
                                        SN_TESTS "/emulator/link.opts",
                                        NULL};
    return compile_kept(arena, command, link, reads, ".cpp", text);
}

#endif
