#include "rows_cases.h"
#include <stddef.h>

/* One input x and one or more further ones of the same shape. */
#define ONE(ROW)  "symbol N at_least 1\ninput %0 \"x\": f32[N, " ROW "]\n"
#define HALF(ROW) "symbol N at_least 1\ninput %0 \"x\": bf16[N, " ROW "]\n"
#define TWO(ROW)  ONE(ROW) "input %1 \"y\": f32[N, " ROW "]\n"
#define NORM                                                                                                 \
    "input %2 \"gain\": f32[768]\n"                                                                          \
    "input %3 \"bias\": f32[768]\n"

const RowsCase sn_rows_cases[] = {
    {"add", TWO("768") "%9 = add(%0, %1)\noutput %9 \"z\"\n", .row_bytes = 3072},
    {"add, rows of 1001, bias", ONE("1001") "input %1 \"b\": f32[1001]\n%9 = add(%0, %1)\noutput %9 \"z\"\n",
     .row_bytes = 4004},
    {"gelu tanh", ONE("3072") "%9 = gelu(%0) {tanh = true}\noutput %9 \"z\"\n", .row_bytes = 12288},
    {"gelu tanh, bf16", HALF("3072") "%9 = gelu(%0) {tanh = true}\noutput %9 \"z\"\n", .row_bytes = 6144},
    {"gelu erf", ONE("3072") "%9 = gelu(%0) {tanh = false}\noutput %9 \"z\"\n", .row_bytes = 12288},
    {"silu * gate", TWO("2048") "%8 = silu(%0) {alpha = 1}\n%9 = mul(%8, %1)\noutput %9 \"z\"\n",
     .row_bytes = 8192},
    {"layer norm",
     ONE("768") NORM "%9 = layer_norm(%0, %2, %3) {axis = 1, epsilon = 1e-05}\noutput %9 \"z\"\n",
     .row_bytes = 3072},
    {"residual + layer norm",
     TWO("768") NORM
     "%8 = add(%0, %1)\n%9 = layer_norm(%8, %2, %3) {axis = 1, epsilon = 1e-05}\noutput %9 \"z\"\n",
     .row_bytes = 3072},
    {"residual + layer norm, two outputs",
     TWO("768") NORM "%8 = add(%0, %1)\n%9 = layer_norm(%8, %2, %3) {axis = 1, epsilon = 1e-05}\n"
                     "output %8 \"s\"\noutput %9 \"z\"\n",
     .row_bytes = 3072},
    {"residual + rms norm, two outputs",
     TWO("4096") "input %2 \"gain\": f32[4096]\n%8 = add(%0, %1)\n"
                 "%9 = rms_norm(%8, %2) {axis = 1, epsilon = 1e-05}\noutput %8 \"s\"\noutput %9 \"z\"\n",
     .row_bytes = 16384},
    {"layer norm 4096",
     ONE("4096") "input %2 \"gain\": f32[4096]\ninput %3 \"bias\": f32[4096]\n%9 = layer_norm(%0, %2, %3) "
                 "{axis = 1, epsilon = 1e-05}\noutput %9 \"z\"\n",
     .row_bytes = 16384},
    {"layer norm 1024, bf16",
     HALF("1024") "input %2 \"gain\": bf16[1024]\ninput %3 \"bias\": bf16[1024]\n%9 = layer_norm(%0, %2, %3) "
                  "{axis = 1, epsilon = 1e-05}\noutput %9 \"z\"\n",
     .row_bytes = 2048},
    {"rms norm 2048",
     ONE("2048") "input %2 \"gain\": f32[2048]\n%9 = rms_norm(%0, %2) {axis = 1, epsilon = 1e-05}\noutput %9 "
                 "\"z\"\n",
     .row_bytes = 8192},
    {"rms norm 4096",
     ONE("4096") "input %2 \"gain\": f32[4096]\n%9 = rms_norm(%0, %2) {axis = 1, epsilon = 1e-05}\noutput %9 "
                 "\"z\"\n",
     .row_bytes = 16384},
    {"rms norm 4096, bf16",
     HALF("4096") "input %2 \"gain\": bf16[4096]\n%9 = rms_norm(%0, %2) {axis = 1, epsilon = 1e-05}\noutput "
                  "%9 \"z\"\n",
     .row_bytes = 8192},
    {"residual + rms norm, two outputs, bf16",
     HALF("4096") "input %1 \"y\": bf16[N, 4096]\n"
                  "input %2 \"gain\": bf16[4096]\n%8 = add(%0, %1)\n%9 = rms_norm(%8, %2) {axis = 1, epsilon "
                  "= 1e-05}\noutput %8 \"s\"\noutput %9 \"z\"\n",
     .row_bytes = 8192},
    {"softmax 128", ONE("128") "%9 = softmax(%0) {axis = 1}\noutput %9 \"z\"\n", .row_bytes = 512},
    {"softmax 512", ONE("512") "%9 = softmax(%0) {axis = 1}\noutput %9 \"z\"\n", .row_bytes = 2048},
    {"softmax 1024", ONE("1024") "%9 = softmax(%0) {axis = 1}\noutput %9 \"z\"\n", .row_bytes = 4096},
    {"softmax 1024, bf16", HALF("1024") "%9 = softmax(%0) {axis = 1}\noutput %9 \"z\"\n", .row_bytes = 2048},
    {"softmax 8192", ONE("8192") "%9 = softmax(%0) {axis = 1}\noutput %9 \"z\"\n", .row_bytes = 32768,
     .again = ROWS_KEPT},
    {"softmax 50257", ONE("50257") "%9 = softmax(%0) {axis = 1}\noutput %9 \"z\"\n", .row_bytes = 201028,
     .again = ROWS_KEPT},
    {"softmax 128256", ONE("128256") "%9 = softmax(%0) {axis = 1}\noutput %9 \"z\"\n", .row_bytes = 513024,
     .again = ROWS_KEPT},
    {"softmax 4000001", ONE("4000001") "%9 = softmax(%0) {axis = 1}\noutput %9 \"z\"\n",
     .row_bytes = 16000004, .again = ROWS_TWICE},
    {"log softmax 50257", ONE("50257") "%9 = log_softmax(%0) {axis = 1}\noutput %9 \"z\"\n",
     .row_bytes = 201028, .again = ROWS_READ_AGAIN},
    {"row sums 1024", ONE("1024") "%9 = reduce_sum(%0) {axes = [1]}\noutput %9 \"z\"\n", .row_bytes = 4096},
    {"row maxima 1024", ONE("1024") "%9 = reduce_max(%0) {axes = [1]}\noutput %9 \"z\"\n", .row_bytes = 4096},
    {"sum of all", ONE("1024") "%9 = reduce_sum(%0) {axes = [0, 1]}\noutput %9 \"z\"\n", .row_bytes = 4096},
    {"maxima of 3 long rows",
     "symbol N at_least 1\ninput %0 \"x\": f32[3, N]\n%9 = reduce_max(%0) {axes = [1]}\noutput %9 \"z\"\n",
     .row_bytes = 12},
    {"column sums 768", ONE("768") "%9 = reduce_sum(%0) {axes = [0]}\noutput %9 \"z\"\n", .row_bytes = 3072},
    {"column sums 50257", ONE("50257") "%9 = reduce_sum(%0) {axes = [0]}\noutput %9 \"z\"\n",
     .row_bytes = 201028},
    {"transpose", ONE("768") "%9 = view(%0) {extent = [768, N], index = [i1, i0]}\noutput %9 \"z\"\n",
     .row_bytes = 3072, .multiple = 64, .columns = 768},
    {"transpose, odd", ONE("1001") "%9 = view(%0) {extent = [1001, N], index = [i1, i0]}\noutput %9 \"z\"\n",
     .row_bytes = 4004, .columns = 1001},
    {"head split",
     "symbol N at_least 1\ninput %0 \"x\": f32[N, 256, 768]\n%9 = view(%0) {extent = [N, 12, 256, 64], "
     "index = [i0, i2, 64*i1 + i3]}\noutput %9 \"z\"\n",
     .row_bytes = 786432},
    {"head merge",
     "symbol N at_least 1\ninput %0 \"x\": f32[N, 12, 256, 64]\n%9 = view(%0) {extent = [N, 256, 12, 64], "
     "index = [i0, i2, i1, i3]}\noutput %9 \"z\"\n",
     .row_bytes = 786432},
    {"head split, keys transposed",
     "symbol N at_least 1\ninput %0 \"x\": f32[N, 256, 768]\n%9 = view(%0) {extent = [N, 12, 64, 256], "
     "index = [i0, i3, 64*i1 + i2]}\noutput %9 \"z\"\n",
     .row_bytes = 786432, .columns = 768, .positions = 256},
    {"embedding",
     "symbol N at_least 1\ninput %0 \"ids\": i64[N]\ninput %1 \"table\": f32[30000, 768]\n"
     "%9 = gather(%1, %0) {axis = 0}\noutput %9 \"z\"\n",
     .row_bytes = 3072, .index_most = 30000, .table = 2, .table_bytes = 30000 * 3072, .table_row = 3072},
    {"embedding + position + layer norm",
     "symbol N at_least 1\ninput %0 \"ids\": i64[N, 256]\ninput %1 \"table\": f32[30000, 768]\n"
     "input %4 \"position\": f32[256, 768]\n" NORM "%7 = gather(%1, %0) {axis = 0}\n%8 = add(%7, %4)\n"
     "%9 = layer_norm(%8, %2, %3) {axis = 2, epsilon = 1e-05}\noutput %9 \"z\"\n",
     .row_bytes = 786432, .index_most = 30000, .table = 2, .table_bytes = 30000 * 3072, .table_row = 3072,
     .table_beside = 256},
    {"rotary + head split",
     "symbol N at_least 1\ninput %0 \"x\": f32[N, 256, 768]\ninput %1 \"c\": f32[256, 32]\n"
     "input %2 \"s\": f32[256, 32]\n"
     "%8 = view(%0) {extent = [N, 12, 256, 64], index = [i0, i2, 64*i1 + i3]}\n"
     "%9 = rotary(%8, %1, %2)\noutput %9 \"z\"\n",
     .row_bytes = 786432},
    {"f32 to bf16", ONE("1024") "%9 = cast(%0) {to = bf16}\noutput %9 \"z\"\n", .row_bytes = 4096},
    {"bf16 to f32",
     "symbol N at_least 1\ninput %0 \"x\": bf16[N, 1024]\n%9 = cast(%0) {to = f32}\noutput %9 \"z\"\n",
     .row_bytes = 4096},
    {"f32 to f16", ONE("1024") "%9 = cast(%0) {to = f16}\noutput %9 \"z\"\n", .row_bytes = 4096},
    {"f16 to f32",
     "symbol N at_least 1\ninput %0 \"x\": f16[N, 1024]\n%9 = cast(%0) {to = f32}\noutput %9 \"z\"\n",
     .row_bytes = 4096},
    {"concat of rows", TWO("768") "%9 = concat(%0, %1) {axis = 0}\noutput %9 \"z\"\n", .row_bytes = 6144},
    {"concat in rows", TWO("768") "%9 = concat(%0, %1) {axis = 1}\noutput %9 \"z\"\n", .row_bytes = 6144},
    {"concat in rows, odd", TWO("333") "%9 = concat(%0, %1) {axis = 1}\noutput %9 \"z\"\n",
     .row_bytes = 2664},
    {"depthwise 7x7",
     "symbol N at_least 1\ninput %0 \"x\": f32[N, 14, 14, 384]\ninput %1 \"w\": f32[7, 7, 384]\n"
     "%6 = pad(%0) {before = [0, 3, 3, 0], after = [0, 3, 3, 0], value = 0}\n"
     "%7 = view(%6) {extent = [N, 14, 14, 7, 7, 384], index = [i0, i1 + i3, i2 + i4, i5]}\n"
     "%8 = mul(%7, %1)\n%9 = reduce_sum(%8) {axes = [3, 4]}\noutput %9 \"z\"\n",
     .row_bytes = 301056},
    {"depthwise 3x3",
     "symbol N at_least 1\ninput %0 \"x\": f32[N, 32, 32, 256]\ninput %1 \"w\": f32[3, 3, 256]\n"
     "%6 = pad(%0) {before = [0, 1, 1, 0], after = [0, 1, 1, 0], value = 0}\n"
     "%7 = view(%6) {extent = [N, 32, 32, 3, 3, 256], index = [i0, i1 + i3, i2 + i4, i5]}\n"
     "%8 = mul(%7, %1)\n%9 = reduce_sum(%8) {axes = [3, 4]}\noutput %9 \"z\"\n",
     .row_bytes = 1048576},
    {"windows 3x3",
     "symbol N at_least 1\ninput %0 \"x\": f32[N, 28, 28, 128]\n"
     "%6 = pad(%0) {before = [0, 1, 1, 0], after = [0, 1, 1, 0], value = 0}\n"
     "%9 = view(%6) {extent = [N, 28, 28, 3, 3, 128], index = [i0, i1 + i3, i2 + i4, i5]}\noutput %9 \"z\"\n",
     .row_bytes = 3612672},
    {"AdamW", NULL, .row_bytes = 4},
};

const int sn_rows_case_count = sizeof sn_rows_cases / sizeof *sn_rows_cases;
