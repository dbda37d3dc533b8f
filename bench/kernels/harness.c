#include "harness.h"
#include "environment.h"
#include "guard.h"
#include "onnx_writer.h"
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- options ---- */

static bool read_threads(KernelBench *bench, const char *text) {
    bench->thread_count = 0;
    while (*text) {
        char *end;
        long threads = strtol(text, &end, 10);
        if (end == text || threads < 1 || threads > 1024 || bench->thread_count == SN_KERNEL_THREADS_MOST ||
            (*end && *end != ','))
            return false;
        bench->threads[bench->thread_count++] = (int)threads;
        text = end + (*end == ',');
    }
    return bench->thread_count > 0;
}

/* True when words[*i] is an option; what stands behind it is taken too. */
static bool read_option(KernelBench *bench, int count, char **words, int *i) {
    const char *word = words[*i], *next = *i + 1 < count ? words[*i + 1] : NULL;
    struct {
        const char *name;
        bool *flag;
    } flags[] = {{"--quick", &bench->quick},
                 {"--json", &bench->json},
                 {"--hot", &bench->hot},
                 {"--bf16", &bench->bf16}};
    for (size_t k = 0; k < sizeof flags / sizeof *flags; k++)
        if (strcmp(word, flags[k].name) == 0) return *flags[k].flag = true;
    if (strcmp(word, "--no-peers") == 0) {
        bench->peers = false;
        return true;
    }
    if (!next) return false;
    ++*i;
    if (strcmp(word, "--threads") == 0) return read_threads(bench, next);
    if (strcmp(word, "--peer") == 0) return (bench->peer = next);
    if (strcmp(word, "--shape") != 0 || bench->shape_count == SN_KERNEL_SHAPES_MOST) return false;
    bench->shape[bench->shape_count++] = next;
    return true;
}

bool sn_kernel_bench_options(KernelBench *bench, int count, char **words, const char *shape_help, int *code) {
    *bench = (KernelBench){.program = words[0], .peers = true, .thread_count = 1, .threads = {1}};
    int most = sn_cpu_count();
    if (most > 1) bench->threads[bench->thread_count++] = most;
    bool help = count > 1 && (strcmp(words[1], "-h") == 0 || strcmp(words[1], "--help") == 0), good = !help;
    for (int i = 1; i < count && good; i++) good = read_option(bench, count, words, &i);
    *code = help ? 0 : 2;
    if (good) return true;
    fprintf(
        help ? stdout : stderr,
        "usage: %s [options]\n"
        "  --shape %s   instead of all shapes; may be repeated\n"
        "  --threads 1,2   one table row each; the default: 1 and all processors\n"
        "  --quick         few shapes and turns: whether it works\n"
        "  --no-peers      without oneDNN, and without --peer\n"
        "  --peer COMMAND  another participant: \"PYTHON bench/peers/torch_kernels.py\"\n"
        "  --hot           the same data in every run, which caches may keep; otherwise operands that are\n"
        "                  weights come from memory, as in a model\n"
        "  --bf16          operands of bf16, held against matrix tiles or dot products of these (products "
        "alone)\n"
        "  --json          instead of Markdown\n",
        words[0], shape_help);
    return false;
}

/* ---- the peer's process ---- */

enum { PEER_WORDS_MOST = 16 };

static void run_peer(char *command, int input, int output) {
    char *words[PEER_WORDS_MOST + 1] = {0}, *rest = command;
    for (int i = 0; i < PEER_WORDS_MOST && (words[i] = strtok_r(rest, " ", &rest)); i++) {
    }
    if (dup2(input, STDIN_FILENO) >= 0 && dup2(output, STDOUT_FILENO) >= 0 && words[0])
        execvp(words[0], words);
    _exit(127);
}

static Status start_peer(KernelBench *bench) {
    int to[2], from[2];
    char *command = sn_arena_string(bench->arena, bench->peer);
    if (pipe2(to, O_CLOEXEC)) return sn_fail(SN_IO, "a pipe to the peer");
    if (pipe2(from, O_CLOEXEC)) return close(to[0]), close(to[1]), sn_fail(SN_IO, "a pipe from the peer");
    pid_t process = fork();
    if (process == 0) run_peer(command, to[0], from[1]);
    close(to[0]);
    close(from[1]);
    PeerProcess *peer = &bench->peer_process;
    *peer = (PeerProcess){process > 0 ? process : 0, fdopen(to[1], "w"), fdopen(from[0], "r")};
    bool good = process > 0 && peer->to && peer->from;
    return good ? NULL : sn_fail(SN_IO, "the peer '%s' cannot be started", bench->peer);
}

