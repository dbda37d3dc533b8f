/* The interpreter: products, rotation and attention. */
#include "eval_fixture.h"

static void products(void **state) {
    Arena *arena = *state;
    const Array *a = F("2 3", 1, 2, 3, 4, 5, 6), *b = F("3 2", 1, 0, 0, 1, -1, 2), *v = F("3", 1, -1, 2);
    expect(arena, SN_OP_MATMUL, NULL, F("2 2", -2, 8, -2, 17), a, b, NULL);
    expect(arena, SN_OP_MATMUL, NULL, F("2", 5, 11), a, v, NULL);
    expect(arena, SN_OP_MATMUL, NULL, F("2", -1, 3), v, b, NULL);
    expect(arena, SN_OP_MATMUL, NULL, F("", 6), v, v, NULL);
    expect(arena, SN_OP_MATMUL, NULL, I("2 2 1 1", 3, 4, 6, 8), I("2 1 1 1", 1, 2), I("2 1 1", 3, 4), NULL);
    expect(arena, SN_OP_MATMUL, NULL, F("2 2", 0, 0, 0, 0), F("2 0", 0), F("0 2", 0), NULL);
    expect(arena, SN_OP_CONTRACT, &(AttrContract){0}, F("2 2", -2, 8, -2, 17), a, b, NULL);
    expect(arena, SN_OP_CONTRACT, &(AttrContract){0}, ARRAY(SN_I8, "2 1 1", 14, -24),
           ARRAY(SN_I8, "2 1 2", 100, 10, 8, 16), ARRAY(SN_I8, "2 2 1", 2, 7, 5, 12), NULL);
}

/* pack in panels of 2 columns, then the same product. */
static void packed_products(void **state) {
    Arena *arena = *state;
    const Array *b = F("2 3", 1, 2, 3, 4, 5, 6);
    const Array *packed = F("2 2 2", 1, 2, 4, 5, 3, 0, 6, 0);
    expect(arena, SN_OP_PACK, &(AttrPack){.panel = 2}, packed, b, NULL, NULL);
    const Array *input[2] = {F("1 2", 10, 1), packed};
    Call call = call_of(arena, 2, input);
    AttrContract attr = {.packed = true, .columns = sn_dim(call.graph->dims, 3)};
    Array *got;
    assert_ok(finish(&call, sn_build(&call.builder, SN_OP_CONTRACT, &attr, 2, call.value), false, &got));
    assert_same(got, F("1 3", 14, 25, 36), "packed contract");

    /* Bytes in groups of two rows. */
    const Array *bytes[2] = {ARRAY(SN_U8, "1 3", 255, 1, 2),
                             ARRAY(SN_I8, "1 2 2 2", -128, 1, 2, 3, 4, 0, 5, 0)};
    const Array *matrix = ARRAY(SN_I8, "3 2", -128, 2, 1, 3, 4, 5);
    expect(arena, SN_OP_PACK, &(AttrPack){.panel = 2, .group = 2}, bytes[1], matrix, NULL, NULL);
    call = call_of(arena, 2, bytes);
    attr = (AttrContract){.packed = true, .columns = sn_dim(call.graph->dims, 2), .group = 2};
    assert_ok(finish(&call, sn_build(&call.builder, SN_OP_CONTRACT, &attr, 2, call.value), false, &got));
    assert_same(got, ARRAY(SN_I32, "1 2", -32631, 523), "packed bytes");
    const Array *halves[3] = {ARRAY(SN_F32, "1 8", 10, 1, 0, 0, 0, 0, 0, 100),
                              ARRAY(SN_I8, "1 1 2 4", -121, 3, 3, 0x20, 0x2f, 3, 3, -16),
                              ARRAY(SN_F32, "1 1 2", 1, 2)};
    call = call_of(arena, 3, halves);
    attr = (AttrContract){
        .packed = true, .columns = sn_dim(call.graph->dims, 2), .block = 8, .halves = true, .group = 4};
    assert_ok(finish(&call, sn_build(&call.builder, SN_OP_CONTRACT, &attr, 3, call.value), false, &got));
    assert_same(got, ARRAY(SN_F32, "1 2", 262, -216), "packed halves of bytes");
    attr = (AttrContract){.packed = true};

    /* Two batches of two panels, with one row of inner extent 1. */
    const Array *batched[2] = {F("2 1 1", 10, 100), F("2 2 1 2", 1, 2, 3, 0, 4, 5, 6, 0)};
    call = call_of(arena, 2, batched);
    attr.columns = sn_dim(call.graph->dims, 3);
    assert_ok(finish(&call, sn_build(&call.builder, SN_OP_CONTRACT, &attr, 2, call.value), false, &got));
    assert_same(got, F("2 1 3", 10, 20, 30, 400, 500, 600), "batched packed contract");
}

static void rotaries(void **state) {
    Arena *arena = *state;
    /* Turns by 0, 90, 180 degrees and 90 with length 2; the last element passes. */
    const Array *x = F("2 1 5", 1, 2, 3, 4, 9, 5, 6, 7, 8, 9);
    const Array *cosine = F("2 1 2", 1, 0, -1, 0), *sine = F("2 1 2", 0, 1, 0, 2);
    expect(arena, SN_OP_ROTARY, &(AttrRotary){false}, F("2 1 5", 1, -4, 3, 2, 9, -5, -16, -7, 12, 9), x,
           cosine, sine);
    expect(arena, SN_OP_ROTARY, &(AttrRotary){true}, F("2 1 5", 1, 2, -4, 3, 9, -5, -6, -16, 14, 9), x,
           cosine, sine);
    expect(arena, SN_OP_ROTARY, &(AttrRotary){false}, F("2 1 2", -2, 1, -4, 3), F("2 1 2", 1, 2, 3, 4),
           F("1", 0), F("1", 1));
}

