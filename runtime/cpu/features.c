#include "features.h"
#include "text.h"
#include <stdint.h>

#if defined __x86_64__
#include <cpuid.h>
#elif defined __aarch64__
#include <sys/auxv.h>
#endif

/* An extension: the macro that says it may be used, its name, and where the processor tells of it. */
typedef struct Feature {
    const char *macro, *name; /* macro NULL: nothing implies it */
    uint32_t leaf, subleaf;   /* x86: of cpuid; aarch64: leaf is AT_HWCAP or AT_HWCAP2 */
    int word;                 /* x86: eax, ebx, ecx or edx, 0 to 3 */
    int bit;
    uint32_t state; /* x86: the bits of XCR0 that the operating system must have set */
} Feature;

#if defined __x86_64__

enum { EAX, EBX, ECX, EDX, XMM_YMM = 6, ZMM = 0xe6, TILES = 0x60000 };
static const uint32_t extended = 0x80000001;

/* Intel's and AMD's manuals of the CPUID instruction. What compilers use only where they are told to is left out, but for matrix
 * tiles: some kernels tell them, and say so (Kernel.needs), whatever the macros are. */
static const Feature features[] = {
    {"__SSE3__", "sse3", 1, 0, ECX, 0, 0},
    {"__SSSE3__", "ssse3", 1, 0, ECX, 9, 0},
    {"__FMA__", "fma", 1, 0, ECX, 12, XMM_YMM},
    {"__SSE4_1__", "sse4.1", 1, 0, ECX, 19, 0},
    {"__SSE4_2__", "sse4.2", 1, 0, ECX, 20, 0},
    {"__MOVBE__", "movbe", 1, 0, ECX, 22, 0},
    {"__POPCNT__", "popcnt", 1, 0, ECX, 23, 0},
    {"__AVX__", "avx", 1, 0, ECX, 28, XMM_YMM},
    {"__F16C__", "f16c", 1, 0, ECX, 29, XMM_YMM},
    {"__BMI__", "bmi", 7, 0, EBX, 3, 0},
    {"__AVX2__", "avx2", 7, 0, EBX, 5, XMM_YMM},
    {"__BMI2__", "bmi2", 7, 0, EBX, 8, 0},
    {"__AVX512F__", "avx512f", 7, 0, EBX, 16, ZMM},
    {"__AVX512DQ__", "avx512dq", 7, 0, EBX, 17, ZMM},
    {"__AVX512IFMA__", "avx512ifma", 7, 0, EBX, 21, ZMM},
    {"__AVX512CD__", "avx512cd", 7, 0, EBX, 28, ZMM},
    {"__AVX512BW__", "avx512bw", 7, 0, EBX, 30, ZMM},
    {"__AVX512VL__", "avx512vl", 7, 0, EBX, 31, ZMM},
    {"__AVX512VBMI__", "avx512vbmi", 7, 0, ECX, 1, ZMM},
    {"__AVX512VBMI2__", "avx512vbmi2", 7, 0, ECX, 6, ZMM},
    {"__GFNI__", "gfni", 7, 0, ECX, 8, 0},
    {"__AVX512VNNI__", "avx512vnni", 7, 0, ECX, 11, ZMM},
    {"__AVX512BITALG__", "avx512bitalg", 7, 0, ECX, 12, ZMM},
    {"__AVX512VPOPCNTDQ__", "avx512vpopcntdq", 7, 0, ECX, 14, ZMM},
    {"__AVX512FP16__", "avx512fp16", 7, 0, EDX, 23, ZMM},
    {"__AVXVNNI__", "avxvnni", 7, 1, EAX, 4, XMM_YMM},
    {"__AVX512BF16__", "avx512bf16", 7, 1, EAX, 5, ZMM},
    {"__AVXIFMA__", "avxifma", 7, 1, EAX, 23, XMM_YMM},
    {"__AVXVNNIINT8__", "avxvnniint8", 7, 1, EDX, 4, XMM_YMM},
    {"__AVXNECONVERT__", "avxneconvert", 7, 1, EDX, 5, XMM_YMM},
    {"__LZCNT__", "lzcnt", extended, 0, ECX, 5, 0},
    {"__SSE4A__", "sse4a", extended, 0, ECX, 6, 0},
    {"__XOP__", "xop", extended, 0, ECX, 11, XMM_YMM},
    {"__FMA4__", "fma4", extended, 0, ECX, 16, XMM_YMM},
    {"__TBM__", "tbm", extended, 0, ECX, 21, 0},
    {NULL, "amx-bf16", 7, 0, EDX, 22, TILES},
    {NULL, "amx-tile", 7, 0, EDX, 24, TILES},
    {NULL, "amx-int8", 7, 0, EDX, 25, TILES},
};
enum { FEATURE_COUNT = sizeof features / sizeof *features };

