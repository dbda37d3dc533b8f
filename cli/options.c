#include "options.h"
#include "nearest.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

typedef enum OptionKind {
    KIND_FLAG,
    KIND_TEXT,     /* the last one counts */
    KIND_TEXTS,    /* may be given several times */
    KIND_CHOICE,   /* one of `choices` */
    KIND_CHOICES,  /* a comma-separated list of them */
    KIND_INTEGER,  /* least .. most */
    KIND_INTEGERS, /* a comma-separated list */
    KIND_BYTES,    /* a number > 0, with an optional K, M or G (powers of 1024), also spelled KiB */
    KIND_BUDGET,   /* the same, or a share: 50% */
    KIND_NUMBER,   /* a decimal >= 0 */
} OptionKind;

typedef struct Row {
    const char *name;
    OptionKind kind;
    const char *value; /* how help calls it */
    const char *help;
    const char *choices; /* separated by commas */
    int64_t least, most;
} Row;

static const Row table[OPTION_COUNT] = {
    [OPTION_HELP] = {"-h", KIND_FLAG, NULL, "this text"},
    [OPTION_OUT_FILE] = {"-o", KIND_TEXT, "FILE", "where to write"},
    [OPTION_OUT_FORMAT] = {"-o", KIND_CHOICE, "md|csv|json", "how tables are written (md)", "md,csv,json"},

    [OPTION_SIZE] = {"--size", KIND_CHOICE, "S|M|L|XL|2p7",
                     "a size by name (S); single sizes below override it", "S,M,L,XL,2p7"},
    [OPTION_LAYERS] = {"--layers", KIND_INTEGER, "N", "blocks", .least = 1, .most = 10000},
    [OPTION_D_MODEL] = {"--d-model", KIND_INTEGER, "N", "width of the residual stream", .least = 1,
                        .most = 1 << 20},
    [OPTION_HEADS] = {"--heads", KIND_INTEGER, "N", "query heads", .least = 1, .most = 1 << 16},
    [OPTION_KV_HEADS] = {"--kv-heads", KIND_INTEGER, "N", "key and value heads (as many as query heads)",
                         .least = 1, .most = 1 << 16},
    [OPTION_D_FF] = {"--d-ff", KIND_INTEGER, "N", "width of the feed-forward part", .least = 1,
                     .most = 1 << 24},
    [OPTION_VOCAB] = {"--vocab", KIND_INTEGER, "N", "rows of the token table (10000)", .least = 1,
                      .most = 1 << 28},
    [OPTION_CONTEXT] = {"--context", KIND_INTEGER, "N", "rows of the position table (1024)", .least = 1,
                        .most = 1 << 24},
    [OPTION_OPSET] = {"--opset", KIND_INTEGER, "N", "version of the operator set (17)", .least = 1,
                      .most = 1000},
    [OPTION_DTYPE] = {"--dtype", KIND_CHOICE, "f32|f16|bf16", "of weights and activations (f32)",
                      "f32,f16,bf16"},
    [OPTION_KV_CACHE] =
        {"--kv-cache", KIND_FLAG, NULL,
         "gpt2, llama: past.N.key and past.N.value in, present.N.key and present.N.value out"},
    [OPTION_MAKE_DROPOUT] =
        {"--dropout", KIND_NUMBER, "RATE",
         "gpt2, llama, bert: Dropout nodes before the additions to the residual stream (none)"},
    [OPTION_STORED] = {"--stored", KIND_FLAG, NULL, "write the weights out, beside the model"},
    [OPTION_WEIGHTS] =
        {"--weights", KIND_TEXT, "FILE.safetensors",
         "the weights, by the names that `info` and `dump` show; written out beside the model"},

    [OPTION_STAGE] = {"--stage", KIND_CHOICE, "STAGE",
                      "import, recognised, autocast, expanded, fused (the default), plan, loops or kernels",
                      "import,recognised,autocast,expanded,fused,plan,loops,kernels"},
    [OPTION_BEFORE] = {"--before", KIND_TEXT, "PASS", "the graph before each run of a pass"},
    [OPTION_AFTER] = {"--after", KIND_TEXT, "PASS", "the graph after each run of a pass"},
    [OPTION_PRINT_AFTER_ALL] = {"--print-after-all", KIND_FLAG, NULL, "the graph after every pass"},
    [OPTION_FORMAT] = {"--format", KIND_CHOICE, "text|dot", "how graphs are written (text)", "text,dot"},
    [OPTION_TARGET] = {"--target", KIND_TEXT, "TARGET",
                       "cpu (this machine's, the default) or cuda:sm_NN, which need not be there"},
    [OPTION_REMARKS] = {"--remarks", KIND_FLAG, NULL,
                        "what each pass did and what it declined, with the reason"},

    [OPTION_LEDGER] = {"--ledger", KIND_FLAG, NULL,
                       "where the time went, step by step, and what came from the kernel cache"},
    [OPTION_TABLE_FORMAT] = {"--format", KIND_CHOICE, "md|csv|json", "how the ledger is written (md)",
                             "md,csv,json"},
    [OPTION_CLEAR] = {"--clear", KIND_FLAG, NULL, "remove everything"},
    [OPTION_LIMIT] = {"--limit", KIND_BYTES, "BYTES",
                      "remove what was not of use for longest until BYTES are left; K, M and G are powers of "
                      "1024 (every compilation does so with 2G)"},

    [OPTION_MODE] = {"--mode", KIND_CHOICE, "eager|compiled",
                     "a kernel for each operator, or fused ones (compiled)", "eager,compiled"},
    [OPTION_DEVICE] = {"--device", KIND_TEXT, "DEVICE", "where to run: cpu (the default), cuda or cuda:N"},
    [OPTION_PRECISION] = {"--matmul-precision", KIND_CHOICE, "highest|high|medium",
                          "products of f32 on a GPU: in f32 (highest, the default) or with operands in TF32",
                          "highest,high,medium"},
    [OPTION_CAST] =
        {"--autocast", KIND_CHOICE, "none|bf16|f16",
         "what products and attention of f32 take their operands in (none); inputs, outputs and states stay",
         "none,bf16,f16"},
    [OPTION_NO_DROPOUT] = {"--no-dropout", KIND_FLAG, NULL,
                           "Dropout nodes drop nothing, also where their training_mode is true"},
    [OPTION_THREADS] = {"--threads", KIND_INTEGER, "N", "threads (as many as this process may use)",
                        .least = 1, .most = 4096},
    [OPTION_MEMORY_LIMIT] = {"--memory-limit", KIND_BYTES, "BYTES",
                             "most memory of a run, constants apart; K, M and G are powers of 1024"},
    [OPTION_MEMORY_BUDGET] =
        {"--memory-budget", KIND_BUDGET, "BYTES|P%",
         "of a step of training, in all (2G, 1.5GiB), or activations by what they take without a budget "
         "(50%): what does not fit is computed again"},
    [OPTION_SHAPE] = {"--shape", KIND_TEXTS, "NAME=4x256",
                      "the shape of an input; SYMBOL=N: a size by its name; may be given again"},
    [OPTION_INPUT] = {"--input", KIND_TEXTS, "NAME=WHAT",
                      "@FILE.npy, @FILE.pb or random[:SEED]; inputs that are not given are random with seed "
                      "0, or what the model has for them"},
    [OPTION_CONSTANT] = {"--constant", KIND_TEXTS, "NAME=@FILE",
                         "compile for this value of an input, a .npy or .pb: it is none then; may be given "
                         "again"},
    [OPTION_DATA] = {"--data", KIND_TEXTS, "DIR",
                     "inputs from DIR/input_0.pb ..., compared with DIR/output_0.pb ...; given again: "
                     "the run behind that one, through the states"},
    [OPTION_OUTPUT] = {"--output", KIND_TEXTS, "NAME=@FILE", "write an output to FILE.npy or FILE.pb"},
    [OPTION_EXPECT] = {"--expect", KIND_TEXTS, "NAME=@FILE", "compare an output with FILE.npy or FILE.pb"},
    [OPTION_RTOL] = {"--rtol", KIND_NUMBER, "X",
                     "|a - b| <= atol + rtol*|b| counts as equal (1e-4; f16 4e-3, bf16 2e-2)"},
    [OPTION_ATOL] = {"--atol", KIND_NUMBER, "X", "see --rtol (likewise)"},

    [OPTION_TUNING] = {"--tuning", KIND_TEXT, "FILE",
                       "measured choices, as `sinter tune` writes them (none)"},

    [OPTION_STATE] = {"--state", KIND_TEXTS, "INPUT=OUTPUT,...",
                      "a run's output is the next run's input, zero or empty at first; past.*=present.* is "
                      "many; may be given again"},
    [OPTION_STEPS] = {"--steps", KIND_INTEGER, "N", "runs that follow one another through the states (1)",
                      .least = 1, .most = 1000000},

    [OPTION_PROMPT] =
        {"--prompt", KIND_TEXT, "TEXT",
         "continue a text, byte by byte; the model's integer input takes them, its logits give the next"},
    [OPTION_TOKENS] = {"--tokens", KIND_INTEGER, "N", "how many bytes --prompt adds (200)", .least = 0,
                       .most = 1 << 24},
    [OPTION_TEMPERATURE] = {"--temperature", KIND_NUMBER, "X",
                            "what --prompt divides the logits by (1); 0: always the likeliest"},
    [OPTION_TOP_K] = {"--top-k", KIND_INTEGER, "K", "--prompt chooses among the K likeliest (all)",
                      .least = 1, .most = 1 << 24},
    [OPTION_SEED] = {"--seed", KIND_INTEGER, "N", "of what is drawn at random (0)", .least = 0,
                     .most = INT64_MAX},
    [OPTION_WINDOW] = {"--context", KIND_INTEGER, "N",
                       "tokens that the model sees at once (as many as it has positions for)", .least = 1,
                       .most = 1 << 24},
    [OPTION_LOGITS] = {"--logits", KIND_TEXT, "NAME",
                       "the output [batch, length, classes] (the first of floats with these axes)"},

    [OPTION_TOKEN_DATA] =
        {"--data", KIND_TEXT, "FILE",
         "tokens: FILE.bin (little-endian ids), FILE.npy, FILE.txt (its bytes are the ids)"},
    [OPTION_EXAMPLES] =
        {"--examples", KIND_TEXTS, "NAME=@FILE.npy",
         "instead of --data: what an input, or labels or targets, has in each example, along the "
         "file's first axis; may be given again"},
    [OPTION_TEXT] = {"--text", KIND_FLAG, NULL, "the bytes of --data are the ids, whatever its name"},
    [OPTION_TOKEN_BYTES] = {"--token-bytes", KIND_INTEGER, "1|2|4",
                            "of an id in a .bin file (2 where the vocabulary allows it, else 4)", .least = 1,
                            .most = 4},
    [OPTION_HELD_OUT] = {"--held-out", KIND_NUMBER, "X",
                         "share of the data, at its end, that is not trained on (0.1)"},
    [OPTION_TRAIN_STEPS] = {"--steps", KIND_INTEGER, "N",
                            "updates in all, those before --resume included (1000)", .least = 1,
                            .most = INT64_MAX / 2},
    [OPTION_BATCH] = {"--batch", KIND_INTEGER, "B", "windows, or examples, of a run (8)", .least = 1,
                      .most = 1 << 20},
    [OPTION_ACCUMULATE] = {"--accumulate", KIND_INTEGER, "N", "runs whose mean gradient makes an update (1)",
                           .least = 1, .most = 1 << 20},
    [OPTION_LR] = {"--lr", KIND_NUMBER, "X", "learning rate (1e-3)"},
    [OPTION_MIN_LR] = {"--min-lr", KIND_NUMBER, "X", "learning rate at the end, along a cosine (--lr)"},
    [OPTION_WARMUP_STEPS] = {"--warmup-steps", KIND_INTEGER, "N",
                             "updates in which the rate grows to --lr (0)", .least = 0,
                             .most = INT64_MAX / 2},
    [OPTION_BETA1] = {"--beta1", KIND_NUMBER, "X", "of AdamW (0.9)"},
    [OPTION_BETA2] = {"--beta2", KIND_NUMBER, "X", "of AdamW (0.999)"},
    [OPTION_EPS] = {"--eps", KIND_NUMBER, "X", "of AdamW (1e-8)"},
    [OPTION_WEIGHT_DECAY] = {"--weight-decay", KIND_NUMBER, "X", "of parameters of two axes or more (0.01)"},
    [OPTION_GRADIENTS] =
        {"--gradients", KIND_TEXT, "NAME,...",
         "inputs of floats whose gradients a step computes, too; '*' stands for any characters (none)"},
    [OPTION_CLIP] = {"--clip", KIND_NUMBER, "X", "most that the norm of all gradients may be (no limit)"},
    [OPTION_MASTER] = {"--master-weights", KIND_CHOICE, "yes|no",
                       "weights of f16 and bf16 are stepped from copies of f32 (yes)", "yes,no"},
    [OPTION_SMOOTHING] = {"--label-smoothing", KIND_NUMBER, "X",
                          "share of a label that all classes have alike (0)"},
    [OPTION_DROPOUT] = {"--dropout", KIND_TEXT, "RATE|model",
                        "share of elements that Dropout nodes drop; model: what they say, unless their "
                        "training_mode is false (model)"},
    [OPTION_IGNORE_INDEX] = {"--ignore-index", KIND_INTEGER, "N",
                             "labels of N do not count, as -100 in PyTorch (all count)", .least = -(1 << 30),
                             .most = 1 << 30},
    [OPTION_TRAINED] =
        {"--trained", KIND_TEXT, "NAME,...",
         "initializers to train, where * stands for any characters (those that look like weights)"},
    [OPTION_FROZEN] = {"--frozen", KIND_TEXT, "NAME,...", "initializers that stay as they are (none)"},
    [OPTION_EVAL_EVERY] = {"--eval-every", KIND_INTEGER, "N",
                           "updates between held-out losses (a tenth of --steps)", .least = 1,
                           .most = INT64_MAX / 2},
    [OPTION_EVAL_BATCHES] = {"--eval-batches", KIND_INTEGER, "N", "batches of a held-out loss (10)",
                             .least = 1, .most = 1 << 20},
    [OPTION_CHECKPOINT] = {"--checkpoint", KIND_TEXT, "FILE",
                           "where states are kept, as safetensors: at the end, and when interrupted"},
    [OPTION_CHECKPOINT_EVERY] = {"--checkpoint-every", KIND_INTEGER, "N", "and every N updates", .least = 1,
                                 .most = INT64_MAX / 2},
    [OPTION_RESUME] = {"--resume", KIND_TEXT, "FILE", "go on from a checkpoint, to the same bits"},
    [OPTION_EXPORT] = {"--export", KIND_FLAG, NULL, "write -o with every checkpoint, not only at the end"},
    [OPTION_ON_NAN] = {"--on-nan", KIND_CHOICE, "stop|skip|late",
                       "where a loss or gradient is not finite: end, leave the update out, or end when the "
                       "weights are lost, which takes less memory (stop)",
                       "stop,skip,late"},
    [OPTION_TRAIN_FORMAT] = {"--format", KIND_CHOICE, "md|csv|json", "a table at the end instead of lines",
                             "md,csv,json"},

    [OPTION_MODES] = {"--modes", KIND_CHOICES, "MODE,...",
                      "eager and compiled (both): a kernel for each operator, and fused ones",
                      "eager,compiled"},
    [OPTION_PHASES] = {"--phases", KIND_CHOICES, "PHASE,...",
                       "forward (the default), backward, forward+backward, step: all but forward, and with "
                       "--loss forward too, are those of a training step",
                       "forward,backward,forward+backward,step"},
    [OPTION_LOSS] = {"--loss", KIND_CHOICE, "cross_entropy|mse|output",
                     "of a training step: by labels, by targets, or the output itself (cross_entropy)",
                     "cross_entropy,mse,output"},
    [OPTION_OPTIMIZER] = {"--optimizer", KIND_CHOICE, "adamw|sgd", "what updates the parameters (adamw)",
                          "adamw,sgd"},
    [OPTION_AUTOCAST] =
        {"--autocast", KIND_CHOICES, "TYPE,...",
         "none, bf16 and f16 (none): what products and attention of f32 take their operands in",
         "none,bf16,f16"},
    [OPTION_THREADS_SWEEP] = {"--threads", KIND_INTEGERS, "N,...",
                              "threads (as many as this process may use)", .least = 1, .most = 4096},
    [OPTION_SHAPE_SWEEP] = {"--shape", KIND_TEXTS, "NAME=4x256,...",
                            "the shape of an input; SYMBOL=N: a size by its name; a list makes a sweep"},
    [OPTION_WARMUP] = {"--warmup", KIND_INTEGER, "N", "runs before the timed ones (5)", .least = 0,
                       .most = 1000000},
    [OPTION_ITERS] = {"--iters", KIND_INTEGER, "N", "timed runs (10)", .least = 1, .most = 1000000},
    [OPTION_KERNELS] = {"--kernels", KIND_FLAG, NULL, "also the time of every kernel"},
    [OPTION_RANGE] = {"--range", KIND_TEXT, "PATTERN",
                      "of the kernels only those of nodes with such a name or operator: '*attn*', Softmax"},
    [OPTION_MEMORY] = {"--memory", KIND_FLAG, NULL,
                       "also what runs or steps take of memory, planned and measured, and the largest "
                       "buffers at the peak (with --memory-budget: always)"},
    [OPTION_PEER] = {"--peer", KIND_FLAG, NULL,
                     "answer `run N` on standard input with N times (see bench/peers)"},
    [OPTION_ROOFLINE] = {"--roofline", KIND_FLAG, NULL,
                         "with --peer: times that the multiply-adds of a run alone take this processor"},
    [OPTION_NO_PEAKS] = {"--no-peaks", KIND_FLAG, NULL,
                         "do not measure what the machine can do at most, which takes seconds"},
};

