/* Compiles a device source as the runtime would and opens the result; for tests and benchmarks of the device
 * files, which need the generated code's own flags, several widths and both compilers. */
#ifndef SN_TESTS_DEVICE_BUILD_H
#define SN_TESTS_DEVICE_BUILD_H

#include <dlfcn.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* `source` is a path below the repository; `defines` are separated by spaces. Returns a dlopen handle that
 * the caller closes, or NULL, with the reason on stderr. */
static inline void *build_open(const char *compiler, const char *source, const char *defines) {
    char here[4096], input[8192], include[8192], folder[] = "/tmp/sinter-device-XXXXXX", output[64],
                                                 copy[2048];
    if (strlen(__FILE__) >= sizeof here || strlen(defines) >= sizeof copy || !mkdtemp(folder)) return NULL;
    char *root = dirname(dirname(dirname(strcpy(here, __FILE__)))); /* ROOT/tests/device/build.h */
    snprintf(input, sizeof input, "%s/%s", root, source);
    snprintf(include, sizeof include, "-I%s/codegen/device", root);
    snprintf(output, sizeof output, "%s/probe.so", folder);
    const char *arguments[64] = {compiler,
                                 "-std=gnu11",
                                 "-O3",
                                 "-march=native",
                                 "-fwrapv",
                                 "-fno-math-errno",
                                 "-ffp-contract=fast",
                                 "-fno-trapping-math",
                                 "-fno-strict-aliasing",
                                 "-Wall",
                                 "-Wextra",
                                 "-Werror",
                                 "-Wno-psabi",
                                 "-fPIC",
                                 "-shared",
                                 include,
                                 input,
                                 "-o",
                                 output,
                                 "-lm"};
    int count = 20;
    for (char *word = strtok(strcpy(copy, defines), " "); word && count < 63; word = strtok(NULL, " "))
        arguments[count++] = word;
    pid_t child = fork();
    if (child == 0) {
        execvp(compiler, (char *const *)arguments);
        _exit(127);
    }
    int status = -1;
    if (child < 0 || waitpid(child, &status, 0) != child) status = -1;
    void *handle = status == 0 ? dlopen(output, RTLD_NOW | RTLD_LOCAL) : NULL;
    if (!handle)
        fprintf(stderr, "%s %s %s: %s\n", compiler, source, defines, status ? "does not compile" : dlerror());
    unlink(output);
    rmdir(folder);
    return handle;
}

#endif
