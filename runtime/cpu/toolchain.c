#include "toolchain.h"
#include "features.h"
#include "process.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

/* -ffp-contract lets a multiply and an add become one instruction; nothing here lets sums be reordered or NaN
 * be ignored: what may be reassociated, the generator writes that way itself. */
const char *const sn_kernel_flags[] = {"-std=gnu11",
                                       "-O3",
                                       "-march=native",
                                       "-fPIC",
                                       "-fno-math-errno",
                                       "-fno-trapping-math",
                                       "-ffp-contract=fast",
                                       "-fno-strict-aliasing",
                                       "-fwrapv", /* integer tensors wrap, as ONNX has it */
                                       "-fno-stack-protector",
                                       "-fno-semantic-interposition",
                                       "-w",
                                       NULL};

/* Changes when what the cache holds changes meaning. */
static const char format[] = "1";

enum { LINES_SHOWN = 12, MACROS_MOST = 128 << 10 };

/* At most `size` - 1 bytes of a file; "" when it cannot be read. Files of /proc have no size to ask for. */
static void read_some(const char *path, char *out, size_t size) {
    out[0] = '\0';
    FILE *file = fopen(path, "re");
    if (!file) return;
    out[fread(out, 1, size - 1, file)] = '\0';
    fclose(file);
}

/* What a compiler says is written to the file system that it may have found full: `output` lies in a scratch folder of the
 * cache. */
static Status failed_silently(const char *compiler, const char *what, const char *output) {
    struct statvfs disk;
    int length = (int)strlen(output);
    for (int names = 0; names < 2; names++)
        while (length > 0 && output[--length] != '/') continue;
    if (statvfs(output, &disk) != 0) return sn_fail(SN_COMPILER, "%s: %s", compiler, what);
    return sn_fail(
        SN_COMPILER,
        "%s: %s without a word; %.*s has %.1f MiB of space left (SINTER_CACHE names another folder)",
        compiler, what, length, output, (double)disk.f_bavail * (double)disk.f_frsize * 0x1p-20);
}

Status sn_toolchain_failure(const char *compiler, const char *what, const char *output) {
    char text[2048];
    read_some(output, text, sizeof text);
    char *end = text;
    for (int line = 0; line < LINES_SHOWN && *end; line++) {
        end += strcspn(end, "\n");
        if (*end) end++;
    }
    *end = '\0';
    while (end > text && end[-1] == '\n') *--end = '\0';
    if (!*text) return failed_silently(compiler, what, output);
    return sn_fail(SN_COMPILER, "%s: %s:\n%s", compiler, what, text);
}

/* What tells one processor from another: the first paragraph of cpuinfo, without the lines that change by
 * themselves. */
static Hash processor(Hash seed) {
    char text[8192];
    read_some("/proc/cpuinfo", text, sizeof text);
    char *end = strstr(text, "\n\n");
    if (end) *end = '\0';
    for (char *line = text; *line;) {
        size_t length = strcspn(line, "\n");
        bool changes = strncmp(line, "cpu MHz", 7) == 0 || strncasecmp(line, "bogomips", 8) == 0;
        if (!changes) seed = sn_hash(seed, line, length);
        line += length + (line[length] == '\n');
    }
    return seed;
}

static Status find_compiler(Arena *arena, const char **out) {
    const char *chosen = getenv("SINTER_CC");
    if (chosen && *chosen) {
        *out = sn_process_find(arena, chosen);
        if (!*out) return sn_fail(SN_COMPILER, "SINTER_CC: %s cannot be executed", chosen);
        return NULL;
    }
    static const char *const usual[] = {"cc", "gcc", "clang"};
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
        if ((*out = sn_process_find(arena, usual[i]))) return NULL;
    return sn_fail(SN_COMPILER, "no C compiler: none of cc, gcc and clang is in PATH; set SINTER_CC");
}

static bool defines(const char *text, const char *macro) {
    size_t length = strlen(macro);
    for (const char *at = text; (at = strstr(at, macro)); at += length)
        if (at[length] == ' ' && at > text && at[-1] == ' ') return true;
    return false;
}