/* ---- values ---- */

static bool in_list(const char *list, const char *word, size_t length) {
    for (const char *at = list; *at;) {
        size_t size = strcspn(at, ",");
        if (size == length && memcmp(at, word, length) == 0) return true;
        at += size + (at[size] == ',');
    }
    return false;
}

static bool parse_integer(const Row *row, const char *text, int64_t *out) {
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    char first = text[text[0] == '-'];
    *out = value;
    return first >= '0' && first <= '9' && !*end && !errno && value >= row->least && value <= row->most;
}

static bool parse_bytes(const char *text, int64_t *out) {
    static const char units[] = "KMG", digits[] = "0123456789";
    size_t length = strspn(text, digits);
    bool whole = text[length] != '.';
    if (!length) return false;
    if (!whole) length += 1 + strspn(text + length + 1, digits);
    const char *at = text + length, *unit = *at ? strchr(units, *at) : NULL;
    int shift = unit ? 10 * (int)(unit - units + 1) : 0;
    at += unit ? 1 : 0;
    if (unit && strcmp(at, "iB") == 0) at += 2;
    errno = 0;
    long long value = strtoll(text, NULL, 10);
    double number = strtod(text, NULL) * (double)((int64_t)1 << shift);
    if (*at || errno || !(number >= 1 && number < 0x1p62) || value > INT64_MAX >> shift) return false;
    *out = whole ? (int64_t)value << shift : (int64_t)number;
    return true;
}

