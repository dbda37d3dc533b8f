/* Holes of the tile templates: functions over the template's loop variables, lowered like any other value. On CUDA
 * they have their s form only. */
#ifndef SN_LOWER_TEMPLATE_H
#define SN_LOWER_TEMPLATE_H

#include "emit_template.h"
#include "lower.h"

/* What a template calls a hole with. */
typedef struct HoleSpec {
    const char *name;
    int count;
    const char *argument[4];
    Dim extent[4];    /* of each argument */
    int lane;         /* the argument along which the v form has its lanes */
    bool takes_value; /* its first argument is a value, x0 */
    bool aligned;     /* that argument is a multiple of SN_LANES in the v form */
    bool integer;     /* what it returns is an i32 */
    const char *more; /* further variables of its body, "i120 = …, i121 = …"; may be NULL */
} HoleSpec;

/* The Dims that stand for a hole's arguments, and which of their axes the lanes lie along (NULL: none). */
typedef struct HoleAxes {
    Dim argument[4];
    Dim lanes;
} HoleAxes;

HoleAxes sn_hole_axes(const KernelIr *kernel, const HoleSpec *spec, bool vector);

/* Ends a hole whose nest is lower->nest, which was lowered over the axes `from`: they become `to`. `value` is
 * what the hole returns, or NULL when the nest's step stores. */
void sn_hole_add(Lower *lower, TemplateUse *use, const HoleSpec *spec, bool vector, const HoleAxes *axes,
                 Instr *value, const Dim *from, const Dim *to, int count);

/* Lowers a read of `value` at `index` (over the axes `from`) as the hole's v and s form, as f32 or i32. */
void sn_hole_read(Lower *lower, TemplateUse *use, const HoleSpec *spec, const Value *value, const Dim *index,
                  const Dim *from, int count, void (*stand)(void *user, const HoleAxes *axes, Dim *to),
                  void *user);

/* Whether products read these operands as words of two bf16: they lie as bf16, and the target's dot products of such words do
 * more than multiply-adds of f32. */
bool sn_hole_pairs(Lower *lower, Value *const *operand, int count);

/* The same where matrix tiles multiply words of two bf16. */
bool sn_hole_matrix(Lower *lower, Value *const *operand, int count);

/* The epilogue: stores every result of the cluster whose anchor's value is the hole's first argument x0. */
Status sn_hole_store(Lower *lower, TemplateUse *use, const HoleSpec *spec,
                     void (*stand)(void *user, const HoleAxes *axes, Dim *to), void *user);

/* What sn_hole_store's epilogue will load and store at an element, fetched ahead: all that differs from row to
 * row, which is the last but one of the hole's arguments. */
Status sn_hole_ahead(Lower *lower, TemplateUse *use, const HoleSpec *spec,
                     void (*stand)(void *user, const HoleAxes *axes, Dim *to), void *user);

/* Memory of f32 for what work items leave to a second round, and the hole that gives addresses in it. After all results. */
void sn_hole_scratch(Lower *lower, TemplateUse *use, const char *name, Dim floats);

/* A run-time number of the driver: its text is n<k>. */
const char *sn_template_number(KernelIr *kernel, TemplateUse *use, Dim dim);

/* On the CPU: the same for holes too, and never a literal, so that kernels which differ in it alone are one. */
const char *sn_template_size(KernelIr *kernel, TemplateUse *use, Dim dim);

/* A cluster whose one result is `node`: a places (lower_places.c), a top or a sift (lower_order.c). */
Status sn_lower_places(KernelIr *kernel, const Node *node);
Status sn_lower_top(KernelIr *kernel, const Node *node);
Status sn_lower_sift(KernelIr *kernel, const Node *node);

/* ---- schedule.c ---- */

/* Replaces axes in a hole's nest and places its instructions for lanes along `lanes`. */
void sn_schedule_hole(KernelIr *kernel, Nest *nest, const Dim *from, const Dim *to, int count, Dim lanes);

/* How well the loads of the nest suit vectors along `axis`; larger is better. */
int sn_schedule_score(KernelIr *kernel, const Nest *nest, Dim axis);

#endif
