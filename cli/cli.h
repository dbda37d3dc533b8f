/* What the verbs share. A verb is one file with one function; main.c has the table of them. */
#ifndef SN_CLI_H
#define SN_CLI_H

#include "options.h"
#include <sinter/sinter.h>
#include <stdio.h>

typedef struct Cli {
    Arena *arena; /* freed when the verb has ended */
    Options options;
    bool differs; /* a comparison differed: said on stderr, exit status 1 */
    bool usage;   /* the failure is a mistake on the command line: exit status 2 */
} Cli;

/* The verbs. A failure is printed by main; everything else they print themselves. */
Status sn_cli_bench(Cli *cli);
Status sn_cli_cache(Cli *cli);
Status sn_cli_compile(Cli *cli);
Status sn_cli_doctor(Cli *cli);
Status sn_cli_dump(Cli *cli);
Status sn_cli_info(Cli *cli);
Status sn_cli_make(Cli *cli);
Status sn_cli_run(Cli *cli);
Status sn_cli_train(Cli *cli);
Status sn_cli_tune(Cli *cli);

/* info of a saved program. */
Status sn_cli_info_saved(Cli *cli);

/* run --prompt. */
Status sn_cli_generate(Cli *cli, const sn_Model *model);

/* What --input says, in the arena of `cli`. */
struct InputSpec;
struct LoadOptions;
Status sn_cli_input_specs(Cli *cli, int *count, const struct InputSpec **out);
/* What --input and --constant say of how a model is opened. With `offered` (may be NULL) what these inputs have in their
 * files are their constants where the model cannot be compiled without. */
Status sn_cli_load_options(Cli *cli, int offered_count, const struct InputSpec *offered,
                           struct LoadOptions *out);
/* What another option of its form says. */
Status sn_cli_specs(Cli *cli, OptionId id, int *count, const struct InputSpec **out);

/* What the options say of a training step, checked. */
struct Training;
Status sn_cli_training(Cli *cli, const struct Training **out);

/* --dropout and --loss, as sn_TrainingOptions has them. */
Status sn_cli_dropout(Cli *cli, double *out);
sn_Loss sn_cli_loss(const Cli *cli);

/* A failure with exit status 2. */
Status sn_cli_usage(Cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Writes `text` to stdout when `path` is NULL, else to the file, which has its name when it is complete. */
Status sn_cli_write(Cli *cli, const char *path, const char *text, size_t length);

/* A file that cannot be made is found before the work, not after it; NULL is fine. The second is for what sn_cli_write
 * writes, to devices and pipes too. */
Status sn_cli_check_place(Cli *cli, const char *path);
Status sn_cli_check_text_place(Cli *cli, const char *path);

/* A line on stderr. */
void sn_cli_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Progress on stderr, if that is a terminal: the line is overwritten by the next, and "" clears it. */
void sn_cli_progress(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
