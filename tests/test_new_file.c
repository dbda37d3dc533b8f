/* base: files that appear when they are complete, and what is left of those that never were. */
#include "fixture.h"
#include "new_file.h"

#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct Folder {
    Arena *arena;
    char path[64];
    const char *file;
} Folder;

static int make_folder(void **state) {
    Folder *folder = calloc(1, sizeof *folder);
    if (make_test_folder(folder->path)) return -1;
    folder->arena = sn_arena_new();
    folder->file = sn_arena_printf(folder->arena, "%s/a[b]", folder->path); /* no pattern of its own */
    *state = folder;
    return 0;
}

static int remove_folder(void **state) {
    Folder *folder = *state;
    sn_arena_free(folder->arena);
    int failed = remove_test_folder(folder->path);
    free(folder);
    return failed;
}

static int files_in(const Folder *folder) {
    glob_t found;
    char pattern[80];
    snprintf(pattern, sizeof pattern, "%s/*", folder->path);
    int count = glob(pattern, 0, NULL, &found) == 0 ? (int)found.gl_pathc : 0;
    globfree(&found);
    return count;
}

static void touch(const char *path) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
}

/* A process that is in the midst of writing the file. */
static pid_t start_writer(const Folder *folder) {
    int ready[2];
    char byte = 0;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        NewFile file;
        bool good =
            !sn_new_file_begin(folder->arena, folder->file, &file) && !sn_new_file_put(&file, "half", 4);
        if (!good || write(ready[1], &byte, 1) != 1) _exit(1);
        for (;;) pause();
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return child;
}

static void write_whole(const Folder *folder) {
    NewFile file;
    assert_ok(sn_new_file_begin(folder->arena, folder->file, &file));
    assert_ok(sn_new_file_end(&file, sn_new_file_put(&file, "whole", 5)));
}

/* What a killed process has left goes when the file is written next, not what a living one is making, and nothing else. */
static void what_the_dead_left_is_removed(void **state) {
    const Folder *folder = *state;
    static const char *const others[] = {
        ".2024-11",         ".sinter-new.1",    ".sinter-new.1-", ".sinter-new.1-2.txt",
        ".sinter-new.-1-2", "b.sinter-new.1-2", ".sinter-new.x-2"};
    int kept = 1 + (int)(sizeof others / sizeof *others);
    for (int i = 1; i < kept; i++) touch(sn_arena_printf(folder->arena, "%s%s", folder->file, others[i - 1]));
    const char *link = sn_arena_printf(folder->arena, "%s.sinter-new.3-4", folder->file);
    assert_int_equal(symlink(folder->file, link), 0);
    kept++;
    pid_t writer = start_writer(folder);
    write_whole(folder);
    assert_int_equal(files_in(folder), kept + 1);
    assert_int_equal(kill(writer, SIGKILL), 0);
    assert_int_equal(waitpid(writer, NULL, 0), writer);
    assert_int_equal(files_in(folder), kept + 1);
    write_whole(folder);
    assert_int_equal(files_in(folder), kept);
    struct stat info;
    assert_int_equal(stat(folder->file, &info), 0);
    assert_int_equal(info.st_size, 5);
}

static void what_fails_leaves_what_was(void **state) {
    const Folder *folder = *state;
    NewFile file;
    int before = files_in(folder);
    assert_ok(sn_new_file_begin(folder->arena, folder->file, &file));
    Status status = sn_new_file_end(&file, sn_fail(SN_IO, "a full disk"));
    assert_string_equal(sn_error_message(status), "a full disk");
    sn_error_free(status);
    assert_int_equal(files_in(folder), before);
}

/* As /dev/stdout is, whose name nobody wants to be replaced. */
static void names_of_open_files_stay(void **state) {
    const Folder *folder = *state;
    const char *link = sn_arena_printf(folder->arena, "%s-link", folder->file);
    int open_file = open(folder->file, O_WRONLY | O_CREAT, 0600);
    assert_true(open_file >= 0);
    assert_int_equal(symlink(sn_arena_printf(folder->arena, "/proc/self/fd/%d", open_file), link), 0);
    NewFile file;
    assert_fails(sn_new_file_begin(folder->arena, link, &file), SN_IO, "not a regular file");
    struct stat info;
    assert_int_equal(lstat(link, &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    assert_int_equal(unlink(link), 0);
    close(open_file);
}

/* As if the file had been opened and written: links lead to it, and who may read it stays. */
static void links_and_permissions_stay(void **state) {
    const Folder *folder = *state;
    const char *link = sn_arena_printf(folder->arena, "%s/link", folder->path);
    const char *other = sn_arena_printf(folder->arena, "%s/other", folder->path);
    struct stat info;
    assert_int_equal(symlink("link", other), 0); /* relative, to one that is not */
    assert_int_equal(symlink(folder->file, link), 0);
    for (int there = 0; there < 2; there++) {
        NewFile file;
        if (there) assert_int_equal(chmod(folder->file, 0640), 0);
        if (!there) unlink(folder->file);
        assert_ok(sn_new_file_begin(folder->arena, other, &file));
        assert_ok(sn_new_file_put(&file, "new", 3));
        assert_ok(sn_new_file_end(&file, NULL));
        assert_int_equal(lstat(other, &info) | lstat(link, &info), 0);
        assert_true(S_ISLNK(info.st_mode));
        assert_int_equal(lstat(folder->file, &info), 0);
        assert_true(S_ISREG(info.st_mode) && info.st_size == 3);
        assert_true(!there || (info.st_mode & 0777) == 0640);
    }
    assert_int_equal(unlink(folder->file), 0);
    assert_int_equal(unlink(link), 0);
    assert_int_equal(symlink("other", link), 0);
    NewFile file;
    assert_fails(sn_new_file_begin(folder->arena, link, &file), SN_IO, "cannot be written");
    assert_int_equal(unlink(link) | unlink(other), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_dead_left_is_removed),
        cmocka_unit_test(what_fails_leaves_what_was),
        cmocka_unit_test(names_of_open_files_stay),
        cmocka_unit_test(links_and_permissions_stay),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
