/* The emulated NVRTC: the CUDA text is compiled by g++ behind emulator.h, into a shared object of the host that
 * the emulated driver loads.
 *
 * Its version is one that no NVRTC has, and follows from the emulator's own text, so that nothing is taken from a kernel
 * cache that another one has filled. */
#include "faults.h"
#include "image.h"

extern "C" {
#include "cuda/abi.h"
#define EMU_DECLARE(result, name, parameters) result name parameters;
SN_CUDA_NVRTC(EMU_DECLARE)
}

#include <dlfcn.h>
#include <fcntl.h>
#include <regex>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

enum {
    NVRTC_INVALID_INPUT = 3,
    NVRTC_INVALID_PROGRAM = 4,
    NVRTC_INVALID_OPTION = 5,
    NVRTC_BUILTIN_OPERATION_FAILURE = 7
};

struct Entry {
    std::string name;
    int bound; /* threads; 0: not said */
};

struct _nvrtcProgram {
    std::string source, architecture, log, cubin;
    bool verbose;
};

/* ---- files ---- */

static std::string read_whole(const std::string &path) {
    std::string text;
    char piece[1 << 14];
    FILE *file = fopen(path.c_str(), "rb");
    for (size_t got; file && (got = fread(piece, 1, sizeof piece, file)) > 0;) text.append(piece, got);
    if (file) fclose(file);
    return text;
}

static bool write_whole(const std::string &path, const std::string &text) {
    FILE *file = fopen(path.c_str(), "wb");
    if (!file) return false;
    bool written = fwrite(text.data(), 1, text.size(), file) == text.size();
    return fclose(file) == 0 && written;
}

/* A folder that goes with all that a compilation leaves in it. */
struct Folder {
    char path[32] = "/tmp/sinter-nvrtc-XXXXXX";
    bool there = mkdtemp(path) != NULL;
    std::string operator/(const char *name) const { return std::string(path) + "/" + name; }
    ~Folder() {
        for (const char *name : {"kernel.cpp", "kernel.so", "log"}) unlink((*this / name).c_str());
        rmdir(path);
    }
};

/* ---- compiling ---- */

/* The kernels that the text defines. */
static std::vector<Entry> find_entries(const std::string &source) {
    static const std::regex entry(
        "__global__\\s+void\\s+(__launch_bounds__\\(([^)]*)\\)\\s*)?([A-Za-z_]\\w*)\\s*\\(");
    std::vector<Entry> found;
    for (size_t at = source.find("__global__"); at != std::string::npos;
         at = source.find("__global__", at + 1)) {
        std::cmatch match;
        const char *text = source.c_str() + at;
        if (std::regex_search(text, text + strnlen(text, 300), match, entry,
                              std::regex_constants::match_continuous))
            found.push_back({match[3], atoi(match[2].str().c_str())});
    }
    return found;
}

/* The text, its entries and what the driver wants to know. A prelude that is this build's own comes precompiled. */
static std::string unit_text(const _nvrtcProgram *program, const std::vector<Entry> &entries) {
    std::string unit = program->source + "\n";
    for (const Entry &entry : entries)
        unit += "EMU_ENTRY(" + entry.name + ", " + std::to_string(entry.bound) + ")\n";
    return unit + "extern \"C\" __attribute__((used)) const struct { char text[16]; } emu_image = {\"" +
           program->architecture + "\"};\n";
}

static const char *first_header(const std::string &source) {
    static const std::string prelude = read_whole(EMU_PRELUDE);
    return !prelude.empty() && source.find(prelude) != std::string::npos ? EMU_BUILD "/kernel.h"
                                                                         : EMU_FOLDER "/emulator.h";
}

/* The exit status of g++; what it said is in `log`. */
static int run_compiler(const Folder &folder, const char *header) {
    const char *check = emu_setting("races", 0) ? "-fsanitize=thread" : NULL; /* calls at each access */
    std::string source = folder / "kernel.cpp", object = folder / "kernel.so", log = folder / "log";
    const char *argv[] = {
        EMU_COMPILER,   "@" EMU_FOLDER "/kernel.opts", "-I", EMU_FOLDER,     "-include", header,
        source.c_str(), "@" EMU_FOLDER "/link.opts",   "-o", object.c_str(), check,      NULL};
    posix_spawn_file_actions_t actions;
    pid_t child;
    int state = -1;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 2, log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (posix_spawnp(&child, argv[0], &actions, NULL, (char *const *)argv, environ) == 0)
        waitpid(child, &state, 0);
    posix_spawn_file_actions_destroy(&actions);
    return state;
}

/* What the assembler of a real one reports, in its words, which callers read numbers from. */
static std::string report(const _nvrtcProgram *program, const std::vector<Entry> &entries) {
    std::string text = "ptxas info    : 0 bytes gmem\n";
    for (const Entry &entry : entries)
        text += "ptxas info    : Compiling entry function '" + entry.name + "' for '" +
                program->architecture + "'\nptxas info    : Function properties for " + entry.name +
                "\n    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
                "ptxas info    : Used 32 registers, used 1 barriers, 528 bytes cmem[0]\n";
    return text;
}

/* The loader is not asked to look beside this library, where they are. */
static bool has_builtins(_nvrtcProgram *program) {
    int major, minor;
    nvrtcVersion(&major, &minor);
    std::string name = "libnvrtc-builtins.so." + std::to_string(major) + "." + std::to_string(minor);
    if (dlopen(name.c_str(), RTLD_NOW)) return true;
    program->log = "nvrtc: error: failed to open " + name + ".\n";
    return false;
}

