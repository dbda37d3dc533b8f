/* ir: graphs as text, and back. */
#include "text_form.h"
#include "verify.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static Graph *parse(Arena *arena, const char *text) {
    Graph *graph = NULL;
    Status status = sn_graph_parse(arena, text, strlen(text), &graph);
    if (status) fail_msg("%s", sn_error_message(status));
    return graph;
}

static const char *print(Arena *arena, const Graph *graph) {
    Text text = sn_text(arena);
    sn_graph_print(&text, graph);
    return sn_text_string(&text);
}

/* The text is legal, and is exactly what its graph prints as. */
static void assert_canonical(const char *text) {
    Arena *arena = sn_arena_new();
    Graph *graph = parse(arena, text);
    Status status = sn_verify(graph);
    if (status) fail_msg("%s", sn_error_message(status));
    assert_string_equal(print(arena, graph), text);
    assert_string_equal(print(arena, sn_graph_clone(arena, graph)), text);
    sn_arena_free(arena);
}

/* Every attribute struct but the cluster's, and every way to write a constant. */
static const char imported[] =
    "graph \"all\" stage imported\n"
    "symbol B at_least 1\n"
    "symbol T at_least 1 at_most 2048\n"
    "symbol \"past + present\"\n"
    "check equal B*T, \"past + present\" @ \"mask\" Add 17 #4\n"
    "check at_most T, \"past + present\"\n"
    "input %0 \"ids\": i64[B, T]\n"
    "input %1 \"x\": f32[B, T, 8]\n"
    "input %2 \"q\": f16[B, 4, T, 16]\n"
    "%3 \"wte\" = constant {tensor = f32[50, 8] recipe 12 scale 0.02 offset 0} : f32[50, 8] ; group 3 setup\n"
    "%4 = constant {tensor = f32[100] elided 0123456789abcdef} : f32[100]\n"
    "%5 = constant {tensor = f32[4] (0.1, -0, inf, nan)} : f32[4]\n"
    "%6 = constant {tensor = i64[] (-9223372036854775808)} : i64[]\n"
    "%7 = constant {tensor = u64[1, 2] (18446744073709551615, 0)} : u64[1, 2]\n"
    "%8 = constant {tensor = bool[0] ()} : bool[0]\n"
    "%9 = constant {tensor = f64[2] (0.1, 1e+300)} : f64[2]\n"
    "%10 = constant {tensor = bf16[2] (0.1, 3e+38)} : bf16[2]\n"
    "%11 = dims {dim = [B, T - 1, (T floordiv 2)]} : i64[3]\n"
    "%12 = dims {dim = [T], scalar = true} : i64[]\n"
    "%13 = iota {dtype = i32, extent = T, start = 0, step = 2} : i32[T]\n"
    "%14 = gather(%3, %0) {axis = 0} : f32[B, T, 8] ; group 4 @ \"embed\" Gather 17 #2, \"\" Identity 17 #0\n"
    "%15 = cast(%14) {to = f16, elidable = true} : f16[B, T, 8] ; phase backward\n"
    "%16 = cast(%15) {to = f32} : f32[B, T, 8] ; phase update @ \"a\\n\\x01b\" \"com.microsoft\".\"od d\" 1 "
    "#7\n"
    "%17 = view(%16) {extent = [B, 2, T, 4], index = [i0, i2, 4*i1 + i3]} : f32[B, 2, T, 4]\n"
    "%18 = concat(%17, %17) {axis = 1} : f32[B, 4, T, 4]\n"
    "%19 = pad(%1) {before = [0, 1, 0], after = [0, 0, 2], value = -1.5} : f32[B, T + 1, 10]\n"
    "%20 = trilu(%1) {k = T - 8} : f32[B, T, 8]\n"
    "%21 = trilu(%20) {upper = true, k = 0} : f32[B, T, 8]\n"
    "%22 = cumsum(%21) {axis = 1, reverse = true} : f32[B, T, 8]\n"
    "%23 = reduce_sum(%22) {axes = [0, 2]} : f32[1, T, 1]\n"
    "%24 = layer_norm(%1, %22) {axis = 2, epsilon = 1e-05} : f32[B, T, 8]\n"
    "%25 = gelu(%24) : f32[B, T, 8]\n"
    "%26 = gelu(%25) {tanh = true} : f32[B, T, 8]\n"
    "%27 = silu(%26) {alpha = 1.702} : f32[B, T, 8]\n"
    "%28 = attention(%2, %2, %2) {scale = 0.25, causal = true, offset = 0} : f16[B, 4, T, 16]\n"
    "%29 = attention(%28, %2, %2, _) {scale = 0.25, zero_rows = true} : f16[B, 4, T, 16]\n"
    "%30 = pack(%3) {panel = 16} : f32[1, 50, 16]\n"
    "%31 = softmax(%23) {axis = 1} : f32[1, T, 1]\n"
    "output %28 \"att\"\n"
    "output %31 \"\"\n"
    "output %0 \"ids\"\n";