static bool parse_number(const char *text, double *out) {
    char *end;
    *out = strtod(text, &end);
    return *text && !*end && *out >= 0 && *out <= 1e300;
}

static bool parse_budget(const char *text, OptionValue *out, int64_t *bytes) {
    char *end;
    double percent = strtod(text, &end);
    out->number = 0;
    if (strcmp(end, "%") != 0) return parse_bytes(text, bytes);
    out->number = percent / 100;
    return *text >= '0' && *text <= '9' && percent > 0 && percent <= 100;
}

static void add(Arena *arena, OptionValue *value, const char *text, int64_t integer) {
    const char **texts = SN_ARRAY(arena, const char *, value->count + 1);
    int64_t *integers = SN_ARRAY(arena, int64_t, value->count + 1);
    for (int i = 0; i < value->count; i++) texts[i] = value->text[i], integers[i] = value->integer[i];
    texts[value->count] = text;
    integers[value->count++] = integer;
    value->text = texts;
    value->integer = integers;
}

/* One word, or one element of a list. */
static bool take(Arena *arena, const Row *row, const char *word, OptionValue *value) {
    int64_t integer = 0;
    bool good = true;
    if (row->kind == KIND_CHOICE || row->kind == KIND_CHOICES)
        good = in_list(row->choices, word, strlen(word));
    else if (row->kind == KIND_INTEGER || row->kind == KIND_INTEGERS)
        good = parse_integer(row, word, &integer);
    else if (row->kind == KIND_BYTES)
        good = parse_bytes(word, &integer);
    else if (row->kind == KIND_BUDGET)
        good = parse_budget(word, value, &integer);
    else if (row->kind == KIND_NUMBER)
        good = parse_number(word, &value->number);
    else
        good = *word != '\0';
    if (good) add(arena, value, word, integer);
    return good;
}

