/* A program that embeds Sinter, with nothing but the public header and the shared library: it ignores
 * SIGCHLD, and gets its floating-point state, its files and its threads back. Silent when all is well. Usage:
 * host MODEL CACHE; the model has one input of int64[2, 7]. */
#include <sinter/sinter.h>

#include <dirent.h>
#include <fenv.h>
#include <float.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { LOGITS = 2 * 7 * 67 };

static bool fine(sn_Error *error) {
    if (!error) return true;
    fprintf(stderr, "error %d: %s\n", (int)sn_error_code(error), sn_error_message(error));
    sn_error_free(error);
    return false;
}

static int entries(const char *path) {
    int count = 0;
    DIR *folder = opendir(path);
    while (folder && readdir(folder)) count++;
    if (folder) closedir(folder);
    return count;
}

static bool keeps_small_numbers(void) {
    volatile float small = FLT_MIN;
    small = small / 4;
    return small > 0 && small * 4 == FLT_MIN;
}

/* `logits`: 2 * 7 * 67 numbers. */
static bool run(const sn_Program *program, float *logits) {
    int64_t tokens[2][7] = {{1, 2, 3, 4, 5, 6, 7}, {7, 6, 5, 4, 3, 2, 1}};
    sn_Tensor input = {.element_type = 7, .rank = 2, .extent = (int64_t[]){2, 7}, .data = tokens}, output;
    sn_Context *context;
    if (!fine(sn_context_new(program, NULL, &context))) return false;
    bool good = fine(sn_context_set_input(context, 0, &input)) && fine(sn_context_run(context)) &&
                fine(sn_context_output(context, 0, &output));
    good = good && output.element_type == 1 && output.extent[0] == 2 && output.extent[1] == 7 &&
           output.extent[2] == 67;
    if (good) memcpy(logits, output.data, LOGITS * sizeof *logits);
    sn_context_free(context);
    return good;
}

static bool compile_and_run(const char *path, const char *cache, float *logits) {
    sn_Model *model;
    sn_Program *program;
    sn_CompileOptions options = {.size = sizeof options, .threads = 3, .cache_dir = cache};
    if (!fine(sn_model_open(path, &model))) return false;
    bool good = fine(sn_compile(model, &options, &program));
    sn_model_close(model);
    if (!good) return false;
    good = run(program, logits);
    sn_program_free(program);
    return good;
}

int main(int count, char **words) {
    if (count != 3) return 2;
    signal(SIGCHLD, SIG_IGN);
    bool good = keeps_small_numbers();
    int files = entries("/proc/self/fd"), threads = entries("/proc/self/task");
    float logits[2][LOGITS] = {{0}};
    good = good && compile_and_run(words[1], words[2], logits[0]);
    fesetround(FE_UPWARD);
    int traps = FE_DIVBYZERO | FE_OVERFLOW | FE_INVALID;
    feenableexcept(traps);
    good = good && compile_and_run(words[1], words[2], logits[1]);
    if (fegetround() != FE_UPWARD || fegetexcept() != traps)
        good = false, fprintf(stderr, "a state is lost\n");
    fesetenv(FE_DFL_ENV);
    if (memcmp(logits[0], logits[1], sizeof logits[0]) != 0)
        good = false, fprintf(stderr, "results differ\n");
    if (entries("/proc/self/fd") != files) good = false, fprintf(stderr, "files were left open\n");
    if (entries("/proc/self/task") != threads) good = false, fprintf(stderr, "threads were left\n");
    if (!keeps_small_numbers()) good = false, fprintf(stderr, "small numbers have become zero\n");
    sn_Model *model;
    sn_Error *error = sn_model_open("/nonexistent", &model);
    good = good && sn_error_code(error) == SN_IO && strstr(sn_error_message(error), "/nonexistent");
    sn_error_free(error);
    return good ? 0 : 1;
}