static void every_attribute_comes_back(void **state) {
    (void)state;
    assert_canonical(imported);
}

static void states_come_back(void **state) {
    (void)state;
    assert_canonical("graph \"step\" stage expanded\n"
                     "input %0 \"x\": f32[2]\n"
                     "input %1 \"w\": f32[2]\n"
                     "input %2 \"big\": f32[40]\n"
                     "%3 = add(%1, %0) : f32[2]\n"
                     "output %3 \"y\"\n"
                     "output %3 \"w\"\n"
                     "state %1 \"w\" next 1 first f32[2] (0.1, -2) copies \"w.T\", \"again\"\n"
                     "state %2 \"big\" first f32[40] elided 0123456789abcdef\n");
}

static void heavy_operators_come_back(void **state) {
    (void)state;
    assert_canonical("graph \"heavy\" stage expanded\n"
                     "symbol T\n"
                     "input %0 \"a\": f32[T, 50]\n"
                     "input %1 \"b\": f32[50, 40]\n"
                     "input %2 \"i\": i64[T, 1]\n"
                     "%3 = pack(%1) {panel = 16} : f32[3, 50, 16]\n"
                     "%4 = contract(%0, %3) {packed = true, columns = 40} : f32[T, 40]\n"
                     "%5 = contract(%0, %1) : f32[T, 40]\n"
                     "%6 = add(%4, %5) : f32[T, 40]\n"
                     "%7 = gather_nd(%6, %2) {batch_dims = 0} : f32[T, 40]\n"
                     "output %7 \"y\"\n");
}

static void clusters_come_back(void **state) {
    (void)state;
    assert_canonical("graph \"fused\" stage fused\n"
                     "symbol T\n"
                     "input %0 \"x\": f32[T, 768]\n"
                     "%1 = constant {tensor = f32[768] recipe 7 scale 1 offset 0} : f32[768] ; setup\n"
                     "%9, %10 \"rowsum\" = cluster(%0, %1) {kind = reduce} {\n"
                     "  param %2: f32[T, 768]\n"
                     "  param %3 \"gain\": f32[768]\n"
                     "  %4 = view(%3) {extent = [T, 768], index = [i1]} : f32[T, 768] ; group 2\n"
                     "  %5 = mul(%2, %4) : f32[T, 768]\n"
                     "  %6 = reduce_sum(%5) {axes = [1]} : f32[T, 1]\n"
                     "  %7 = exp(%6) : f32[T, 1]\n"
                     "  return %5, %7\n"
                     "} : f32[T, 768], f32[T, 1] ; group 4 @ \"norm\" LayerNormalization 17 #3\n"
                     "output %9 \"y\"\n"
                     "output %10 \"sum\"\n");
}

static void known_values_are_inferred_again(void **state) {
    (void)state;
    Arena *arena = sn_arena_new();
    Graph *graph = parse(arena, "graph \"\" stage imported symbol T\n"
                                "%0 = dims {dim = [T, 4]}\n"
                                "%1 = constant {tensor = i64[] (3)}\n"
                                "%2 = mul(%0, %1)\n"
                                "output %2");
    const Value *product = graph->body->result.at[0];
    assert_non_null(product->known);
    assert_ptr_equal(product->known[1], sn_dim(graph->dims, 12));
    assert_ptr_equal(product->known[0], sn_dim_mulc(graph->dims, sn_dim_symbol(graph->dims, "T"), 3));
    sn_arena_free(arena);
}