const char *sn_features_machine(void) {
    return "x86_64";
}

/* The register states that the operating system saves (XGETBV of register 0). */
static uint32_t saved_state(void) {
    uint32_t eax, ebx, ecx, edx;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx >> 27 & 1)) return 0;
    __asm__("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
    return eax;
}

static bool present(const Feature *feature) {
    uint32_t word[4];
    if (!__get_cpuid_count(feature->leaf, feature->subleaf, &word[EAX], &word[EBX], &word[ECX], &word[EDX]))
        return false;
    bool has = word[feature->word] >> feature->bit & 1;
    return has && (!feature->state || (saved_state() & feature->state) == feature->state);
}

#elif defined __aarch64__

/* Bits of the Linux kernel's asm/hwcap.h. */
static const Feature features[] = {
    {"__ARM_NEON", "asimd", AT_HWCAP, 0, 0, 1, 0},
    {"__ARM_FEATURE_ATOMICS", "atomics", AT_HWCAP, 0, 0, 8, 0},
    {"__ARM_FEATURE_FP16_VECTOR_ARITHMETIC", "asimdhp", AT_HWCAP, 0, 0, 10, 0},
    {"__ARM_FEATURE_QRDMX", "asimdrdm", AT_HWCAP, 0, 0, 12, 0},
    {"__ARM_FEATURE_DOTPROD", "asimddp", AT_HWCAP, 0, 0, 20, 0},
    {"__ARM_FEATURE_SVE", "sve", AT_HWCAP, 0, 0, 22, 0},
    {"__ARM_FEATURE_FP16_FML", "asimdfhm", AT_HWCAP, 0, 0, 23, 0},
    {"__ARM_FEATURE_SVE2", "sve2", AT_HWCAP2, 0, 0, 1, 0},
    {"__ARM_FEATURE_MATMUL_INT8", "i8mm", AT_HWCAP2, 0, 0, 13, 0},
    {"__ARM_FEATURE_BF16", "bf16", AT_HWCAP2, 0, 0, 14, 0},
};
enum { FEATURE_COUNT = sizeof features / sizeof *features };

const char *sn_features_machine(void) {
    return "aarch64";
}

static bool present(const Feature *feature) {
    return getauxval(feature->leaf) >> feature->bit & 1;
}

#else

static const Feature features[1];
enum { FEATURE_COUNT = 0 };

const char *sn_features_machine(void) {
    return NULL;
}

static bool present(const Feature *feature) {
    (void)feature;
    return false;
}

#endif

static bool defines(const char *macros, const char *name) {
    size_t length = strlen(name);
    for (const char *at = macros; (at = strstr(at, name)); at += length)
        if (at > macros && at[-1] == ' ' && at[length] == ' ') return true;
    return false;
}

const char *sn_features_required(Arena *arena, const char *macros) {
    Text text = sn_text(arena);
    for (int i = 0; i < FEATURE_COUNT; i++)
        if (features[i].macro && defines(macros, features[i].macro))
            sn_text_add(&text, "%s%s", text.length ? " " : "", features[i].name);
    return sn_text_string(&text);
}

static bool has(const char *word, size_t length) {
    for (int i = 0; i < FEATURE_COUNT; i++)
        if (strlen(features[i].name) == length && memcmp(features[i].name, word, length) == 0)
            return present(&features[i]);
    return false;
}

const char *sn_features_missing(Arena *arena, const char *words) {
    Text text = sn_text(arena);
    for (const char *at = words; *at;) {
        size_t length = strcspn(at, " ");
        if (length && !has(at, length)) sn_text_add(&text, "%s%.*s", text.length ? " " : "", (int)length, at);
        at += length + (at[length] == ' ');
    }
    return sn_text_string(&text);
}

bool sn_features_matrix(void) {
    static const char *const names[] = {"amx-tile", "amx-bf16", "amx-int8"};
    bool all = true;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) all = all && has(names[i], strlen(names[i]));
    return all;
}
