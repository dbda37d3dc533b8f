#include "process.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

/* The child reads nothing, writes to its file, and starts with ordinary signals whatever the host has set. */
static int spawn(Process *process) {
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    int error = posix_spawn_file_actions_init(&files);
    if (error) return error;
    error = posix_spawnattr_init(&attributes);
    if (error) {
        posix_spawn_file_actions_destroy(&files);
        return error;
    }
    sigset_t none, usual;
    sigemptyset(&none);
    sigemptyset(&usual);
    sigaddset(&usual, SIGPIPE);
    sigaddset(&usual, SIGCHLD); /* a compiler waits for programs of its own */
    const char *output = process->output ? process->output : "/dev/null";
    error = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    if (!error) error = posix_spawnattr_setsigmask(&attributes, &none);
    if (!error) error = posix_spawnattr_setsigdefault(&attributes, &usual);
    if (!error) error = posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    if (!error)
        error = posix_spawn_file_actions_addopen(&files, 1, output, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (!error) error = posix_spawn_file_actions_adddup2(&files, 1, 2);
    if (!error)
        error = posix_spawn(&process->pid, process->argv[0], &files, &attributes,
                            (char *const *)process->argv, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    return error;
}

/* True when the process has ended. A host that ignores SIGCHLD has its children reaped by the system, and one
 * that waits for any child may take ours: how it ended is lost then, and counts as well. */
static bool reap(Process *process) {
    int status;
    pid_t pid = waitpid(process->pid, &status, WNOHANG);
    if (pid == 0 || (pid < 0 && errno == EINTR)) return false;
    if (pid < 0)
        process->exit_code = errno == ECHILD ? 0 : -1;
    else
        process->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    process->running = false;
    return true;
}

/* Only our own children are waited for, one by one: the host may have others. */
static int reap_all(Process *process, int count) {
    int ended = 0;
    for (int i = 0; i < count; i++)
        if (process[i].running && reap(&process[i])) ended++;
    return ended;
}

Status sn_process_run(Process *process, int count, int at_once) {
    int started = 0, running = 0, error = 0;
    const char *failed = NULL;
    for (int i = 0; i < count; i++) {
        process[i].exit_code = -1;
        process[i].running = false;
    }
    while (running || (started < count && !error)) {
        while (!error && started < count && running < at_once) {
            error = spawn(&process[started]);
            process[started].running = !error;
            if (error) failed = process[started].argv[0];
            running += !error;
            started++;
        }
        int ended = reap_all(process, started);
        running -= ended;
        if (!ended && running) nanosleep(&(struct timespec){.tv_nsec = 300000}, NULL);
    }
    if (!error) return NULL;
    return sn_fail(SN_COMPILER, "%s cannot be started: %s", failed, strerror(error));
}

static bool executable(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode) && access(path, X_OK) == 0;
}

const char *sn_process_find(Arena *arena, const char *name) {
    if (strchr(name, '/')) return executable(name) ? name : NULL;
    const char *path = getenv("PATH");
    if (!path || !*path) path = "/usr/local/bin:/usr/bin:/bin";
    for (;;) {
        size_t length = strcspn(path, ":");
        /* An empty entry means the working directory, which is no place to look for a compiler. */
        if (length) {
            char *full = sn_arena_printf(arena, "%.*s/%s", (int)length, path, name);
            if (executable(full)) return full;
        }
        if (!path[length]) return NULL;
        path += length + 1;
    }
}