static void types_comments_and_space_are_optional(void **state) {
    (void)state;
    Arena *arena = sn_arena_new();
    Graph *graph = parse(arena, "// a comment\ngraph \"g\" stage imported input %5: f32[2] // of two\n"
                                "%3=exp(%5){};group 9\r\n\t%8 = neg( %3 ) output %8 \"y\" //");
    assert_string_equal(print(arena, graph), "graph \"g\" stage imported\n"
                                             "input %5: f32[2]\n"
                                             "%3 = exp(%5) : f32[2] ; group 9\n"
                                             "%8 = neg(%3) : f32[2]\n"
                                             "output %8 \"y\"\n");
    assert_int_equal(graph->next_value, 9);
    assert_int_equal(graph->next_group, 10);
    sn_arena_free(arena);
}

static void large_tensors_keep_their_hash(void **state) {
    (void)state;
    Arena *arena = sn_arena_new();
    Graph *graph = sn_graph_new(arena, "g");
    Builder builder = {.graph = graph, .region = graph->body};
    float *element;
    Tensor *tensor = sn_tensor_new(arena, SN_F32, 1, (int64_t[]){33}, (void **)&element);
    sn_graph_output(graph, "w", sn_build_constant(&builder, tensor));
    const char *zeros = print(arena, graph);
    element[32] = 1;
    const char *changed = print(arena, graph);
    assert_string_not_equal(zeros, changed);
    assert_non_null(strstr(changed, "f32[33] elided "));
    Graph *read = parse(arena, changed);
    assert_string_equal(print(arena, read), changed);
    const Tensor *stand_in = ((const AttrConstant *)read->body->first->attr)->tensor;
    assert_true(sn_tensor_get(stand_in, 32) == 0);
    sn_arena_free(arena);
}

/* Each element prints with no more digits than it needs and comes back bit for bit. */
static void narrow_floats_are_exact(void **state) {
    (void)state;
    Arena *arena = sn_arena_new();
    static const struct {
        DType dtype;
        int64_t patterns;
    } types[] = {{SN_F16, 65536}, {SN_BF16, 65536}};
    for (size_t k = 0; k < 2; k++) {
        for (int64_t first = 0; first < types[k].patterns; first += 32 * 61) {
            Graph *graph = sn_graph_new(arena, "g");
            Builder builder = {.graph = graph, .region = graph->body};
            uint16_t *bits;
            Tensor *tensor = sn_tensor_new(arena, types[k].dtype, 1, (int64_t[]){32}, (void **)&bits);
            for (int i = 0; i < 32; i++) bits[i] = (uint16_t)(first + i * 61);
            sn_build_constant(&builder, tensor);
            Graph *read = parse(arena, print(arena, graph));
            const uint16_t *back = ((const AttrConstant *)read->body->first->attr)->tensor->bytes;
            for (int i = 0; i < 32; i++) {
                double value = sn_tensor_get(tensor, i);
                if (value == value) assert_int_equal(back[i], bits[i]);
            }
        }
    }
    sn_arena_free(arena);
}

