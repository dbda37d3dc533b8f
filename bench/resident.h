/* The memory that the system has given to this process. */
#ifndef SN_RESIDENT_H
#define SN_RESIDENT_H

#include <stdint.h>

/* Bytes of it that are there and come from no file; 0 where the system does not say. */
int64_t sn_resident_bytes(void);

#endif
