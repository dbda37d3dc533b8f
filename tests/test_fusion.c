/* How many launches a layer takes: benchmark models of two and of four layers, and the models of
 * tests/models. */
#include "compile.h"
#include "execute_fixture.h"
#include "zoo.h"

#include <dirent.h>

typedef struct Count {
    int launches;   /* in each run */
    int attentions; /* of those */
    int idle;       /* map kernels that only move, cast or compare */
} Count;

/* What is done to data itself; everything else a map kernel holds is preparation. */
static bool computes(const Node *node) {
    static const bool prepares[SN_OP_COUNT] = {
        [SN_OP_CAST] = true,  [SN_OP_WHERE] = true,      [SN_OP_NOT] = true,   [SN_OP_AND] = true,
        [SN_OP_OR] = true,    [SN_OP_XOR] = true,        [SN_OP_EQUAL] = true, [SN_OP_LESS] = true,
        [SN_OP_ISNAN] = true, [SN_OP_LESS_EQUAL] = true,
    };
    OpClass class = sn_op(node->op)->class;
    return class != SN_CLASS_SOURCE && node->op != SN_OP_VIEW && !prepares[node->op];
}

static bool is_idle(const Node *cluster) {
    if (((const AttrCluster *)cluster->attr)->kind != SN_CLUSTER_MAP) return false;
    for (const Node *node = cluster->body->first; node; node = node->next)
        if (computes(node)) return false;
    return true;
}

static Count count_launches(const char *path, bool eager) {
    Arena *arena = sn_arena_new();
    Graph *graph;
    Ledger ledger = {0};
    Plan *plan;
    Target target;
    PipelineOptions options = {.eager = eager, .verify = true};
    Count count = {0};
    sn_target_cpu(&target, 32, 16, 32 << 10, 1 << 20);
    assert_ok(sn_load_onnx(arena, path, NULL, &graph, NULL));
    assert_ok(sn_compile_plan(arena, graph, &target, &options, NULL, &ledger, &plan));
    for (int i = plan->setup_count; i < plan->launch_count; i++) {
        const Node *cluster = plan->launch[i].cluster;
        count.launches++;
        count.attentions += ((const AttrCluster *)cluster->attr)->kind == SN_CLUSTER_ATTENTION;
        count.idle += is_idle(cluster);
        if (getenv("SN_SHOW"))
            print_message("  %s%s\n", is_idle(cluster) ? "IDLE " : "", plan->launch[i].summary);
    }
    sn_arena_free(arena);
    return count;
}

static Count count_of_layers(const char *folder, const char *kind, int layers, bool eager) {
    Arena *arena = sn_arena_new();
    ZooOptions options = sn_zoo_defaults();
    options.layers = layers;
    options.d_model = 64, options.heads = 4, options.kv_heads = 2, options.d_ff = 96, options.vocab = 50;
    options.context = 32;
    const char *path = sn_arena_printf(arena, "%s/%s%d.onnx", folder, kind, layers);
    Writer *writer;
    assert_ok(sn_zoo_build(arena, kind, &options, &writer));
    assert_ok(sn_writer_save(writer, path, false, NULL, NULL));
    Count count = count_launches(path, eager);
    sn_arena_free(arena);
    return count;
}

static void launches_of_a_layer(void **state) {
    static const struct {
        const char *kind;
        int most;
    } row[] = {{"gpt2", 8}, {"bert", 8}, {"llama", 9}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        Count two = count_of_layers(*state, row[i].kind, 2, false);
        Count four = count_of_layers(*state, row[i].kind, 4, false);
        assert_int_equal(two.attentions, 2);
        assert_int_equal(four.attentions, 4);
        assert_true(four.launches - two.launches <= 2 * row[i].most);
        assert_true(2 * two.launches - four.launches <= 6); /* embedding, mask, last normalization, head */
        assert_int_equal(four.idle, two.idle);              /* none in a layer */
        Count eager = count_of_layers(*state, row[i].kind, 2, true);
        assert_int_equal(eager.attentions, 0);
        assert_true(eager.launches > 2 * two.launches - four.launches + 2 * 12);
    }
}

static bool starts_with(const char *name, const char *start) {
    return strncmp(name, start, strlen(start)) == 0;
}

/* Exports of every age: what is not a layer is the embedding, the mask, positions and heads. */
static void launches_of_exports(void **state) {
    (void)state;
    struct dirent **entry;
    int count = scandir(SN_TESTS "/models", &entry, NULL, alphasort), seen = 0;
    assert_true(count > 0);
    for (int i = 0; i < count; i++) {
        const char *name = entry[i]->d_name;
        char path[1024];
        snprintf(path, sizeof path, SN_TESTS "/models/%s/model.onnx", name);
        bool llama = starts_with(name, "llama"),
             model = llama || starts_with(name, "gpt2") || starts_with(name, "bert");
        if (model && access(path, F_OK) == 0) {
            Count found = count_launches(path, false);
            if (getenv("SN_SHOW"))
                print_message("%s: %d launches, %d attentions, %d idle\n", name, found.launches,
                              found.attentions, found.idle);
            /* The one form without is s·table − 10000·(1 − table), a mask by arithmetic on the scores. */
            if (found.attentions == 0)
                assert_true(starts_with(name, "gpt2_op9"));
            else if (found.launches > (llama ? 9 : 8) * found.attentions + 8 || found.idle > 3)
                fail_msg("%s: %d launches, %d attentions, %d idle", name, found.launches, found.attentions,
                         found.idle);
            seen++;
        }
        free(entry[i]);
    }
    free(entry);
    assert_true(seen > 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(launches_of_a_layer),
        cmocka_unit_test(launches_of_exports),
    };
    return cmocka_run_group_tests(tests, make_cache, remove_cache);
}