/* A text that differs only in where the error is, and what must be said about it. */
static const struct {
    const char *text, *message;
} broken[] = {
    {"", "1:1: 'graph' expected"},
    {"graph \"g", "1:7: the string is not closed"},
    {"graph \"\\q\"", "1:8: not a character"},
    {"graph \"a\\x00b\"", "1:9: not a character"},
    {"graph \"g\" stage late", "1:17: a stage expected"},
    {"graph \"g\" stage imported\n  what", "2:3: a statement expected"},
    {"graph \"g\" stage imported\nsymbol T + 1", "2:8: a symbol expected"},
    {"graph \"g\" stage imported\nsymbol T at_least -1", "2:19: an integer from 0"},
    {"graph \"g\" stage imported\ncheck near T, S", "2:7: a kind of check expected"},
    {"graph \"g\" stage imported\ninput %0: f31[2]", "2:11: an element type"},
    {"graph \"g\" stage imported\ninput %0: f32[i0]", "2:15: axis i0"},
    {"graph \"g\" stage imported\ninput %0: f32[-2]", "2:14: a negative extent"},
    {"graph \"g\" stage imported\ninput %99999999: f32[]", "2:8: an integer from 0"},
    {"graph \"g\" stage imported\ninput %0: f32[9999999999999999999]", "2:15: "},
    {"graph \"g\" stage imported\ninput %0: f32[4611686018427387904*4*T]", "2:15: overflow in a size"},
    {"graph \"g\" stage imported\n%0 = exp(%1)", "2:10: %1 is not defined"},
    {"graph \"g\" stage imported\n%0 = exp(%0)", "2:10: %0 is not defined"},
    {"graph \"g\" stage imported\n%0 = exq()", "2:6: an operator expected"},
    {"graph \"g\" stage imported\n%0 = exp()", "2:1: exp: "},
    {"graph \"g\" stage imported\ninput %0: f32[]\n%0 = exp(%0)", "3:1: %0 is defined twice"},
    {"graph \"g\" stage imported\ninput %0: f32[]\n%1 = exp(%0) : f16[]", "3:16: result 0 is f32[]"},
    {"graph \"g\" stage imported\ninput %0: f32[]\n%1 = neg(%0) {axis = 1}", "3:15: an attribute"},
    {"graph \"g\" stage imported\ninput %0: f32[2]\n%1 = softmax(%0)", "3:17: attribute axis is missing"},
    {"graph \"g\" stage imported\ninput %0: f32[2]\n%1 = softmax(%0) {axis = 0, axis = 0}",
     "3:29: axis is given twice"},
    {"graph \"g\" stage imported\ninput %0: f32[2]\n%1 = view(%0) {index = [i0]}",
     "3:16: extent must come before index"},
    {"graph \"g\" stage imported\ninput %0: f32[2]\n%1 = pad(%0) {before = [1], after = [1, 2], value = "
     "0}",
     "3:37: before and after differ in length"},
    {"graph \"g\" stage imported\n%0 = constant {tensor = f32[2] (1)}", "2:34: ',' expected"},
    {"graph \"g\" stage imported\n%0 = constant {tensor = f32[T] (1)}", "2:28: the extents of a tensor"},
    {"graph \"g\" stage imported\n%0 = constant {tensor = f32[9999999, 9999999, 9999999]", "too large"},
    {"graph \"g\" stage imported\n%0 = constant {tensor = f32[5000] (1)}", "2:35: a tensor of more than"},
    {"graph \"g\" stage imported\n%0 = constant {tensor = f32[1] (x)}", "2:33: a number expected"},
    {"graph \"g\" stage fused\ninput %0: f32[]\n%2 = cluster(%0) {kind = map} { param %1: f16[] return "
     "%1 }",
     "3:31: operand 0 and its param"},
    {"graph \"g\" stage fused\ninput %0: f32[]\n%2 = cluster(%0) {kind = map} { param %1: f32[] return "
     "%0 }",
     "3:56: %0 belongs to another region"},
    {"graph \"g\" stage fused\ninput %0: f32[]\n%2 = cluster(%0) {kind = map} { return }",
     "3:31: the body returns 0 values for 1 results"},
    {"graph \"g\" stage imported\noutput %0", "2:8: %0 is not defined"},
};

static void errors_name_line_and_column(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        Arena *arena = sn_arena_new();
        Graph *graph;
        Status status = sn_graph_parse(arena, broken[i].text, strlen(broken[i].text), &graph);
        assert_int_equal(sn_error_code(status), SN_INVALID);
        if (!strstr(sn_error_message(status), broken[i].message))
            fail_msg("\"%s\" is not in: %s", broken[i].message, sn_error_message(status));
        sn_error_free(status);
        sn_arena_free(arena);
    }
}

static void nesting_is_bounded(void **state) {
    (void)state;
    Arena *arena = sn_arena_new();
    Text text = sn_text(arena);
    sn_text_add(&text, "graph \"g\" stage fused\n");
    for (int i = 0; i < 100000; i++) sn_text_add(&text, "%%%d = cluster() {kind = map} {", i);
    Graph *graph;
    Status status = sn_graph_parse(arena, sn_text_string(&text), text.length, &graph);
    assert_non_null(strstr(sn_error_message(status), "nested too deep"));
    sn_error_free(status);
    sn_arena_free(arena);
}

/* What is accepted after a piece was cut out or a character changed still prints and parses to itself. */
static void try_variant(const char *text, size_t length) {
    Arena *arena = sn_arena_new();
    Graph *graph;
    Status status = sn_graph_parse(arena, text, length, &graph);
    if (!status) {
        sn_error_free(sn_verify(graph));
        const char *first = print(arena, graph);
        assert_string_equal(print(arena, parse(arena, first)), first);
    }
    sn_error_free(status);
    sn_arena_free(arena);
}

