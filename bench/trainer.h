/* A training: a model, its data (windows of tokens, or examples), and the steps that are made of both. */
#ifndef SN_TRAINER_H
#define SN_TRAINER_H

#include "checkpoint.h"
#include "examples.h"
#include "inputs.h"
#include "language.h"
#include "schedule.h"
#include "session.h"
#include "tokens.h"

typedef struct TrainerOptions {
    const char *data; /* see tokens.h; NULL: examples are what is learnt from */
    int example_count;
    const InputSpec *example; /* see examples.h */
    bool text;
    int token_bytes;
    double held_out;      /* the share of the data, at its end, that is not trained on */
    int64_t batch;        /* windows or examples of a run */
    int64_t length;       /* of a window; 0: what the model has positions for, 256 where it has any number */
    int64_t accumulate;   /* runs of a step */
    int64_t eval_batches; /* batches of a held-out loss */
    uint64_t seed;        /* of the windows or examples that are drawn */
    bool
        late; /* updates do not wait to see whether all gradients are finite: they need not be there together */
    Schedule schedule;
    const char *logits; /* the output that the loss is about; NULL: the first that can be */
    int input_count;    /* of the model's other inputs; see inputs.h */
    const InputSpec *input;
    sn_CompileOptions compile;
    sn_TrainingOptions
        training; /* the loss (of windows: of classes), the optimizer; the rest is the trainer's */
} TrainerOptions;

typedef struct Trainer Trainer;

/* Compiles the training step and opens the data. The trainer ends with `arena`, or with sn_trainer_close; what is given
 * here must outlive it. */
Status sn_trainer_open(Arena *arena, const sn_Model *model, const TrainerOptions *options, Trainer **out);
void sn_trainer_close(Trainer *trainer);

/* What the model and the options came to: windows of this length (0 where there are none), and this many tokens or
 * examples a step. */
int64_t sn_trainer_length(const Trainer *trainer);
int64_t sn_trainer_step_size(const Trainer *trainer);

/* What the memory budget of the options came to; NULL: there was none. */
const BudgetReport *sn_trainer_budget(const Trainer *trainer);

/* Steps done, those of a checkpoint included. */
int64_t sn_trainer_step(const Trainer *trainer);

/* Makes one step. *loss is the mean of its runs, before the update; *updated is false where that or a gradient was not
 * finite, and nothing was updated. Of `late`, it is false where the loss was not finite: then the states are lost. */
Status sn_trainer_run(Trainer *trainer, double *loss, bool *updated);

/* Whether gradients are scaled (autocast to f16) and the scale can still become smaller: then a step of a finite loss that
 * was left out is no reason to end. */
Status sn_trainer_scales(const Trainer *trainer, bool *out);

/* The mean loss over windows of the held-out part, always the same ones. */
Status sn_trainer_evaluate(Trainer *trainer, double *loss);

/* `options` is kept beside the states; see checkpoint.h. Resuming also sets the step. Of `late`, neither a checkpoint nor a
 * model is written of states that are not finite: SN_FAULT. */
Status sn_trainer_save(Trainer *trainer, const char *path, const char *options);
Status sn_trainer_resume(Trainer *trainer, const char *path, const char **options);

/* The model of `file` with its weights as they are now, as ONNX. */
Status sn_trainer_export(Trainer *trainer, const char *file, const char *path);

#endif