static NvrtcResult compile(_nvrtcProgram *program) {
    Folder folder;
    if (!has_builtins(program)) return NVRTC_BUILTIN_OPERATION_FAILURE;
    std::vector<Entry> entries = find_entries(program->source);
    if (!folder.there || !write_whole(folder / "kernel.cpp", unit_text(program, entries)))
        return NVRTC_OUT_OF_MEMORY;
    int state = run_compiler(folder, first_header(program->source));
    program->log = read_whole(folder / "log");
    program->cubin = read_whole(folder / "kernel.so");
    if (state != 0 || program->cubin.empty()) return NVRTC_COMPILATION;
    if (program->verbose) program->log += report(program, entries);
    return 0;
}

/* ---- the interface ---- */

static const int architectures[] = {75, 80, 86, 87, 88, 89, 90, 100, 103, 110, 120, 121};
enum { ARCHITECTURES = sizeof architectures / sizeof *architectures };

static bool knows(const char *architecture) {
    char *end;
    if (strncmp(architecture, "sm_", 3) != 0) return false;
    long sm = strtol(architecture + 3, &end, 10);
    bool suffix = *end == 0 || (sm >= 90 && strcmp(end, "a") == 0);
    for (int known : architectures)
        if (known == sm) return suffix;
    return false;
}

static NvrtcResult read_option(_nvrtcProgram *program, const char *option) {
    static const char architecture[] = "--gpu-architecture=";
    if (strncmp(option, architecture, sizeof architecture - 1) == 0) {
        program->architecture = option + sizeof architecture - 1;
        return knows(program->architecture.c_str()) ? 0 : NVRTC_INVALID_OPTION;
    }
    if (strcmp(option, "--ptxas-options=-v") == 0) program->verbose = true;
    bool known = strcmp(option, "--ptxas-options=-v") == 0 || strcmp(option, "--std=c++17") == 0;
    return known ? 0 : NVRTC_INVALID_OPTION;
}

const char *nvrtcGetErrorString(NvrtcResult result) {
    switch (result) {
    case 0:
        return "NVRTC_SUCCESS";
    case NVRTC_OUT_OF_MEMORY:
        return "NVRTC_ERROR_OUT_OF_MEMORY";
    case NVRTC_INVALID_INPUT:
        return "NVRTC_ERROR_INVALID_INPUT";
    case NVRTC_INVALID_PROGRAM:
        return "NVRTC_ERROR_INVALID_PROGRAM";
    case NVRTC_INVALID_OPTION:
        return "NVRTC_ERROR_INVALID_OPTION";
    case NVRTC_COMPILATION:
        return "NVRTC_ERROR_COMPILATION";
    case NVRTC_BUILTIN_OPERATION_FAILURE:
        return "NVRTC_ERROR_BUILTIN_OPERATION_FAILURE";
    default:
        return "NVRTC_ERROR unknown";
    }
}

NvrtcResult nvrtcVersion(int *major, int *minor) {
    *major = 99;
    *minor = EMU_VERSION + (emu_setting("races", 0) ? 1 << 24 : 0); /* these are other kernels */
    return 0;
}

NvrtcResult nvrtcGetNumSupportedArchs(int *count) {
    *count = ARCHITECTURES;
    return 0;
}

NvrtcResult nvrtcGetSupportedArchs(int *sm) {
    memcpy(sm, architectures, sizeof architectures);
    return 0;
}

NvrtcResult nvrtcCreateProgram(NvrtcProgram *program, const char *source, const char *, int header_count,
                               const char *const *, const char *const *) {
    if (!source || header_count) return NVRTC_INVALID_INPUT;
    *program = new _nvrtcProgram{source, "sm_75", "", "", false};
    return 0;
}

NvrtcResult nvrtcCompileProgram(NvrtcProgram program, int option_count, const char *const *option) {
    if (!program) return NVRTC_INVALID_PROGRAM;
    for (int i = 0; i < option_count; i++) {
        NvrtcResult result = read_option(program, option[i]);
        if (result) return result;
    }
    if (emu_planted("compile")) {
        program->log = "kernel.cu(1): error: a planted one\n";
        return NVRTC_COMPILATION;
    }
    return compile(program);
}

NvrtcResult nvrtcGetProgramLogSize(NvrtcProgram program, size_t *bytes) {
    if (!program) return NVRTC_INVALID_PROGRAM;
    *bytes = program->log.size() + 1;
    return 0;
}

NvrtcResult nvrtcGetProgramLog(NvrtcProgram program, char *log) {
    if (!program) return NVRTC_INVALID_PROGRAM;
    memcpy(log, program->log.c_str(), program->log.size() + 1);
    return 0;
}

NvrtcResult nvrtcGetCUBINSize(NvrtcProgram program, size_t *bytes) {
    if (!program) return NVRTC_INVALID_PROGRAM;
    *bytes = program->cubin.size();
    return 0;
}

NvrtcResult nvrtcGetCUBIN(NvrtcProgram program, char *cubin) {
    if (!program || program->cubin.empty()) return NVRTC_INVALID_PROGRAM;
    memcpy(cubin, program->cubin.data(), program->cubin.size());
    return 0;
}

NvrtcResult nvrtcDestroyProgram(NvrtcProgram *program) {
    if (!program || !*program) return NVRTC_INVALID_PROGRAM;
    delete *program;
    *program = NULL;
    return 0;
}
