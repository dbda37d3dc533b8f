/* What the two forms of `bench` share. */
#ifndef SN_CLI_BENCH_H
#define SN_CLI_BENCH_H

#include "cli.h"
#include "model_bench.h"

Status sn_bench_read_shapes(Cli *cli, BenchRequest *request);
Status sn_bench_read_inputs(Cli *cli, BenchRequest *request);
Status sn_bench_read_states(Cli *cli, BenchRequest *request);

/* bench --peer: one model, timed on request (bench/peers/protocol.py). */
Status sn_bench_peer(Cli *cli);

#endif