/* "md,csv,json" as prose: "md, csv, json". */
static const char *spaced(Arena *arena, const char *choices) {
    Text text = sn_text(arena);
    for (; *choices; choices++) sn_text_put(&text, *choices == ',' ? ", " : choices, *choices == ',' ? 2 : 1);
    return sn_text_string(&text);
}

static Status bad_value(Arena *arena, const Row *row, const char *word) {
    if (row->kind == KIND_INTEGER || row->kind == KIND_INTEGERS)
        return sn_fail(SN_INVALID, "%s: '%s' is not a whole number from %lld to %lld", row->name, word,
                       (long long)row->least, (long long)row->most);
    if (row->kind == KIND_NUMBER)
        return sn_fail(SN_INVALID, "%s: '%s' is not a number from 0 on", row->name, word);
    if (row->kind == KIND_BYTES || row->kind == KIND_BUDGET)
        return sn_fail(SN_INVALID, "%s: '%s' is not a number of bytes, as 4096, 500M or 1.5G%s", row->name,
                       word, row->kind == KIND_BUDGET ? ", nor a share up to 100%" : "");
    if (row->choices)
        return sn_fail(SN_INVALID, "%s: '%s' is none of %s", row->name, word, spaced(arena, row->choices));
    return sn_fail(SN_INVALID, "%s: '%s' is not %s", row->name, word, row->value);
}

