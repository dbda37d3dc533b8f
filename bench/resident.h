/* The memory that the system has given to this process. */
#ifndef SN_RESIDENT_H
#define SN_RESIDENT_H

#include <stdint.h>

/* Bytes of it that are there and come from no file; 0 where the system does not say. What the process has freed is
 * given back first, so that memory that is taken again counts as growth. */
int64_t sn_resident_bytes(void);

#endif
