/* The command line: `sinter VERB [arguments] [options]`. Exit status 0: done; 1: it failed, or a comparison
 * differed; 2: the command line was wrong. */
#include "cli.h"
#include "guard.h"
#include "nearest.h"
#include <fcntl.h>
#include <stdlib.h>

typedef struct Verb {
    const char *name, *arguments, *summary;
    int least, most; /* arguments */
    Status (*run)(Cli *cli);
    const OptionId *options;
    const char *notes; /* behind the summary in the verb's help; NULL: none */
} Verb;

static const OptionId make_options[] = {
    OPTION_OUT_FILE,     OPTION_SIZE,   OPTION_LAYERS,  OPTION_D_MODEL, OPTION_HEADS, OPTION_KV_HEADS,
    OPTION_D_FF,         OPTION_VOCAB,  OPTION_CONTEXT, OPTION_OPSET,   OPTION_DTYPE, OPTION_KV_CACHE,
    OPTION_MAKE_DROPOUT, OPTION_STORED, OPTION_WEIGHTS, OPTION_HELP,    OPTION_END};
static const OptionId info_options[] = {OPTION_CONSTANT, OPTION_OUT_FORMAT, OPTION_HELP, OPTION_END};
static const OptionId dump_options[] = {
    OPTION_STAGE,     OPTION_FORMAT,  OPTION_OUT_FILE,  OPTION_MODE,
    OPTION_TARGET,    OPTION_CAST,    OPTION_PRECISION, OPTION_TUNING,
    OPTION_REMARKS,   OPTION_BEFORE,  OPTION_AFTER,     OPTION_PRINT_AFTER_ALL,
    OPTION_LOSS,      OPTION_LOGITS,  OPTION_OPTIMIZER, OPTION_CLIP,
    OPTION_GRADIENTS, OPTION_DROPOUT, OPTION_MASTER,    OPTION_CONSTANT,
    OPTION_HELP,      OPTION_END};
static const OptionId run_options[] = {
    OPTION_INPUT,       OPTION_SHAPE, OPTION_OUTPUT,     OPTION_EXPECT, OPTION_RTOL,
    OPTION_ATOL,        OPTION_DATA,  OPTION_OUT_FORMAT, OPTION_MODE,   OPTION_DEVICE,
    OPTION_THREADS,     OPTION_CAST,  OPTION_PRECISION,  OPTION_TUNING, OPTION_MEMORY_LIMIT,
    OPTION_NO_DROPOUT,  OPTION_STATE, OPTION_STEPS,      OPTION_PROMPT, OPTION_TOKENS,
    OPTION_TEMPERATURE, OPTION_TOP_K, OPTION_SEED,       OPTION_WINDOW, OPTION_LOGITS,
    OPTION_CONSTANT,    OPTION_HELP,  OPTION_END};
static const OptionId bench_options[] = {
    OPTION_SHAPE_SWEEP,   OPTION_INPUT,        OPTION_MODES,         OPTION_ITERS,     OPTION_WARMUP,
    OPTION_THREADS_SWEEP, OPTION_DEVICE,       OPTION_AUTOCAST,      OPTION_PRECISION, OPTION_KERNELS,
    OPTION_RANGE,         OPTION_MEMORY,       OPTION_OUT_FORMAT,    OPTION_TUNING,    OPTION_STATE,
    OPTION_STEPS,         OPTION_MEMORY_LIMIT, OPTION_NO_DROPOUT,    OPTION_PHASES,    OPTION_LOSS,
    OPTION_LOGITS,        OPTION_OPTIMIZER,    OPTION_CLIP,          OPTION_GRADIENTS, OPTION_DROPOUT,
    OPTION_SEED,          OPTION_MASTER,       OPTION_MEMORY_BUDGET, OPTION_PEER,      OPTION_ROOFLINE,
    OPTION_MODE,          OPTION_CONSTANT,     OPTION_NO_PEAKS,      OPTION_HELP,      OPTION_END};
static const OptionId compile_options[] = {
    OPTION_OUT_FILE,  OPTION_LEDGER,        OPTION_TABLE_FORMAT, OPTION_MODE,      OPTION_DEVICE,
    OPTION_TARGET,    OPTION_THREADS,       OPTION_CAST,         OPTION_PRECISION, OPTION_TUNING,
    OPTION_STATE,     OPTION_NO_DROPOUT,    OPTION_PHASES,       OPTION_LOSS,      OPTION_LOGITS,
    OPTION_OPTIMIZER, OPTION_CLIP,          OPTION_GRADIENTS,    OPTION_DROPOUT,   OPTION_SEED,
    OPTION_MASTER,    OPTION_MEMORY_BUDGET, OPTION_SHAPE,        OPTION_CONSTANT,  OPTION_HELP,
    OPTION_END};
