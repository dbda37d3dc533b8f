/* The parts of the device library that begin a C text. */
#include "emit_template.h"

/* Headers cost the compiler time, so those of mathematics, of integer division and of random numbers come only where
 * an instruction may call them: not the arithmetic that vector.h has. */
static bool calls(const KernelIr *kernel, bool floats) {
    static const char *const plain[] = {"add",   "sub",   "mul",    "neg", "min",  "max",
                                        "and",   "or",    "xor",    "not", "less", "less_equal",
                                        "equal", "where", "random", "bits"};
    for (int n = 0; n < kernel->nest.count; n++)
        for (int i = 0; i < kernel->nest.at[n]->instr.count; i++) {
            const Instr *instr = kernel->nest.at[n]->instr.at[i];
            if (instr->kind != SN_INSTR_CALL) continue;
            bool known = floats && strcmp(instr->function, "div") == 0 && sn_dtype_is_float(instr->operand);
            for (size_t k = 0; k < sizeof plain / sizeof *plain; k++)
                known |= strcmp(plain[k], instr->function) == 0;
            if (!known && sn_dtype_is_float(instr->operand) == floats) return true;
        }
    return false;
}

void sn_emit_vectors_c(const KernelIr *kernel, Text *out) {
    sn_text_add(out, "#define SN_VECTOR_BYTES %d\n%s\n%s\n%s\n", kernel->target->vector_bytes,
                sn_device_text("vector.h"), sn_device_text("vector_narrow.h"),
                sn_device_text("vector_memory.h"));
}

void sn_emit_functions_c(const KernelIr *kernel, bool maths, Text *out) {
    if (maths || calls(kernel, true))
        sn_text_add(out, "%s\n%s\n%s\n", sn_device_text("vector_exp.h"), sn_device_text("vector_math.h"),
                    sn_device_text("vector_libm.h"));
    if (calls(kernel, false)) sn_text_add(out, "%s\n", sn_device_text("vector_integer.h"));
    if (sn_emit_calls(kernel, "random")) sn_text_add(out, "%s\n", sn_device_text("vector_random.h"));
    if (sn_emit_calls(kernel, "bits")) sn_text_add(out, "%s\n", sn_device_text("vector_bits.h"));
    sn_text_add(out, "%s\n", sn_device_text("dims.h"));
}
