/* A training step from a model: its loss, the gradients of its parameters, and what an optimizer makes of them. */
#ifndef SN_TRAIN_H
#define SN_TRAIN_H

#include "autodiff.h"

typedef enum OptimizerKind { SN_OPTIMIZER_ADAMW, SN_OPTIMIZER_SGD } OptimizerKind;

/* What a step computes. Every list of patterns is names of parameters separated by commas, in which '*' stands for any
 * characters; NULL: the default. */
typedef struct Training {
    bool
        has_loss; /* `loss` says what it is; otherwise an output of one float is it, the first or loss.output */
    LossOptions loss;
    OptimizerKind optimizer;
    double beta1, beta2, epsilon; /* AdamW */
    double momentum;              /* SGD; 0: none is kept */
    bool nesterov;                /* SGD */
    double decay;   /* AdamW: decoupled, as Loshchilov and Hutter have it; SGD: added to the gradient */
    double clip;    /* the norm of all gradients together is brought down to this; 0: it is not */
    int accumulate; /* runs whose gradients' mean makes one step; 0 and 1: each run is a step */
    bool
        model_dropout; /* Dropout nodes drop what they say, unless they say that they do not; otherwise all of them … */
    double dropout;      /* … drop this share of elements, below 1 */
    uint64_t seed;       /* of what is dropped */
    bool master;         /* parameters of 16 bits are stepped from copies of f32, which are states */
    bool skip;           /* a step whose loss or gradients are not finite changes nothing */
    const char *trained; /* default: see parameters.c */
    const char *frozen;  /* of these, not; default: none */
    const char *decayed; /* default: parameters of two axes or more */
    const char
        *inputs; /* of floats, of the model: d loss / d each is a result, "gradient.NAME"; default: none */
} Training;

/* Numbers as PyTorch has them by default. */
Training sn_training_default(void);

/* Whether a name fits one of a list of patterns. */
bool sn_name_fits(const char *patterns, const char *name);

/* What sn_training may make a parameter of becomes an input of the graph and a state without a next value
 * (graph->states), before simplify could fold it into something else. */
Status sn_parameters_declare(Graph *graph, const Training *training);

/* Where the named constant `node` is the transpose of a parameter that was declared before: the parameter takes its place,
 * transposed, and knows its name (GraphState.copy); the node is gone. */
bool sn_parameter_tie(Graph *graph, Node *node);

/* Numbers the dropout nodes that are to drop, and gives them their share; they are not simplified away then. SN_INVALID
 * where a share is asked for and the graph has no such node. */
Status sn_dropout_choose(Graph *graph, const Training *training);

/* What was numbered reads the state "optimizer.dropout", i64 [2]: the seed, and the number of the run, from 0. */
Status sn_dropout_start(Graph *graph, const Training *training);

/* Keeps those that the loss depends on in a way that is to be trained, and makes constants of the others again: their
 * states are gone. Returns how many there are. */
int sn_parameters_choose(Graph *graph, const Training *training, const Value *loss);

/* A state, *scale, by which the loss is multiplied to be differentiated: *scaled. Gradients are divided by it where they are
 * steps; the next scale is larger where all of them were finite for long, and smaller where one was not. fine: bool [], whether
 * they are; last: bool [], whether this run makes a step, NULL: each does. */
Status sn_loss_scale_start(Graph *graph, Value *loss, Value **scale, Value **scaled);
Status sn_loss_scale_undo(Builder *b, Value *scale, int count, Value **gradient);
Status sn_loss_scale_next(Builder *b, Value *scale, Value *fine, Value *last);

/* Appends the update (phase update) of the parameters parameter[k], inputs of the graph and states, by gradient[k]:
 * their next values and those of the states that the optimizer adds, and the input "learning_rate", f32. scale: of the
 * gradients, which then have to be skipped where they are not finite; NULL: 1. */
Status sn_optimizer_append(Graph *graph, const Training *training, Value *loss, Value *scale, int count,
                           Value *const *parameter, Value *const *gradient);

/* A new state and the input that is its value; then, once, its next value. */
Value *sn_state_add(Graph *graph, const char *name, Type type, const Tensor *initial);
void sn_state_next(Graph *graph, const Value *value, Value *next);

#endif
