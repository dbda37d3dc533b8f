/* --input and --examples, for the verbs that run models. */
#include "cli.h"
#include "inputs.h"

Status sn_cli_input_specs(Cli *cli, int *count, const InputSpec **out) {
    return sn_cli_specs(cli, OPTION_INPUT, count, out);
}

Status sn_cli_given(Cli *cli, int *count, const char *const **out) {
    const InputSpec *spec;
    TRY(sn_cli_input_specs(cli, count, &spec));
    const char **name = SN_ARRAY(cli->arena, const char *, *count);
    for (int i = 0; i < *count; i++) name[i] = spec[i].name;
    *out = name;
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
