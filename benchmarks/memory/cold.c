/* A working set that is mostly cold, and how long a unit of work on the hot part of it takes.
 *
 * cold anon|file MEGABYTES HOT_PERCENT BOARD [FILE]
 * cold read BOARD...      prints, of each, how many units were done and the µs that they took, as JSON
 *
 * All of it is written once; then, RATE times a second, a unit of work touches TOUCHES pages of the hot part at random
 * and counts a little. It sleeps between units, so that several can run side by side and none waits for a CPU.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, MIB = 1 << 20, RATE = 20, TOUCHES = 200, SPIN = 100000 };

struct board {
    uint64_t units, busy_nsec;
};

static struct board *board;
static char *memory;
static int file = -1;

static long long now_nsec(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static struct board *map(const char *path)
{
    int opened = open(path, O_RDWR | O_CREAT, 0600);
    void *found;

    if (opened < 0 || ftruncate(opened, sizeof *board) < 0)
        exit(2);
    found = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED, opened, 0);
    if (found == MAP_FAILED)
        exit(2);
    close(opened);
    return found;
}

/* Pages that zram cannot simply drop: half random, half not, as memory is. */
static void fill(char *page, uint64_t *state)
{
    for (int i = 0; i < PAGE / 2; i += 8)
        *(uint64_t *)(page + i) = random_next(state);
}

static void make(size_t bytes, const char *path)
{
    uint64_t state = 362436069;

    if (path) {
        char page[PAGE] = {0};

        file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
        for (size_t at = 0; at < bytes; at += PAGE) {
            fill(page, &state);
            if (pwrite(file, page, PAGE, at) != PAGE)
                exit(3);
        }
        fsync(file);
        return;
    }
    memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        exit(2);
    madvise(memory, bytes, MADV_NOHUGEPAGE);
    for (size_t at = 0; at < bytes; at += PAGE)
        fill(memory + at, &state);
}

static void unit(size_t hot, uint64_t *state)
{
    uint64_t sum = 0;

    for (int i = 0; i < TOUCHES; i++) {
        off_t at = random_next(state) % (hot / PAGE) * PAGE;
        char word[8];

        if (memory)
            memory[at + PAGE - 1]++;
        else if (pread(file, word, sizeof word, at) != sizeof word)
            exit(3);
    }
    for (int i = 0; i < SPIN; i++)
        sum += random_next(state);
    *(volatile uint64_t *)state = sum | 1;
}

static void run(size_t hot)
{
    uint64_t state = 88172645463325252ULL;

    for (long long due = now_nsec();; due += 1000000000LL / RATE) {
        struct timespec until = {due / 1000000000, due % 1000000000};
        long long began;

        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
            ;
        began = now_nsec();
        unit(hot, &state);
        board->busy_nsec += now_nsec() - began;
        board->units++;
        if (now_nsec() > due + 1000000000LL)
            due = now_nsec();
    }
}

int main(int count, char **words)
{
    if (count > 2 && !strcmp(words[1], "read")) {
        for (int i = 2; i < count; i++) {
            struct board *one = map(words[i]);

            printf("%s{\"units\": %llu, \"busy_usec\": %llu}", i == 2 ? "[" : ", ", (unsigned long long)one->units,
                   (unsigned long long)one->busy_nsec / 1000);
        }
        puts("]");
        return 0;
    }
    if (count < 5)
        return 2;
    board = map(words[4]);
    make(strtoull(words[2], NULL, 10) * MIB, count > 5 ? words[5] : NULL);
    run(strtoull(words[2], NULL, 10) * MIB * strtoull(words[3], NULL, 10) / 100);
}