/* `cc FLAGS -E -dM -x c /dev/null`: every macro that the compiler predefines. */
static Status ask_macros(Arena *arena, const char *compiler, const char *output) {
    SN_VEC(const char *) argv = {0};
    sn_push(arena, &argv, compiler);
    for (const char *const *flag = sn_kernel_flags; *flag; flag++) sn_push(arena, &argv, *flag);
    static const char *const rest[] = {"-E", "-dM", "-x", "c", "/dev/null", NULL};
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++) sn_push(arena, &argv, rest[i]);
    Process process = {.argv = argv.at, .output = output};
    TRY(sn_process_run(&process, 1, 1));
    char *text = sn_arena_alloc(arena, MACROS_MOST);
    read_some(output, text, MACROS_MOST);
    if (process.exit_code == 0 && defines(text, "__VERSION__")) return NULL;
    return sn_toolchain_failure(compiler, "it does not know this processor (-march=native)", output);
}

static Status macros(Arena *arena, Toolchain *tools, const struct stat *info, const char **out) {
    Hash key = sn_hash_string((Hash){0}, format);
    key = sn_hash_string(key, tools->compiler);
    key = sn_hash_u64(key, (uint64_t)info->st_size);
    key = sn_hash_u64(key, (uint64_t)info->st_mtim.tv_sec);
    key = sn_hash_u64(key, (uint64_t)info->st_mtim.tv_nsec);
    for (const char *const *flag = sn_kernel_flags; *flag; flag++) key = sn_hash_string(key, *flag);
    char hex[33];
    sn_hash_hex(processor(key), hex);
    const char *name = sn_arena_printf(arena, "macros-%s", hex);
    if ((*out = sn_cache_read(arena, &tools->cache, name))) return NULL;

    Arena *scratch = sn_arena_child(arena);
    const char *folder;
    Status status = sn_cache_scratch(scratch, &tools->cache, &folder);
    if (!status) {
        const char *output = sn_arena_printf(scratch, "%s/macros", folder);
        status = ask_macros(scratch, tools->compiler, output);
        if (!status) status = sn_cache_keep(scratch, &tools->cache, output, name);
    }
    sn_arena_free(scratch);
    if (status) return status;
    *out = sn_cache_read(arena, &tools->cache, name);
    return *out ? NULL : sn_fail(SN_IO, "%s/%s cannot be read back", tools->cache.path, name);
}

/* What the key is made of, so that a cache can tell what has changed. */
static const char *about(Arena *arena, const Toolchain *tools, const struct stat *info, const char *macros) {
    Hash flags = {0};
    for (const char *const *flag = sn_kernel_flags; *flag; flag++) flags = sn_hash_string(flags, *flag);
    const char *version = strstr(macros, " __VERSION__ ");
    version = version ? version + strlen(" __VERSION__ ") : "";
    return sn_arena_printf(
        arena, "generator %s\ncompiler %s, %lld bytes, version %.*s\nflags %016llx\nprocessor %s\n", format,
        tools->compiler, (long long)info->st_size, (int)strcspn(version, "\n"), version,
        (unsigned long long)flags.lo, tools->features);
}

Status sn_toolchain_open(Arena *arena, const char *cache_dir, Toolchain *out) {
    *out = (Toolchain){0};
    TRY(sn_cache_open(arena, cache_dir, &out->cache));
    TRY(find_compiler(arena, &out->compiler));
    struct stat info;
    if (stat(out->compiler, &info) != 0) return sn_fail(SN_COMPILER, "%s cannot be read", out->compiler);
    const char *text;
    TRY(macros(arena, out, &info, &text));
    out->key = sn_hash_string(sn_hash_string((Hash){0}, format), out->compiler);
    out->key = sn_hash_u64(out->key, (uint64_t)info.st_size);
    out->key = sn_hash_string(out->key, text);
    for (const char *const *flag = sn_kernel_flags; *flag; flag++) out->key = sn_hash_string(out->key, *flag);
    out->features = sn_features_required(arena, text);
    out->about = about(arena, out, &info, text);
    out->before = sn_cache_read(arena, &out->cache, SN_TOOLCHAIN_NOTE);
    out->vector_bytes = defines(text, "__AVX512F__") ? 64 : defines(text, "__AVX__") ? 32 : 16;
    out->vector_registers = defines(text, "__AVX512F__") || defines(text, "__aarch64__") ? 32 : 16;
    return NULL;
}
