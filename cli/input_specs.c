/* --input, --constant and --examples, for the verbs that open models. */
#include "cli.h"
#include "inputs.h"
#include "load.h"
#include <string.h>

Status sn_cli_input_specs(Cli *cli, int *count, const InputSpec **out) {
    return sn_cli_specs(cli, OPTION_INPUT, count, out);
}

static Status given_names(Cli *cli, LoadOptions *out) {
    const InputSpec *spec;
    TRY(sn_cli_input_specs(cli, &out->given_count, &spec));
    const char **name = SN_ARRAY(cli->arena, const char *, out->given_count);
    for (int i = 0; i < out->given_count; i++) name[i] = spec[i].name;
    out->given = name;
    return NULL;
}

static Status add_constant(Cli *cli, const InputSpec *spec, bool if_needed, ConstantInput *out) {
    Tensor *tensor;
    TRY(sn_load_tensor(cli->arena, spec->file, &tensor, NULL));
    *out = (ConstantInput){spec->name, tensor, if_needed};
    return NULL;
}

Status sn_cli_load_options(Cli *cli, int offered_count, const InputSpec *offered, LoadOptions *out) {
    const InputSpec *spec;
    int count;
    *out = (LoadOptions){0};
    TRY(given_names(cli, out));
    TRY(sn_cli_specs(cli, OPTION_CONSTANT, &count, &spec));
    ConstantInput *constant = SN_ARRAY(cli->arena, ConstantInput, count + offered_count);
    for (int i = 0; i < count; i++) {
        for (int k = 0; k < out->given_count; k++)
            if (strcmp(out->given[k], spec[i].name) == 0)
                return sn_cli_usage(cli, "%s is given as an input and as a constant", spec[i].name);
        if (!spec[i].file) return sn_cli_usage(cli, "--constant %s: NAME=@FILE", spec[i].name);
        TRY(add_constant(cli, &spec[i], false, &constant[out->constant_count++]));
    }
    for (int i = 0; i < offered_count; i++)
        if (offered[i].file) TRY(add_constant(cli, &offered[i], true, &constant[out->constant_count++]));
    out->constant = constant;
    return NULL;
}

Status sn_cli_specs(Cli *cli, OptionId id, int *count, const InputSpec **out) {
    const OptionValue *value = &cli->options.value[id];
    InputSpec *spec = SN_ARRAY(cli->arena, InputSpec, value->count);
    for (int i = 0; i < value->count; i++) {
        Status status = sn_input_spec_parse(cli->arena, value->text[i], &spec[i]);
        if (status) cli->usage = true;
        TRY(status);
    }
    *count = value->count;
    *out = spec;
    return NULL;
}