static Status take_value(Arena *arena, const Row *row, const char *word, OptionValue *value) {
    if (row->kind != KIND_CHOICES && row->kind != KIND_INTEGERS)
        return take(arena, row, word, value) ? NULL : bad_value(arena, row, word);
    *value = (OptionValue){0};
    for (const char *at = word;; at++) {
        size_t length = strcspn(at, ",");
        char *element = sn_arena_string(arena, at);
        element[length] = '\0';
        if (!take(arena, row, element, value)) return bad_value(arena, row, element);
        at += length;
        if (!*at) return NULL;
    }
}

/* ---- words ---- */

static OptionId find(const OptionId *accepted, const char *name, size_t length) {
    if (length == 6 && memcmp(name, "--help", 6) == 0) return OPTION_HELP;
    for (; *accepted; accepted++)
        if (strlen(table[*accepted].name) == length && memcmp(table[*accepted].name, name, length) == 0)
            return *accepted;
    return OPTION_END;
}

static Status unknown(const OptionId *accepted, const char *word, size_t length) {
    Nearest nearest = sn_nearest(word, length);
    for (; *accepted; accepted++) sn_nearest_offer(&nearest, table[*accepted].name);
    return nearest.name ? sn_fail(SN_INVALID, "unknown option '%s'; did you mean %s?", word, nearest.name)
                        : sn_fail(SN_INVALID, "unknown option '%s'", word);
}

