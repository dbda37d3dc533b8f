#include "absence.h"
#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

/* The second number of a thread's `schedstat`: nanoseconds that it waited to run. A thread that ended has none. */
static double waited(const char *thread) {
    char path[300];
    double ran, seconds = 0;
    snprintf(path, sizeof path, "/proc/self/task/%s/schedstat", thread);
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    if (fscanf(file, "%lf %lf", &ran, &seconds) != 2) seconds = 0;
    fclose(file);
    return seconds * 1e-9;
}

/* The eighth number of the first line of /proc/stat, in ticks of the clock. */
static double stolen(void) {
    double ticks;
    FILE *file = fopen("/proc/stat", "r");
    if (!file) return 0;
    if (fscanf(file, "cpu %*f %*f %*f %*f %*f %*f %*f %lf", &ticks) != 1) ticks = 0;
    fclose(file);
    return ticks / (double)sysconf(_SC_CLK_TCK);
}

double sn_absence(void) {
    double seconds = stolen();
    DIR *folder = opendir("/proc/self/task");
    if (!folder) return seconds;
    for (const struct dirent *entry; (entry = readdir(folder));)
        if (*entry->d_name != '.') seconds += waited(entry->d_name);
    closedir(folder);
    return seconds;
}