static void damaged_text_is_refused_or_read_soundly(void **state) {
    (void)state;
    uint32_t random = 12345;
    char variant[sizeof imported];
    for (int round = 0; round < 1500; round++) {
        random = random * 1664525u + 1013904223u;
        size_t at = (random >> 8) % (sizeof imported - 1);
        random = random * 1664525u + 1013904223u;
        size_t other = (random >> 8) % (sizeof imported - 1);
        memcpy(variant, imported, sizeof imported);
        if (round % 3 == 0)
            try_variant(variant, at);
        else if (round % 3 == 1)
            variant[at] = imported[other];
        else
            memmove(variant + at, variant + (at + 1 + random % 7), sizeof imported - at - 8);
        try_variant(variant, strnlen(variant, sizeof variant));
    }
}

static void dot_shows_nodes_and_clusters(void **state) {
    (void)state;
    Arena *arena = sn_arena_new();
    Graph *graph = parse(arena, "graph \"g\" stage fused\ninput %0 \"a\\\"b\": f32[]\n"
                                "%3 = cluster(%0) {kind = map} { param %1: f32[] %2 = exp(%1) return %2 }\n"
                                "output %3 \"y\"");
    Text text = sn_text(arena);
    sn_graph_print_dot(&text, graph);
    const char *dot = sn_text_string(&text);
    assert_non_null(strstr(dot, "label=\"%0 \\\"a\\\\\\\"b\\\"\""));
    assert_non_null(strstr(dot, "subgraph cluster_"));
    assert_non_null(strstr(dot, "label=\"exp\""));
    sn_arena_free(arena);
}

static void elided_tensors_get_their_bytes(void **state) {
    (void)state;
    static const char text[] = "graph \"g\" stage imported\n"
                               "%0 = constant {tensor = i64[40] elided 00000000000000ab} : i64[40]\n"
                               "%1 = constant {tensor = i64[40] elided 00000000000000cd} : i64[40]\n"
                               "output %0\noutput %1\n";
    Arena *arena = sn_arena_new();
    int64_t elements[40] = {7, 8, 9};
    uint64_t key = 0xab;
    Payload payload = {elements, sizeof elements};
    Map *payloads = sn_map_new(arena);
    *sn_map_at(payloads, &key, sizeof key) = &payload;
    Graph *graph;
    Status status = sn_graph_parse_with(arena, text, strlen(text), payloads, &graph);
    if (status) fail_msg("%s", sn_error_message(status));
    const Value *known = graph->body->result.at[0], *unknown = graph->body->result.at[1];
    const Tensor *tensor = ((const AttrConstant *)known->producer->attr)->tensor;
    assert_int_equal(tensor->payload, SN_PAYLOAD_BYTES);
    assert_ptr_equal(tensor->bytes, elements);
    /* Inference sees them. */
    int64_t element;
    assert_true(sn_dim_is(known->known[2], &element) && element == 9);
    tensor = ((const AttrConstant *)unknown->producer->attr)->tensor;
    assert_int_equal(tensor->payload, SN_PAYLOAD_RECIPE);
    payload.size--;
    status = sn_graph_parse_with(arena, text, strlen(text), payloads, &graph);
    assert_int_equal(sn_error_code(status), SN_INVALID);
    assert_non_null(strstr(sn_error_message(status), "bytes that belong to it"));
    sn_error_free(status);
    sn_arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_attribute_comes_back),
        cmocka_unit_test(elided_tensors_get_their_bytes),
        cmocka_unit_test(states_come_back),
        cmocka_unit_test(heavy_operators_come_back),
        cmocka_unit_test(clusters_come_back),
        cmocka_unit_test(known_values_are_inferred_again),
        cmocka_unit_test(types_comments_and_space_are_optional),
        cmocka_unit_test(large_tensors_keep_their_hash),
        cmocka_unit_test(narrow_floats_are_exact),
        cmocka_unit_test(errors_name_line_and_column),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(damaged_text_is_refused_or_read_soundly),
        cmocka_unit_test(dot_shows_nodes_and_clusters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
