/* The options of a training step, for every verb that makes one. */
#include "training.h"
#include "cli.h"

Status sn_cli_training(Cli *cli, const Training **out) {
    const Options *options = &cli->options;
    const char *loss = sn_option_text(options, OPTION_LOSS, "cross_entropy");
    sn_TrainingOptions training = {
        .size = sizeof training,
        .loss = strcmp(loss, "output") == 0 ? SN_LOSS_OF_MODEL
                : strcmp(loss, "mse") == 0  ? SN_LOSS_SQUARED_ERROR
                                            : SN_LOSS_CLASSES,
        .output = sn_option_text(options, OPTION_LOGITS, NULL),
        .optimizer = strcmp(sn_option_text(options, OPTION_OPTIMIZER, ""), "sgd") == 0 ? SN_SGD : SN_ADAMW,
        .clip_norm = sn_option_number(options, OPTION_CLIP, 0),
    };
    Training *read = SN_NEW(cli->arena, Training);
    *out = read;
    return sn_training_read(&training, read);
}
