/* make: benchmark models. */
#include "cli.h"
#include "zoo.h"

static void show_stored(void *user, int64_t done, int64_t total) {
    (void)user;
    if (done < total)
        sn_cli_progress("weights: %lld of %lld MB", (long long)(done / 1000000),
                        (long long)(total / 1000000));
    else
        sn_cli_progress("%s", "");
}

static void override(const Options *options, OptionId id, int64_t *field) {
    *field = sn_option_integer(options, id, *field);
}

static Status read_sizes(Cli *cli, ZooOptions *out) {
    const Options *options = &cli->options;
    ZooOptions zoo = sn_zoo_defaults();
    const char *dtype = sn_option_text(options, OPTION_DTYPE, "f32");
    sn_dtype_from_name(dtype, strlen(dtype), &zoo.dtype); /* one of the option's choices */
    sn_zoo_size(sn_option_text(options, OPTION_SIZE, "S"), &zoo);
    override(options, OPTION_LAYERS, &zoo.layers);
    override(options, OPTION_D_MODEL, &zoo.d_model);
    override(options, OPTION_HEADS, &zoo.heads);
    if (sn_option_given(options, OPTION_HEADS)) zoo.kv_heads = zoo.heads;
    override(options, OPTION_KV_HEADS, &zoo.kv_heads);
    override(options, OPTION_D_FF, &zoo.d_ff);
    override(options, OPTION_VOCAB, &zoo.vocab);
    override(options, OPTION_CONTEXT, &zoo.context);
    zoo.opset = (int)sn_option_integer(options, OPTION_OPSET, zoo.opset);
    zoo.dropout = sn_option_number(options, OPTION_MAKE_DROPOUT, 0);
    zoo.kv_cache = sn_option_given(options, OPTION_KV_CACHE);
    *out = zoo;
    return NULL;
}

static Status unknown_kind(Cli *cli, const char *kind) {
    Text kinds = sn_text(cli->arena);
    for (int i = 0; sn_zoo_kind(i); i++) sn_text_add(&kinds, "%s%s", i ? ", " : "", sn_zoo_kind(i));
    return sn_cli_usage(cli, "there is no kind '%s'; there are %s", kind, sn_text_string(&kinds));
}

Status sn_cli_make(Cli *cli) {
    const Options *options = &cli->options;
    const char *kind = options->argument[0], *path = sn_option_text(options, OPTION_OUT_FILE, NULL);
    int index = 0;
    while (sn_zoo_kind(index) && strcmp(sn_zoo_kind(index), kind) != 0) index++;
    if (!sn_zoo_kind(index)) return unknown_kind(cli, kind);
    if (!path) return sn_cli_usage(cli, "-o FILE is missing");
    ZooOptions zoo;
    TRY(read_sizes(cli, &zoo));
    Writer *writer;
    TRY(sn_zoo_build(cli->arena, kind, &zoo, &writer));
    const char *weights = sn_option_text(options, OPTION_WEIGHTS, NULL);
    SafeTensors file;
    if (weights) TRY(sn_safetensors_read(cli->arena, weights, &file));
    if (weights) TRY(sn_status_prefix(sn_writer_take_weights(writer, &file), "%s", weights));
    return sn_writer_save(writer, path, sn_option_given(options, OPTION_STORED), show_stored, NULL);
}
