/* Sinter: compile and run ONNX Transformer models. The only public header.
 *
 * Every function that can fail returns an sn_Error * (NULL is success) that the caller frees; what it was to make is
 * NULL then. Nothing here prints, exits or keeps global state. Any thread may call anything: a model and a program may
 * be used by several at once, a context and an error by one at a time. Strings and arrays that are handed out belong to
 * what was asked for them; those that are handed in are not kept, except where it is said. NULL may be freed. Options
 * structs begin with `size`, which the caller sets to sizeof the struct, so that a program built against an older header
 * keeps working; zero in any other field is its default.
 *
 * Kernels run on the thread that calls sn_compile and sn_context_run, and on the program's own: let it have 3 MB of
 * stack.
 *
 *   sn_Model   --compile-->   sn_Program   --one per thread-->   sn_Context
 *   (a loaded file)           (immutable, shared)                (inputs, outputs, memory of its runs)
 */
#ifndef SINTER_H
#define SINTER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The library is compiled with hidden visibility; what is declared here is what it exports. */
#ifdef __GNUC__
#pragma GCC visibility push(default)
#endif

typedef enum sn_Code {
    SN_OK,
    SN_INVALID,     /* a malformed or contradictory model, input or text */
    SN_UNSUPPORTED, /* well formed, but not something this build can do; lists everything at once */
    SN_NO_MEMORY,
    SN_IO,       /* a file or directory */
    SN_COMPILER, /* the C compiler or NVRTC */
    SN_DEVICE,   /* a device is missing or a call to it failed */
    SN_FAULT,    /* the model's data made a kernel fail: index out of range, division by zero */
    SN_INTERNAL, /* Sinter contradicts itself; please report */
} sn_Code;

typedef struct sn_Error sn_Error;

sn_Code sn_error_code(const sn_Error *error);        /* SN_OK for NULL */
const char *sn_error_message(const sn_Error *error); /* "" for NULL; owned by the error */
void sn_error_free(sn_Error *error);                 /* NULL is allowed */

const char *sn_version(void);

/* ---- tensors ---- */

/* ONNX's TensorProto.DataType numbers of the common element types; those that are not named here have theirs, too. */
enum {
    SN_ELEMENT_F32 = 1,
    SN_ELEMENT_U8 = 2,
    SN_ELEMENT_I8 = 3,
    SN_ELEMENT_U16 = 4,
    SN_ELEMENT_I16 = 5,
    SN_ELEMENT_I32 = 6,
    SN_ELEMENT_I64 = 7,
    SN_ELEMENT_BOOL = 9,
    SN_ELEMENT_F16 = 10,
    SN_ELEMENT_F64 = 11,
    SN_ELEMENT_U32 = 12,
    SN_ELEMENT_U64 = 13,
    SN_ELEMENT_BF16 = 16,
};

/* Who owns the data is said where one is passed. */
typedef struct sn_Tensor {
    int element_type; /* an SN_ELEMENT number */
    int rank;
    const int64_t *extent; /* (rank); may be NULL where rank is 0 */
    void *data; /* row-major, in host memory; a bool is a byte; may be NULL where there is no element */
} sn_Tensor;

/* ---- models ---- */

typedef struct sn_Model sn_Model;

/* An ONNX file, with what it keeps beside it. SN_IO where one cannot be read, SN_INVALID and SN_UNSUPPORTED by what it
 * says. The files have to stay as they are while the model, or a program made from it, exists: weights are mapped. */
sn_Error *sn_model_open(const char *path, sn_Model **out);

/* An input that is a constant: axes, sizes, a mask that never changes. The program is made for its value, and has no
 * such input. */
typedef struct sn_Constant {
    const char *name;
    sn_Tensor tensor; /* of the type and shape that the model declares; copied */
} sn_Constant;

typedef struct sn_OpenOptions {
    size_t size;
    /* Of inputs that initializers give defaults for (such an initializer is a constant, and no input) those that are
     * inputs, which every run has to set. Names of anything else change nothing. */
    int given_count;
    const char *const *given;
    int constant_count; /* SN_INVALID where no input has the name, or two have one */
    const sn_Constant *constant;
} sn_OpenOptions;

/* `options` may be NULL. */
sn_Error *sn_model_open_with(const char *path, const sn_OpenOptions *options, sn_Model **out);
void sn_model_close(sn_Model *model); /* programs made from it stay valid */

/* An input or output. extent[i] is -1 where it is symbolic, and then dim_name[i] is its name ("" if
 * anonymous; what data decide has a name of its own). element_type is one of the numbers above. Strings and
 * arrays live as long as the model. Of an index that does not exist, name is "" and all else 0 or NULL. */