static void stop_peer(PeerProcess *peer) {
    if (peer->to) fclose(peer->to); /* the end of its input ends it */
    if (peer->from) fclose(peer->from);
    if (peer->process) waitpid(peer->process, NULL, 0);
}

/* The answer to a line: `count` numbers, whose sum is *seconds, then `ok`. */
static Status hear(KernelBench *bench, int count, double *seconds) {
    char line[512];
    *seconds = 0;
    for (int i = 0; fgets(line, sizeof line, bench->peer_process.from); i++) {
        line[strcspn(line, "\n")] = '\0';
        char *end;
        double number = strtod(line, &end);
        if (strcmp(line, "ok") == 0 && i == count) return NULL;
        if (end == line || *end || i >= count) return sn_fail(SN_DEVICE, "the peer says: %s", line);
        *seconds += number;
    }
    return sn_fail(SN_DEVICE, "the peer '%s' has ended", bench->peer);
}

Status sn_kernel_peer_case(KernelBench *bench, const char *line) {
    double none;
    fprintf(bench->peer_process.to, "%s\n", line);
    fflush(bench->peer_process.to);
    return hear(bench, 0, &none);
}

Status sn_kernel_peer_run(void *user, int count, double *seconds) {
    KernelBench *bench = user;
    fprintf(bench->peer_process.to, "run %d\n", count);
    fflush(bench->peer_process.to);
    return hear(bench, count, seconds);
}

/* ---- opening and closing ---- */

Status sn_kernel_bench_open(KernelBench *bench) {
    const char *place = getenv("TMPDIR");
    int length = snprintf(bench->folder, sizeof bench->folder, "%s/sinter-bench-XXXXXX",
                          place && *place ? place : "/tmp");
    if (length >= (int)sizeof bench->folder || !mkdtemp(bench->folder)) {
        *bench->folder = '\0';
        return sn_fail(SN_IO, "no temporary folder can be made: see TMPDIR");
    }
    signal(SIGPIPE, SIG_IGN); /* a peer that ended is said by what it answers */
    if (bench->peer && bench->peers) TRY(start_peer(bench));
    for (int i = 0; i < bench->thread_count; i++) {
        TRY(sn_peak_meter_new(bench->threads[i], NULL, &bench->meter[i]));
        if (bench->bf16) TRY(sn_peak_meter_dots(bench->meter[i]));
        TRY(bench->quick ? sn_peak_meter_fma(bench->meter[i], NULL) : sn_peak_meter_all(bench->meter[i]));
    }
    return NULL;
}

static const char *model_path(KernelBench *bench) {
    return sn_arena_printf(bench->arena, "%s/model.onnx", bench->folder);
}

void sn_kernel_bench_close(KernelBench *bench) {
    stop_peer(&bench->peer_process);
    for (int i = 0; i < bench->thread_count; i++) sn_peak_meter_free(bench->meter[i]);
    if (!*bench->folder) return;
    unlink(model_path(bench));
    rmdir(bench->folder);
}

Status sn_kernel_model(KernelBench *bench, Writer *writer, sn_Model **out) {
    TRY(sn_writer_save(writer, model_path(bench), false, NULL, NULL));
    return sn_model_open(model_path(bench), out);
}

float *sn_kernel_random(int64_t count, uint64_t seed) {
    size_t bytes = ((size_t)count * sizeof(float) + 63) / 64 * 64;
    float *data = aligned_alloc(64, bytes ? bytes : 64);
    Tensor recipe = {.dtype = SN_F32,
                     .rank = 1,
                     .extent = &count,
                     .count = count,
                     .payload = SN_PAYLOAD_RECIPE,
                     .seed = seed,
                     .scale = 1};
    if (data) sn_tensor_copy(&recipe, 0, count, data);
    return data;
}

/* ---- printing ---- */

Status sn_kernel_bench_print(KernelBench *bench, const Table *const *table, int count) {
    Table environment = sn_environment_table(), peaks = sn_peaks_table();
    sn_environment_fill(bench->arena, &environment, 1,
                        bench->quick ? SN_KERNEL_TURNS_QUICK : SN_KERNEL_TURNS);
    for (int i = 0; i < bench->thread_count; i++)
        sn_peaks_fill(bench->arena, &peaks, sn_peak_meter_best(bench->meter[i]));
    const Table **all = SN_ARRAY(bench->arena, const Table *, count + 2);
    all[0] = &environment;
    all[1] = &peaks;
    for (int i = 0; i < count; i++) all[2 + i] = table[i];
    Text text = sn_text(bench->arena);
    TRY(sn_report_print(&text, bench->json ? SN_REPORT_JSON : SN_REPORT_MD, all, count + 2));
    return fputs(sn_text_string(&text), stdout) < 0 ? sn_fail(SN_IO, "standard output cannot be written")
                                                    : NULL;
}