static const OptionId cache_options[] = {OPTION_CLEAR, OPTION_LIMIT, OPTION_OUT_FORMAT, OPTION_HELP,
                                         OPTION_END};
static const OptionId tune_options[] = {OPTION_OUT_FILE, OPTION_SHAPE,     OPTION_INPUT,     OPTION_THREADS,
                                        OPTION_ITERS,    OPTION_DEVICE,    OPTION_PRECISION, OPTION_LOSS,
                                        OPTION_LOGITS,   OPTION_OPTIMIZER, OPTION_CLIP,      OPTION_CONSTANT,
                                        OPTION_HELP,     OPTION_END};
static const OptionId train_options[] = {OPTION_TOKEN_DATA,    OPTION_EXAMPLES,
                                         OPTION_LOSS,          OPTION_TEXT,
                                         OPTION_TOKEN_BYTES,   OPTION_HELD_OUT,
                                         OPTION_OUT_FILE,      OPTION_TRAIN_STEPS,
                                         OPTION_BATCH,         OPTION_WINDOW,
                                         OPTION_ACCUMULATE,    OPTION_LR,
                                         OPTION_MIN_LR,        OPTION_WARMUP_STEPS,
                                         OPTION_BETA1,         OPTION_BETA2,
                                         OPTION_EPS,           OPTION_WEIGHT_DECAY,
                                         OPTION_CLIP,          OPTION_MASTER,
                                         OPTION_SMOOTHING,     OPTION_DROPOUT,
                                         OPTION_IGNORE_INDEX,  OPTION_TRAINED,
                                         OPTION_FROZEN,        OPTION_SEED,
                                         OPTION_MEMORY_BUDGET, OPTION_LOGITS,
                                         OPTION_INPUT,         OPTION_CONSTANT,
                                         OPTION_EVAL_EVERY,    OPTION_EVAL_BATCHES,
                                         OPTION_CHECKPOINT,    OPTION_CHECKPOINT_EVERY,
                                         OPTION_RESUME,        OPTION_EXPORT,
                                         OPTION_ON_NAN,        OPTION_MODE,
                                         OPTION_DEVICE,        OPTION_PRECISION,
                                         OPTION_CAST,          OPTION_TUNING,
                                         OPTION_THREADS,       OPTION_TRAIN_FORMAT,
                                         OPTION_HELP,          OPTION_END};
static const OptionId doctor_options[] = {OPTION_NO_PEAKS, OPTION_OUT_FORMAT, OPTION_HELP, OPTION_END};

static const char run_notes[] =
    "  sinter run model.onnx --input input_ids=@ids.npy --output logits=@logits.npy\n"
    "  sinter run model.onnx --shape input_ids=2x64 --expect logits=@reference.npy\n"
    "  sinter run model.onnx --data test_data_set_0\n"
    "\n"
    "A table sums up the outputs. With --prompt a language model of bytes continues a text instead.\n";

static const char bench_notes[] =
    "  sinter bench model.onnx --shape input_ids=4x256 --iters 100\n"
    "  sinter bench model.onnx --shape input_ids=4x256 --kernels\n"
    "  sinter bench model.onnx --shape input_ids=1x64,1x128,1x256 -o json >times.json\n"
    "\n"
    "Eager runs each operator of the model as a kernel of its own; compiled is the model fused. They take\n"
    "turns, so that what else the machine does is felt by both. JSON and CSV are in seconds and bytes.\n"
    "  p90, p99      90 and 99 of 100 runs took no longer (of at least 10 and 100 timed runs)\n"
    "  speed-up      eager's median by the row's\n"
    "  of peak       operations a second, of the multiply-adds that the same threads did before and after\n"
    "  peak memory   activations, outputs, scratch and constants\n"
    "  launches      kernels that a run starts\n"
    "  compile       from the imported model to a program; short where the kernel cache has the kernels\n";

static const char dump_notes[] =
    "  sinter dump model.onnx                      the fused graph: each cluster becomes a kernel\n"
    "  sinter dump model.onnx --format dot | dot -Tsvg >model.svg\n"
    "  sinter dump model.onnx --stage plan         what a run launches, and its buffers\n"
    "  sinter dump model.onnx --stage kernels      the generated C; CUDA C++ with --target cuda:sm_90a\n";