typedef struct sn_TensorInfo {
    const char *name;
    int element_type;
    int rank;
    const int64_t *extent;
    const char *const *dim_name;
} sn_TensorInfo;

int sn_model_input_count(const sn_Model *model);
int sn_model_output_count(const sn_Model *model);
sn_TensorInfo sn_model_input(const sn_Model *model, int index);
sn_TensorInfo sn_model_output(const sn_Model *model, int index);

/* ---- programs ---- */

typedef struct sn_Program sn_Program;

typedef enum sn_Mode { SN_COMPILED, SN_EAGER } sn_Mode;

/* How matrices of f32 are multiplied by a GPU's tensor cores; the names and their meaning are PyTorch's. A CPU computes
 * in f32 always. */
typedef enum sn_Precision {
    SN_PRECISION_HIGHEST, /* in f32, without them */
    SN_PRECISION_HIGH,    /* operands rounded to TF32, sums in f32 */
    SN_PRECISION_MEDIUM,  /* operands rounded to no less than bf16 (to TF32 so far), sums in f32 */
} sn_Precision;

/* What products and attention compute in where a model says f32; PyTorch's autocast is the pattern. Their operands are
 * rounded to the type, their sums are f32; exponentials, sums, normalizations and losses stay f32, and so do inputs,
 * outputs and states. */
typedef enum sn_Autocast { SN_AUTOCAST_NONE, SN_AUTOCAST_BF16, SN_AUTOCAST_F16 } sn_Autocast;

/* A state: an output of the model that the next run of a context takes as an input, as the caches of
 * attention are. It is handed over without a copy. Both have one element type and rank, and fixed extents
 * that agree. */
typedef struct sn_State {
    int input, output;
} sn_State;

typedef struct sn_CompileOptions {
    size_t size;
    sn_Mode mode;
    const char
        *device; /* "cpu" (the default), "cuda", "cuda:1"; "cuda:sm_90a" compiles for a GPU that need not be
                              there, and nothing runs: see sn_program_save */
    int threads; /* 0: as many as the process may use */
    const char *cache_dir; /* NULL: $SINTER_CACHE, else $XDG_CACHE_HOME/sinter, else ~/.cache/sinter */
    int state_count;       /* no input twice, no output twice */
    const sn_State *state; /* read by sn_compile only */
    const char *tuning;    /* a file of measured choices, as `sinter tune` writes it; NULL: none */
    sn_Precision precision;
    int no_dropout; /* Dropout nodes drop nothing, also where their training_mode is true */
    sn_Autocast autocast;
} sn_CompileOptions;

/* `options` may be NULL. SN_UNSUPPORTED names what the device cannot do, SN_DEVICE and SN_COMPILER what is missing. */
sn_Error *sn_compile(const sn_Model *model, const sn_CompileOptions *options, sn_Program **out);
void sn_program_free(sn_Program *program); /* after its contexts */

/* ---- training ---- */

typedef enum sn_Loss {
    SN_LOSS_OF_MODEL,      /* the output itself, which is one number: the first such, where none is named */
    SN_LOSS_CLASSES,       /* mean cross entropy of the output's last axis and the input "labels", i64 */
    SN_LOSS_SQUARED_ERROR, /* mean squared error of the output and the input "targets", of its type */
} sn_Loss;

typedef enum sn_Optimizer { SN_ADAMW, SN_SGD } sn_Optimizer;

/* What a symbolic extent, by its name, is reckoned to be. */
typedef struct sn_Extent {
    const char *name;
    int64_t value;
} sn_Extent;

/* One step of training. Where zero is said to be a default, a negative number stands for zero. Lists of names are
 * separated by commas; '*' in them stands for any characters. */
typedef struct sn_TrainingOptions {
    size_t size;
    sn_Loss loss;
    const char *output;   /* that the loss is about; NULL: the first float one */
    int has_ignore_index; /* SN_LOSS_CLASSES: rows with that label count for nothing */
    int64_t ignore_index;
    double label_smoothing; /* SN_LOSS_CLASSES: in [0, 1) */
    sn_Optimizer optimizer;
    double beta1, beta2, epsilon; /* AdamW; 0: 0.9, 0.999, 1e-8 */
    double momentum;              /* SGD */
    int nesterov;                 /* SGD */
    double weight_decay;          /* 0: 0.01 of AdamW (decoupled), none of SGD */
    double clip_norm;             /* the most that the norm of all gradients may be; 0: no limit */
    int accumulate;               /* runs whose gradients' mean makes a step; 0: 1 */
    int skip_nonfinite;           /* a step whose loss or gradients are not finite changes nothing */
    const char *trained;          /* names of the initializers to train; NULL: those that look like weights */
    const char *frozen;           /* of these, not */
    const char *decayed;          /* that weight decay is for; NULL: those of two axes or more */
    double
        dropout; /* the share that Dropout nodes drop, below 1; 0: what they say, unless their training_mode is false */
    uint64_t seed; /* of what is dropped, which is a function of it and the number of the run */
    /* A budget of memory: what backward needs of forward is computed again, rather than kept, as far as the step does
     * not fit. At most one of the two; 0: none. */
    int64_t memory_budget;   /* bytes that the program and a context of it may take together */
    double activation_share; /* of what activations take without a budget, parameters' gradients apart */
    int extent_count;        /* symbolic extents of the runs that have to fit; of others 128 is assumed */
    const sn_Extent *extent;
    int no_master_weights; /* parameters of f16 and bf16 have no copies of f32 that steps add up in */
    const char *
        inputs; /* of floats: d loss / d each is an output, "gradient.NAME", behind the loss; NULL: none. There need be
                              no parameters then. Not with autocast to f16 */
} sn_TrainingOptions;

