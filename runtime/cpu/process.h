/* Running other programs: argument arrays, never a shell. */
#ifndef SN_PROCESS_H
#define SN_PROCESS_H

#include "arena.h"
#include "status.h"
#include <sys/types.h>

typedef struct Process {
    const char *const *argv; /* NULL-terminated; argv[0] is the path of the program */
    const char *output;      /* file that is made for its standard output and error; NULL: dropped */
    /* Set by sn_process_run: -1 when it died otherwise or could not be started. A host may have made the
     * system forget how its children end; it is 0 then, so what the program was to make is to be looked at
     * too. */
    int exit_code;
    pid_t pid;
    bool running;
} Process;

/* Runs all, at most `at_once` side by side, in order, and waits for all of them. Fails with SN_COMPILER only
 * when a program could not be started; how each ended is in exit_code. Allocates nothing. */
Status sn_process_run(Process *process, int count, int at_once);

/* The path of the program `name`: itself when it holds a slash, else the first match in $PATH; NULL if none
 * can be executed. */
const char *sn_process_find(Arena *arena, const char *name);

#endif
