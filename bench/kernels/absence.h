/* How long this process was kept from its processors: by other programs, or by other machines on the same hardware. */
#ifndef SN_KERNEL_ABSENCE_H
#define SN_KERNEL_ABSENCE_H

/* Seconds since the start, over all threads of this process and all processors of the machine: what threads that could
 * have run waited for a processor, and what the host took from the machine (in steps of 10 ms; a guest that is not told
 * has 0). Two of these, subtracted, say whether what ran between them ran alone. 0 where the system says neither. */
double sn_absence(void);

#endif
