#include "cluster_key.h"

static Hash hash_type(Hash seed, Type type) {
    seed = sn_hash_u64(seed, (uint64_t)type.dtype);
    seed = sn_hash_u64(seed, (uint64_t)type.rank);
    for (int i = 0; i < type.rank; i++) seed = sn_hash_u64(seed, (uint64_t)type.dim[i]->id);
    return seed;
}

/* Known values of an operand are a fact of that operand alone: they are not compared but tell clusters apart.
 */
static Hash hash_param(Hash seed, const Value *param) {
    return sn_hash_u64(hash_type(seed, param->type), (uint64_t)(uintptr_t)param->known);
}

/* Which earlier operand is the same value as operand `index`; itself if none is. */
static int first_same(const Node *cluster, int index) {
    int first = 0;
    while (cluster->input[first] != cluster->input[index]) first++;
    return first;
}

static Hash hash_node(Hash seed, const Node *node, int *local, int *count) {
    seed = sn_hash_u64(seed, (uint64_t)node->op);
    seed = sn_attr_hash(sn_op(node->op)->attr, node->attr, seed);
    seed = sn_hash_u64(seed, (uint64_t)node->input_count);
    for (int i = 0; i < node->input_count; i++)
        seed = sn_hash_u64(seed, node->input[i] ? (uint64_t)local[node->input[i]->id] : UINT64_MAX);
    seed = sn_hash_u64(seed, (uint64_t)node->output_count);
    for (int i = 0; i < node->output_count; i++) {
        local[node->output[i]->id] = (*count)++;
        seed = hash_type(seed, node->output[i]->type);
    }
    return seed;
}

Hash sn_cluster_key(const Node *cluster, int *local) {
    const Region *body = cluster->body;
    Hash key = sn_attr_hash(sn_op(cluster->op)->attr, cluster->attr, (Hash){0});
    int count = 0;
    key = sn_hash_u64(key, (uint64_t)body->param.count);
    for (int i = 0; i < body->param.count; i++) {
        local[body->param.at[i]->id] = count++;
        key = hash_param(sn_hash_u64(key, (uint64_t)first_same(cluster, i)), body->param.at[i]);
    }
    for (const Node *node = body->first; node; node = node->next) key = hash_node(key, node, local, &count);
    key = sn_hash_u64(key, (uint64_t)body->result.count);
    for (int i = 0; i < body->result.count; i++)
        key = sn_hash_u64(key, (uint64_t)local[body->result.at[i]->id]);
    return key;
}