/* The option in words[*at], and its value there ("--name=value") or in the next word. */
static Status take_option(Arena *arena, const OptionId *accepted, int count, char **words, int *at,
                          Options *out) {
    const char *word = words[*at];
    bool is_long = word[1] == '-';
    size_t length = is_long ? strcspn(word, "=") : strlen(word);
    OptionId id = find(accepted, word, length);
    if (id == OPTION_END) return unknown(accepted, word, length);
    const Row *row = &table[id];
    OptionValue *value = &out->value[id];
    bool joined = word[length] == '=';
    if (row->kind == KIND_FLAG) {
        if (joined) return sn_fail(SN_INVALID, "%s takes no value", row->name);
        value->count++;
        return NULL;
    }
    if (!joined && *at + 1 >= count)
        return sn_fail(SN_INVALID, "%s needs a value: %s", row->name, row->value);
    return take_value(arena, row, joined ? word + length + 1 : words[++*at], value);
}

Status sn_options_parse(Arena *arena, const OptionId *accepted, int count, char **words, Options *out) {
    *out = (Options){.argument = SN_ARRAY(arena, const char *, count)};
    bool only_arguments = false;
    for (int i = 0; i < count; i++) {
        if (only_arguments || words[i][0] != '-' || !words[i][1])
            out->argument[out->argument_count++] = words[i];
        else if (strcmp(words[i], "--") == 0)
            only_arguments = true;
        else
            TRY(take_option(arena, accepted, count, words, &i, out));
    }
    return NULL;
}

const char *sn_option_name(OptionId id) {
    return table[id].name;
}

/* Explanations stand in a column, broken between words; below an option that is too long for it. */
enum { HELP_COLUMN = 28, HELP_WIDTH = 70 };

static void print_explanation(Text *text, const char *help) {
    for (size_t used = 0; *help; used++) {
        size_t word = strcspn(help, " ");
        if (used && used + word > HELP_WIDTH) {
            sn_text_add(text, "\n%*s", HELP_COLUMN + 2, "");
            used = 0;
        }
        sn_text_add(text, " %.*s", (int)word, help);
        used += word;
        help += word + (help[word] == ' ');
    }
    sn_text_add(text, "\n");
}

void sn_options_print(Text *text, const OptionId *accepted) {
    for (; *accepted; accepted++) {
        const Row *row = &table[*accepted];
        char left[64];
        snprintf(left, sizeof left, "%s%s%s", row->name, row->value ? " " : "", row->value ? row->value : "");
        const char *gap = strlen(left) > HELP_COLUMN ? "\n" : "";
        sn_text_add(text, "  %-*s%s%*s", HELP_COLUMN, left, gap, *gap ? HELP_COLUMN + 2 : 0, "");
        print_explanation(text, row->help);
    }
}
