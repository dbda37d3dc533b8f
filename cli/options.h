/* Options of the command line: one table for all verbs, so that an option is spelled, parsed and explained
 * the same everywhere. A verb names the rows that it takes. */
#ifndef SN_OPTIONS_H
#define SN_OPTIONS_H

#include "arena.h"
#include "status.h"
#include "target.h"
#include "text.h"
#include <stdint.h>

typedef enum OptionId {
    OPTION_END, /* ends a verb's list */
    OPTION_HELP,
    OPTION_OUT_FILE,
    OPTION_OUT_FORMAT,
    /* make */
    OPTION_SIZE,
    OPTION_LAYERS,
    OPTION_D_MODEL,
    OPTION_HEADS,
    OPTION_KV_HEADS,
    OPTION_D_FF,
    OPTION_VOCAB,
    OPTION_CONTEXT,
    OPTION_OPSET,
    OPTION_DTYPE,
    OPTION_KV_CACHE,
    OPTION_MAKE_DROPOUT,
    OPTION_STORED,
    OPTION_WEIGHTS,
    /* dump */
    OPTION_STAGE,
    OPTION_BEFORE,
    OPTION_AFTER,
    OPTION_PRINT_AFTER_ALL,
    OPTION_FORMAT,
    OPTION_TARGET,
    OPTION_REMARKS,
    /* compile, cache */
    OPTION_LEDGER,
    OPTION_TABLE_FORMAT,
    OPTION_CLEAR,
    OPTION_LIMIT,
    /* run, bench */
    OPTION_MODE,
    OPTION_DEVICE,
    OPTION_PRECISION,
    OPTION_CAST,
    OPTION_NO_DROPOUT,
    OPTION_THREADS,
    OPTION_MEMORY_LIMIT,
    OPTION_MEMORY_BUDGET,
    OPTION_SHAPE,
    OPTION_INPUT,
    OPTION_CONSTANT,
    OPTION_DATA,
    OPTION_OUTPUT,
    OPTION_EXPECT,
    OPTION_RTOL,
    OPTION_ATOL,
    OPTION_TUNING,
    OPTION_STATE,
    OPTION_STEPS,
    /* run: a text that is continued */
    OPTION_PROMPT,
    OPTION_TOKENS,
    OPTION_TEMPERATURE,
    OPTION_TOP_K,
    OPTION_SEED,
    OPTION_WINDOW,
    OPTION_LOGITS,
    /* train */
    OPTION_TOKEN_DATA,
    OPTION_EXAMPLES,
    OPTION_TEXT,
    OPTION_TOKEN_BYTES,
    OPTION_HELD_OUT,
    OPTION_TRAIN_STEPS,
    OPTION_BATCH,
    OPTION_ACCUMULATE,
    OPTION_LR,
    OPTION_MIN_LR,
    OPTION_WARMUP_STEPS,
    OPTION_BETA1,
    OPTION_BETA2,
    OPTION_EPS,
    OPTION_WEIGHT_DECAY,
    OPTION_CLIP,
    OPTION_GRADIENTS,
    OPTION_SMOOTHING,
    OPTION_MASTER,
    OPTION_DROPOUT,
    OPTION_IGNORE_INDEX,
    OPTION_TRAINED,
    OPTION_FROZEN,
    OPTION_EVAL_EVERY,
    OPTION_EVAL_BATCHES,
    OPTION_CHECKPOINT,
    OPTION_CHECKPOINT_EVERY,
    OPTION_RESUME,
    OPTION_EXPORT,
    OPTION_ON_NAN,
    OPTION_TRAIN_FORMAT,
    /* bench */
    OPTION_MODES,
    OPTION_PHASES,
    OPTION_LOSS,
    OPTION_OPTIMIZER,
    OPTION_AUTOCAST,
    OPTION_THREADS_SWEEP,
    OPTION_SHAPE_SWEEP,
    OPTION_WARMUP,
    OPTION_ITERS,
    OPTION_KERNELS,
    OPTION_RANGE,
    OPTION_MEMORY,
    OPTION_PEER,
    OPTION_ROOFLINE,
    OPTION_NO_PEAKS,
    OPTION_COUNT
} OptionId;

/* What the command line gave for one option; count 0: nothing. */
typedef struct OptionValue {
    int count;         /* how often it was given, or the length of a comma-separated list */
    const char **text; /* one an occurrence, or one an element of the list */
    int64_t *integer;  /* INTEGER, INTEGERS, BYTES and BUDGET: the same as numbers; 0 for a share */
    double number;     /* NUMBER; BUDGET: a share, 0 for bytes */
} OptionValue;

typedef struct Options {
    OptionValue value[OPTION_COUNT];
    int argument_count;
    const char **argument; /* what is not an option, in order */
} Options;

/* Reads words[0..count) for a verb that takes the options of `accepted` (ended by OPTION_END). SN_INVALID
 * says what is wrong with the words. Everything lies in `arena`. */
Status sn_options_parse(Arena *arena, const OptionId *accepted, int count, char **words, Options *out);

/* As it is spelled: "--shape". */
const char *sn_option_name(OptionId id);

/* A line an option, with what it means. */
void sn_options_print(Text *text, const OptionId *accepted);

static inline bool sn_option_given(const Options *options, OptionId id) {
    return options->value[id].count > 0;
}
/* The last text given, or `usual`. */
static inline const char *sn_option_text(const Options *options, OptionId id, const char *usual) {
    const OptionValue *value = &options->value[id];
    return value->count ? value->text[value->count - 1] : usual;
}
static inline int64_t sn_option_integer(const Options *options, OptionId id, int64_t usual) {
    const OptionValue *value = &options->value[id];
    return value->count ? value->integer[value->count - 1] : usual;
}
static inline sn_Precision sn_option_precision(const Options *options) {
    const char *text = sn_option_text(options, OPTION_PRECISION, "highest");
    return strcmp(text, "high") == 0     ? SN_PRECISION_HIGH
           : strcmp(text, "medium") == 0 ? SN_PRECISION_MEDIUM
                                         : SN_PRECISION_HIGHEST;
}
static inline sn_Autocast sn_option_autocast(const Options *options) {
    sn_Autocast autocast = SN_AUTOCAST_NONE;
    (void)sn_autocast_from_name(sn_option_text(options, OPTION_CAST, "none"),
                                &autocast); /* one of the choices */
    return autocast;
}
/* What run, compile and train say alike of how a model is compiled; of states it says nothing. */
static inline sn_CompileOptions sn_option_compile(const Options *options) {
    bool eager = strcmp(sn_option_text(options, OPTION_MODE, ""), "eager") == 0;
    return (sn_CompileOptions){.size = sizeof(sn_CompileOptions),
                               .mode = eager ? SN_EAGER : SN_COMPILED,
                               .device = sn_option_text(options, OPTION_DEVICE, NULL),
                               .threads = (int)sn_option_integer(options, OPTION_THREADS, 0),
                               .tuning = sn_option_text(options, OPTION_TUNING, NULL),
                               .precision = sn_option_precision(options),
                               .autocast = sn_option_autocast(options),
                               .no_dropout = sn_option_given(options, OPTION_NO_DROPOUT)};
}
static inline double sn_option_number(const Options *options, OptionId id, double usual) {
    return options->value[id].count ? options->value[id].number : usual;
}

#endif