static void check_attention(Arena *arena, AttrAttention attr, int64_t offset, const Array *bias,
                            const Array *want) {
    const Array *input[4] = {F("1 2 2 2", 1, 0, 0.5, -1, 2, 1, 0, 1), F("1 1 3 2", 1, 0, 0, 1, 1, 1),
                             F("1 1 3 2", 1, 2, 3, 4, -1, 0.5), bias};
    Call call = call_of(arena, bias ? 4 : 3, input);
    if (attr.causal) attr.offset = sn_dim(call.graph->dims, offset);
    Array *got;
    Value *value = sn_build(&call.builder, SN_OP_ATTENTION, &attr, bias ? 4 : 3, call.value);
    assert_ok(finish(&call, value, false, &got));
    assert_same(got, want, "attention");
    evaluated[SN_OP_ATTENTION] = true;
}

static void attentions(void **state) {
    Arena *arena = *state;
    check_attention(arena, (AttrAttention){.scale = 0.5}, 0, NULL,
                    F("1 2 2 2", 0.698089612857, 1.889915478452, 0.870927618578, 2.016805600442,
                      0.35968666434, 1.612926859868, 1, 2.191825865595));
    check_attention(arena, (AttrAttention){.scale = 0.5, .causal = true}, 0, NULL,
                    F("1 2 2 2", 1, 2, 1.641642601649, 2.641642601649, 1, 2, 2.244918662404, 3.244918662404));
    check_attention(arena, (AttrAttention){.scale = 0.5, .causal = true}, 1, NULL,
                    F("1 2 2 2", 1.755081337596, 2.755081337596, 0.870927618578, 2.016805600442,
                      1.755081337596, 2.755081337596, 1, 2.191825865595));
    check_attention(arena, (AttrAttention){.scale = 0.5}, 0, F("3", 0, 1, -1),
                    F("1 2 2 2", 1.849195469913, 2.910171296068, 1.846293916772, 2.890792583351,
                      1.64031333566, 2.733475197273, 2.273002152501, 3.322813976532));
    check_attention(arena, (AttrAttention){.scale = 0.5, .softcap = 0.4}, 0, F("3", 0, 1, -1),
                    F("1 2 2 2", 1.949298672834, 3.004970491801, 1.943574981443, 2.985925114187,
                      2.117434556843, 3.164330015487, 2.237568318545, 3.285993637536));
    check_attention(arena, (AttrAttention){.scale = 0.5}, 0, B("1 1 1 3", 1, 0, 1),
                    F("1 2 2 2", 0, 1.25, 0.244918662404, 1.433688996803, -0.244918662404, 1.066311003197,
                      -0.244918662404, 1.066311003197));
    /* The first query sees no key. */
    check_attention(arena, (AttrAttention){.scale = 0.5, .causal = true}, -1, NULL,
                    F("1 2 2 2", NAN, NAN, 1, 2, NAN, NAN, 1, 2));
    check_attention(arena, (AttrAttention){.scale = 0.5, .causal = true, .zero_rows = true}, -1, NULL,
                    F("1 2 2 2", 0, 0, 1, 2, 0, 0, 1, 2));
}

/* Grouped heads, a causal mask, statistics of any kind and a row that sees nothing. */
static void attention_gradients(void **state) {
    Arena *arena = *state;
    const Array *input[6] = {F("1 2 2 2", 1, 0, 0.5, -1, 2, 1, 0, 1),
                             F("1 1 3 2", 1, 0, 0, 1, 1, 1),
                             F("1 1 3 2", 1, 2, 3, 4, -1, 0.5),
                             F("1 2 2 2", 1, -1, 2, 0, 0.5, 1, -2, 3),
                             F("1 2 2 2", 0.5, 0.25, 0.25, 0.5, 1, 0, -INFINITY, -INFINITY),
                             F("1 2 2 1", -2, 3, 2, 5)};
    const Array *want[3] = {
        F("1 2 2 2", 0.389400391536, 0, -0.303265329856, 0.42975719529, 0.25, 0, 0, 0),
        F("1 1 3 2", 0.737767726608, 0.553265329856, 0.214878597645, -0.42975719529, 0, 0),
        F("1 1 3 2", 2.4918621025, 0.221199216929, 0.57300959372, 0, 0, 0)};
    for (int k = 0; k < 3; k++) {
        Call call = call_of(arena, 6, input);
        AttrAttention attr = {.scale = 0.5, .causal = true, .offset = sn_dim(call.graph->dims, 0)};
        const Value *first = sn_build(&call.builder, SN_OP_ATTENTION_BACKWARD, &attr, 6, call.value);
        assert_non_null(first);
        Array *got;
        assert_ok(finish(&call, first->producer->output[k], false, &got));
        assert_same(got, want[k], "attention_backward");
    }
    evaluated[SN_OP_ATTENTION_BACKWARD] = true;
}

int test_heavy(void) {
    const struct CMUnitTest tests[] = {
        TEST(products), TEST(packed_products), TEST(rotaries), TEST(attentions), TEST(attention_gradients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
