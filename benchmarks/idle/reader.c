/* The least that watching limits can cost: every second, read files of every cgroup whose name matches.
 *
 * reader SECONDS DIRECTORY PATTERN [FILE...]
 *
 * Without FILEs it reads every file that lets itself be read. All stay open from one tick to the next, as the daemon's
 * do. It prints the CPU time of its ticks in µs, without that of opening, and how many files one tick read.
 */
#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { FILES_MAX = 65536, BUFFER_BYTES = 16384 };

static int files[FILES_MAX];
static int file_count, cgroup_count;
static char buffer[BUFFER_BYTES];

static long long cpu_usec(void)
{
    struct timespec spent;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent);
    return spent.tv_sec * 1000000LL + spent.tv_nsec / 1000;
}

static void add_file(int directory, const char *name)
{
    int file = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (file < 0)
        return;
    if (file_count == FILES_MAX || pread(file, buffer, sizeof buffer, 0) < 0)
        close(file);
    else
        files[file_count++] = file;
}

static void add_every(int directory)
{
    DIR *listing = fdopendir(dup(directory));
    struct dirent *entry;

    while (listing && (entry = readdir(listing)))
        if (entry->d_type == DT_REG)
            add_file(directory, entry->d_name);
    if (listing)
        closedir(listing);
}

static void add(int root, const char *name, char *const *names)
{
    int directory = openat(root, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (directory < 0)
        return;
    cgroup_count++;
    if (!*names)
        add_every(directory);
    for (; *names; names++)
        add_file(directory, *names);
    close(directory);
}

static void find(const char *path, const char *pattern, char *const *names)
{
    int root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = opendir(path);
    struct dirent *entry;

    if (root < 0 || !directory) {
        perror(path);
        exit(1);
    }
    while ((entry = readdir(directory)))
        if (entry->d_type == DT_DIR && fnmatch(pattern, entry->d_name, 0) == 0)
            add(root, entry->d_name, names);
    closedir(directory);
    close(root);
}

int main(int argc, char **argv)
{
    struct rlimit limit = { FILES_MAX + 64, FILES_MAX + 64 };
    int seconds, done = 0;
    struct timespec next;
    long long before;

    if (argc < 4) {
        fprintf(stderr, "usage: %s SECONDS DIRECTORY PATTERN [FILE...]\n", argv[0]);
        return 2;
    }
    setrlimit(RLIMIT_NOFILE, &limit);
    seconds = atoi(argv[1]);
    find(argv[2], argv[3], argv + 4);
    before = cpu_usec();
    clock_gettime(CLOCK_MONOTONIC, &next);
    for (int tick = 0; tick < seconds; tick++) {
        done = 0;
        for (int i = 0; i < file_count; i++)
            done += pread(files[i], buffer, sizeof buffer, 0) >= 0;
        next.tv_sec++;
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
    }
    printf("{\"cpu_usec\": %lld, \"cgroups\": %d, \"files\": %d}\n", cpu_usec() - before, cgroup_count, done);
    return 0;
}