static const char make_notes[] =
    "  sinter make llama --size S -o llama.onnx\n"
    "\n"
    "The file holds a rule for its weights, which are random, and is small; other runtimes need --stored.\n";

static const char compile_notes[] =
    "With -o the program becomes one file, weights included, that run, bench, info and dump take in\n"
    "place of a model, where there is neither the model nor a compiler. Such a file contains code:\n"
    "running it is trusting whoever made it. Without -o, or with --ledger, a table says where the time\n"
    "went. With --phases step the program is a step of training, weights and optimizer's states included,\n"
    "of which `bench` times all phases; --memory-budget is then for the sizes of --shape.\n";

static const char train_notes[] =
    "  sinter train model.onnx --data text.txt --steps 3000 --checkpoint model.ck -o trained.onnx\n"
    "  sinter train model.onnx --loss mse --examples x=@x.npy --examples targets=@y.npy -o trained.onnx\n"
    "\n"
    "With --data, the model's integer input gets windows of it, and its logits are compared with the\n"
    "ids that follow. With --examples, the output that --logits names (the first of floats) is compared\n"
    "with \"labels\" (cross_entropy) or \"targets\" (mse). Other inputs (positions, masks) are filled by\n"
    "what they are used for, or by --input. AdamW updates the initializers. What a step draws depends on\n"
    "--seed and the step alone: equal options give equal bits, interrupted and resumed or not. Ctrl-C\n"
    "ends the step, writes the checkpoint and exits with 1; so does a step that fails on its data, with\n"
    "what was before it.\n";

static const char tune_notes[] =
    "Every product with weights is timed in a few forms, as part of the model with these shapes; a form\n"
    "that is clearly quicker than the usual one gets a line of the file (-o; stdout without). On a GPU the\n"
    "forms are the generated kernel and what cuBLASLt proposes. With --loss the products are those of a\n"
    "training step. Lines that the file has for other products and other kinds of machine stay. Nothing\n"
    "but --tuning reads it: equal inputs, kind of machine and file give equal bits.\n";

static const Verb verbs[] = {
    {"info", "MODEL", "inputs, outputs, parameters, work, operators, and all that is unsupported", 1, 1,
     sn_cli_info, info_options, NULL},
    {"run", "MODEL", "run a model, and compare its outputs or continue a text", 1, 1, sn_cli_run, run_options,
     run_notes},
    {"bench", "MODEL...", "time models, eager beside compiled", 1, 1 << 20, sn_cli_bench, bench_options,
     bench_notes},
    {"compile", "MODEL", "compile a model ahead of time, into a file or into the cache", 1, 1, sn_cli_compile,
     compile_options, compile_notes},
    {"dump", "MODEL", "print the model at a stage of its compilation", 1, 1, sn_cli_dump, dump_options,
     dump_notes},
    {"train", "MODEL", "train a model on a file of tokens, or of examples, and write it with its new weights",
     1, 1, sn_cli_train, train_options, train_notes},
    {"tune", "MODEL", "measure what no fact predicts, for --tuning", 1, 1, sn_cli_tune, tune_options,
     tune_notes},
    {"make", "KIND", "write a benchmark model: gpt2, llama, bert or attention", 1, 1, sn_cli_make,
     make_options, make_notes},
    {"cache", "", "what the kernel cache holds; --clear and --limit make room in it", 0, 0, sn_cli_cache,
     cache_options, NULL},
    {"doctor", "", "what this machine offers: compiler, processor, cache, GPU libraries, peaks", 0, 0,
     sn_cli_doctor, doctor_options, NULL},
};
enum { VERB_COUNT = sizeof verbs / sizeof *verbs };

static const Verb *find_verb(const char *name) {
    for (int i = 0; i < VERB_COUNT; i++)
        if (strcmp(verbs[i].name, name) == 0) return &verbs[i];
    return NULL;
}

static void print_verbs(FILE *file) {
    fprintf(file, "usage: sinter VERB [arguments] [options]\n\n");
    for (int i = 0; i < VERB_COUNT; i++) fprintf(file, "  %-8s %s\n", verbs[i].name, verbs[i].summary);
    fprintf(file,
            "\n`sinter VERB -h` explains one; `sinter --version` prints the version\n"
            "\n"
            "Environment:\n"
            "  SINTER_CACHE   folder of compiled kernels ($XDG_CACHE_HOME/sinter, or ~/.cache/sinter)\n"
            "  SINTER_CC      C compiler of the kernels for processors (the first of cc, gcc and clang)\n"
            "  SINTER_MATRIX  0: no matrix tiles, where the processor has them\n"
            "  SINTER_LIBCUDA, SINTER_LIBNVRTC, SINTER_LIBCUBLASLT\n"
            "                 files of NVIDIA's libraries, where they are not found by themselves\n");
}

