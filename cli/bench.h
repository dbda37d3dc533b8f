/* What the two forms of `bench` share. */
#ifndef SN_CLI_BENCH_H
#define SN_CLI_BENCH_H

#include "cli.h"
#include "model_bench.h"

Status sn_bench_read_shapes(Cli *cli, BenchRequest *request);
Status sn_bench_read_inputs(Cli *cli, BenchRequest *request);
Status sn_bench_read_states(Cli *cli, BenchRequest *request);

/* --phases and what says that they are those of a training step; --phases without what was said before. */
Status sn_bench_read_phases(Cli *cli, BenchRequest *request);

/* --autocast, a list. */
void sn_bench_read_autocast(Cli *cli, BenchRequest *request);

/* The words of a list option, each once; `usual` when there are none. Gives their number. */
int sn_bench_read_words(Cli *cli, OptionId id, const char *const *usual, int usual_count,
                        const char *const **out);

/* bench --peer: one model, timed on request (bench/peers/protocol.py). */
Status sn_bench_peer(Cli *cli);

#endif
