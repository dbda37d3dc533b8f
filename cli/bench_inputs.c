/* What both forms of `bench` read from the options: shapes, inputs and states. */
#include "bench.h"

static int split(Arena *arena, const char *text, const char ***out) {
    SN_VEC(const char *) list = {0};
    const char *equals = strchr(text, '='), *at = equals ? equals + 1 : text;
    for (;; at++) {
        size_t length = strcspn(at, ",");
        sn_push(
            arena, &list,
            sn_arena_printf(arena, "%.*s%.*s", (int)(equals ? equals + 1 - text : 0), text, (int)length, at));
        at += length;
        if (!*at) break;
    }
    *out = list.at;
    return list.count;
}

/* Every --shape is a list; the lists go side by side, so that setting s takes the s-th of each (or the only
 * one). */
Status sn_bench_read_shapes(Cli *cli, BenchRequest *request) {
    const OptionValue *value = &cli->options.value[OPTION_SHAPE_SWEEP];
    const char ***words = SN_ARRAY(cli->arena, const char **, value->count);
    int *count = SN_ARRAY(cli->arena, int, value->count), most = 1;
    for (int i = 0; i < value->count; i++) {
        count[i] = split(cli->arena, value->text[i], &words[i]);
        if (count[i] > most) most = count[i];
    }
    const ShapeSpec **shape = SN_ARRAY(cli->arena, const ShapeSpec *, most);
    for (int s = 0; s < most; s++) {
        ShapeSpec *setting = SN_ARRAY(cli->arena, ShapeSpec, value->count);
        for (int i = 0; i < value->count; i++) {
            if (count[i] != 1 && count[i] != most)
                return sn_cli_usage(cli, "--shape: lists of %d and %d shapes do not go together", count[i],
                                    most);
            Status status = sn_shape_spec_parse(cli->arena, words[i][count[i] == 1 ? 0 : s], &setting[i]);
            if (status) cli->usage = true;
            TRY(status);
        }
        shape[s] = setting;
    }
    request->shape = shape;
    request->setting_count = most;
    request->shapes_each = value->count;
    return NULL;
}

Status sn_bench_read_inputs(Cli *cli, BenchRequest *request) {
    TRY(sn_cli_load_options(cli, 0, NULL, &request->load));
    return sn_cli_input_specs(cli, &request->input_count, &request->input);
}

Status sn_bench_read_states(Cli *cli, BenchRequest *request) {
    const OptionValue *value = &cli->options.value[OPTION_STATE];
    Status status = sn_state_specs_parse(cli->arena, value->count, value->text, &request->state);
    if (status) cli->usage = true;
    request->steps = (int)sn_option_integer(&cli->options, OPTION_STEPS, 1);
    return status;
}

int sn_bench_read_words(Cli *cli, OptionId id, const char *const *usual, int usual_count,
                        const char *const **out) {
    const OptionValue *value = &cli->options.value[id];
    const char **list = SN_ARRAY(cli->arena, const char *, value->count);
    int count = 0;
    for (int i = 0; i < value->count; i++) {
        bool known = false;
        for (int k = 0; k < count; k++) known = known || strcmp(list[k], value->text[i]) == 0;
        if (!known) list[count++] = value->text[i];
    }
    *out = count ? list : usual;
    return count ? count : usual_count;
}

/* What is said of a step where there is none would be lost. */
static Status check_no_step(Cli *cli) {
    static const OptionId step[] = {OPTION_LOGITS, OPTION_OPTIMIZER, OPTION_CLIP,     OPTION_DROPOUT,
                                    OPTION_MASTER, OPTION_SEED,      OPTION_GRADIENTS};
    for (size_t i = 0; i < sizeof step / sizeof *step; i++)
        if (sn_option_given(&cli->options, step[i]))
            return sn_cli_usage(cli, "%s is about a step of training: --phases step",
                                sn_option_name(step[i]));
    return NULL;
}

Status sn_bench_read_phases(Cli *cli, BenchRequest *request) {
    static const char *const usual[] = {"forward"};
    request->phase_count = sn_bench_read_words(cli, OPTION_PHASES, usual, 1, &request->phase);
    bool training = sn_option_given(&cli->options, OPTION_LOSS);
    for (int i = 0; i < request->phase_count; i++) training |= strcmp(request->phase[i], "forward") != 0;
    return training ? sn_cli_training(cli, &request->training) : check_no_step(cli);
}

void sn_bench_read_autocast(Cli *cli, BenchRequest *request) {
    static const char *const usual[] = {"none"};
    request->autocast_count = sn_bench_read_words(cli, OPTION_AUTOCAST, usual, 1, &request->autocast);
}
