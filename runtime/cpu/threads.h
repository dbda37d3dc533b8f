/* The threads of a program: one parallel region at a time, without locks on the way in or out.
 *
 * A region never waits for a thread that has not joined it, so a busy machine costs speed and nothing else. A
 * region that finds the pool taken (by another context, or because it is nested) runs on its caller alone:
 * regions cannot deadlock.
 */
#ifndef SN_THREADS_H
#define SN_THREADS_H

#include "status.h"

typedef struct Pool Pool;

/* Does the items [begin, end); 0, or a fault code > 0. Called from several threads at once with disjoint
 * ranges. */
typedef int PoolFunction(void *argument, int64_t begin, int64_t end);

/* A pool of `threads` >= 1, of which the caller of sn_pool_run is one. SN_NO_MEMORY when the system refuses a
 * thread. Freed by sn_pool_free, when no region runs. */
Status sn_pool_new(int threads, Pool **out);
void sn_pool_free(Pool *pool); /* NULL is allowed */
int sn_pool_threads(const Pool *pool);

/* Does items [0, items), each exactly once, in ranges of at least `least` >= 1 (the last may be shorter), and
 * returns when all are done: 0, or the smallest fault code. Every range is done even after a fault, so the
 * result does not depend on timing. Where that does not leave threads idle, ranges are whole numbers of
 * `together` items. */
int sn_pool_run(Pool *pool, PoolFunction *function, void *argument, int64_t items, int64_t least,
                int64_t together);

/* How many processors this process may use at once: its affinity, and the quota of its control group. >= 1 */
int sn_cpu_count(void);

#endif
