/* The options of a training step, for every verb that makes one. */
#include "training.h"
#include "cli.h"
#include <stdlib.h>

Status sn_cli_dropout(Cli *cli, double *out) {
    const char *text = sn_option_text(&cli->options, OPTION_DROPOUT, "model");
    char *end;
    *out = 0; /* sn_TrainingOptions: what the model says, and what is negative is none */
    if (strcmp(text, "model") == 0) return NULL;
    double rate = strtod(text, &end);
    if (end == text || *end || !(rate >= 0 && rate < 1))
        return sn_cli_usage(cli, "--dropout '%s' is neither 'model' nor a number from 0 to below 1", text);
    *out = rate > 0 ? rate : -1;
    return NULL;
}

sn_Loss sn_cli_loss(const Cli *cli) {
    const char *loss = sn_option_text(&cli->options, OPTION_LOSS, "cross_entropy");
    if (strcmp(loss, "output") == 0) return SN_LOSS_OF_MODEL;
    return strcmp(loss, "mse") == 0 ? SN_LOSS_SQUARED_ERROR : SN_LOSS_CLASSES;
}

Status sn_cli_training(Cli *cli, const Training **out) {
    const Options *options = &cli->options;
    sn_TrainingOptions training = {
        .size = sizeof training,
        .loss = sn_cli_loss(cli),
        .output = sn_option_text(options, OPTION_LOGITS, NULL),
        .optimizer = strcmp(sn_option_text(options, OPTION_OPTIMIZER, ""), "sgd") == 0 ? SN_SGD : SN_ADAMW,
        .clip_norm = sn_option_number(options, OPTION_CLIP, 0),
        .no_master_weights = strcmp(sn_option_text(options, OPTION_MASTER, "yes"), "no") == 0,
        .inputs = sn_option_text(options, OPTION_GRADIENTS, NULL),
        .seed = (uint64_t)sn_option_integer(options, OPTION_SEED, 0),
    };
    TRY(sn_cli_dropout(cli, &training.dropout));
    Training *read = SN_NEW(cli->arena, Training);
    *out = read;
    return sn_training_read(&training, read);
}