/* A program whose run is a step of training. Its inputs are the model's, then "labels" or "targets", then
 * "learning_rate" (f32, a scalar), and its output 0 is the loss, before the step. Parameters and what the optimizer
 * remembers are states of each context, and begin with what the file holds. Of the compile options, states are not
 * allowed. A run that fails on its data leaves them as they were. SN_NO_MEMORY where nothing fits into the budget. */
sn_Error *sn_compile_training(const sn_Model *model, const sn_CompileOptions *options,
                              const sn_TrainingOptions *training, sn_Program **out);

/* Like those of its model; strings live as long as the program. */
int sn_program_input_count(const sn_Program *program);
int sn_program_output_count(const sn_Program *program);
sn_TensorInfo sn_program_input(const sn_Program *program, int index);
sn_TensorInfo sn_program_output(const sn_Program *program, int index);

/* A compiled program as one file, weights included, which runs where there is neither a compiler nor the
 * model: on processors that have what this one's kernels were compiled for, and with this version of Sinter.
 * The file appears under its name when it is complete. Of a step of training it holds the states as they were at first.
 * SN_UNSUPPORTED of a model with loops whose turns only a run counts. */
sn_Error *sn_program_save(const sn_Program *program, const char *path);

/* A program from such a file, which must stay as it is until the program is freed. The file CONTAINS CODE, and opening
 * it runs that code with the rights of this process: open only files that you trust as you would a shared library.
 * SN_INVALID for a file that is damaged or of another version, SN_UNSUPPORTED naming what the processor lacks. Of the
 * options (may be NULL), device, threads and states matter; `tuning` is refused, and the rest was decided when the
 * program was compiled. */
sn_Error *sn_program_open_file(const char *path, const sn_CompileOptions *options, sn_Program **out);

/* ---- runs ---- */

typedef struct sn_Context sn_Context;

typedef struct sn_ContextOptions {
    size_t size;
    int64_t memory_limit; /* bytes that a run may take, constants and setup results apart; 0: no limit */
} sn_ContextOptions;

/* `options` may be NULL. The program must outlive the context. */
sn_Error *sn_context_new(const sn_Program *program, const sn_ContextOptions *options, sn_Context **out);
void sn_context_free(sn_Context *context);

/* The data is read during the next sn_context_run calls and stays the caller's; it may be an output of the context. The
 * extents are copied. SN_INVALID where type or rank are not the input's; whether the extents fit is told by the run. For
 * the input of a state it is the initial value: the first run takes it, and every later one what the run before it made.
 * Setting it again starts over with the new value. */
sn_Error *sn_context_set_input(sn_Context *context, int index, const sn_Tensor *tensor);

/* The next run takes the initial values of all states again, whose data must be unchanged since the first
 * run. */
void sn_context_reset_states(sn_Context *context);

/* Binds the inputs' shapes, runs, and waits. SN_INVALID where an input is missing, or sizes contradict the model or one
 * another, also those that data decide; SN_FAULT where data have no result; SN_NO_MEMORY, also beyond the limit. A
 * failed run leaves the context usable and its states as they were; only where a device failed in the midst of updating
 * them, later runs say that they have to be reset. */
sn_Error *sn_context_run(sn_Context *context);

/* Of the last run, which must not have failed; extents and data are valid until the next run or the context's end. What a
 * device keeps is brought to the host by the first call. */
sn_Error *sn_context_output(const sn_Context *context, int index, sn_Tensor *out);

/* The most bytes that activations, outputs and scratch took at once in the last run; and what constants and
 * setup results of the program take. */
int64_t sn_context_peak_bytes(const sn_Context *context);
int64_t sn_program_constant_bytes(const sn_Program *program);

#ifdef __GNUC__
#pragma GCC visibility pop
#endif

#ifdef __cplusplus
}
#endif

#endif