static void print_usage(FILE *file, const Verb *verb) {
    fprintf(file, "usage: sinter %s%s%s [options]\n", verb->name, *verb->arguments ? " " : "",
            verb->arguments);
}

static void print_help(Arena *arena, const Verb *verb) {
    print_usage(stdout, verb);
    Text text = sn_text(arena);
    sn_options_print(&text, verb->options);
    printf("%s\n%s\n%s", verb->summary, verb->notes ? verb->notes : "", sn_text_string(&text));
}

typedef struct Request {
    const Verb *verb;
    int count;
    char **words;
    Cli *cli;
} Request;

static Status run_verb(void *argument) {
    Request *request = argument;
    Cli *cli = request->cli;
    const Verb *verb = request->verb;
    Status status =
        sn_options_parse(cli->arena, verb->options, request->count, request->words, &cli->options);
    if (status) {
        cli->usage = true;
        return status;
    }
    if (sn_option_given(&cli->options, OPTION_HELP)) {
        print_help(cli->arena, verb);
        return NULL;
    }
    int count = cli->options.argument_count;
    if (count < verb->least) return sn_cli_usage(cli, "%s is missing", verb->arguments);
    if (count > verb->most)
        return sn_cli_usage(cli, "'%s' is one argument too many", cli->options.argument[verb->most]);
    return verb->run(cli);
}

/* Prints a failure and frees it; what to exit with. */
static int report(Status status, const Cli *cli, const Verb *verb) {
    /* What was printed and could not be written is a failure too: a full disk, a closed pipe. */
    if ((fflush(stdout) != 0 || ferror(stdout)) && !status)
        status = sn_fail(SN_IO, "standard output cannot be written");
    if (!status) return cli->differs ? 1 : 0;
    sn_cli_progress("%s", "");
    bool says = sn_error_code(status) == SN_UNSUPPORTED && !strstr(sn_error_message(status), "unsupported");
    fprintf(stderr, "sinter: %s%s\n", says ? "unsupported: " : "", sn_error_message(status));
    sn_error_free(status);
    if (cli->usage) {
        print_usage(stderr, verb);
        fprintf(stderr, "`sinter %s -h` explains the options\n", verb->name);
    }
    return cli->usage ? 2 : 1;
}

static int run(const Verb *verb, int count, char **words) {
    Cli cli = {.arena = sn_arena_new()};
    Request request = {verb, count, words, &cli};
    Status status =
        cli.arena ? sn_guarded(cli.arena, run_verb, &request) : sn_fail(SN_NO_MEMORY, "out of memory");
    int code = report(status, &cli, verb);
    sn_arena_free(cli.arena);
    return code;
}

/* A standard file that is closed would be the next file that is opened: a table would end up in it. */
static void hold_standard_files(void) {
    for (int file = 0; file <= 2; file++)
        if (fcntl(file, F_GETFD) < 0 && open("/dev/null", O_RDONLY) != file) abort();
}

static int unknown_verb(const char *name) {
    Nearest nearest = sn_nearest(name, strlen(name));
    for (int i = 0; i < VERB_COUNT; i++) sn_nearest_offer(&nearest, verbs[i].name);
    fprintf(stderr, "sinter: unknown verb '%s'", name);
    if (nearest.name) fprintf(stderr, "; did you mean %s?", nearest.name);
    fprintf(stderr, "\n`sinter -h` lists those that there are\n");
    return 2;
}

int main(int count, char **words) {
    static char help_word[] = "-h";
    hold_standard_files();
    const char *name = count > 1 ? words[1] : "";
    bool version = strcmp(name, "--version") == 0;
    if (version) printf("sinter %s\n", sn_version());
    bool asked = strcmp(name, "help") == 0;
    bool help = strcmp(name, "-h") == 0 || strcmp(name, "--help") == 0 || (asked && count == 2);
    if (help) print_verbs(stdout);
    if (version || help) return report(NULL, &(Cli){0}, NULL);
    if (asked) name = words[2];
    const Verb *verb = find_verb(name);
    if (verb && asked) return run(verb, 1, (char *[]){help_word});
    if (verb) return run(verb, count - 2, words + 2);
    if (*name) return unknown_verb(name);
    fprintf(stderr, "sinter: a verb is missing\n");
    print_verbs(stderr);
    return 2;
}
