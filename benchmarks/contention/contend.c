/* Both sides of the contention, and the board on which they are told what to do and write down what they did.
 *
 * contend service BOARD [FILE]   answers `rate` requests a second; a request's latency counts from when it was due
 * contend batch BOARD FILE       works as hard as it can at one kind of work, and counts it
 * contend set BOARD NAME=N...    rate, reads (of FILE by each request), kind (0 none, 1 CPU, 2 memory, 3 IO), megabytes
 * contend window BOARD SECONDS [NAME LOW HIGH PERIOD]
 *                                prints what was done meanwhile as JSON; NAME may change in every half PERIOD
 *
 * The board is a file that all of them map. Nobody who measures shares the containers' limits.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 4, BUCKETS = 1024, PAGE = 4096, MIB = 1 << 20, FILE_BYTES = 64 * MIB };
enum { SET_BYTES = 64 * MIB, TOUCHES = 16, SPIN = 20000 };
#define GROWTH 1.02
#define GIVEN_UP_NSEC 5000000000LL /* a request that is so late is not made any more, and counts as so late */

struct board {
    volatile uint32_t rate, reads, kind, megabytes;
    uint64_t work[THREADS];
    uint64_t late[BUCKETS];
    uint64_t given_up;
};

static const char *const names[] = {"rate", "reads", "kind", "megabytes"};
static struct board *board;
static char *set;
static int file;

static long long now_nsec(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void sleep_until(long long nsec)
{
    struct timespec until = {nsec / 1000000000, nsec % 1000000000};

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        ;
}

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static uint64_t spin(uint64_t *state, int times)
{
    uint64_t sum = 0;

    while (times--)
        sum += random_next(state);
    return sum;
}

static void *pages(size_t bytes)
{
    void *found = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (found == MAP_FAILED)
        exit(2);
    madvise(found, bytes, MADV_NOHUGEPAGE);
    for (size_t at = 0; at < bytes; at += PAGE)
        ((char *)found)[at] = 1;
    return found;
}

static void note(long long nsec)
{
    double usec = nsec / 1000.0;
    int bucket = usec < 1 ? 0 : (int)(log(usec) / log(GROWTH));

    __atomic_fetch_add(&board->late[bucket < BUCKETS ? bucket : BUCKETS - 1], 1, __ATOMIC_RELAXED);
}

static void answer(uint64_t *state, char *buffer)
{
    for (int i = 0; i < TOUCHES; i++)
        set[random_next(state) % (SET_BYTES / PAGE) * PAGE]++;
    *(volatile uint64_t *)buffer = spin(state, SPIN);
    if (board->reads && pread(file, buffer, PAGE, random_next(state) % (FILE_BYTES / PAGE) * PAGE) != PAGE)
        exit(3);
}

/* One of THREADS, each of which has every THREADS-th request. */
static void *serve(void *argument)
{
    uint64_t state = 88172645463325252ULL + (uintptr_t)argument;
    char *buffer = aligned_alloc(PAGE, PAGE);
    uint32_t rate = 0;
    long long due = 0;

    for (;;) {
        if (board->rate != rate) {
            rate = board->rate;
            due = rate ? now_nsec() + 1000000000LL / rate * (long long)(uintptr_t)argument : 0;
        }
        if (!rate) {
            sleep_until(now_nsec() + 20000000);
            continue;
        }
        sleep_until(due);
        if (now_nsec() - due < GIVEN_UP_NSEC) {
            answer(&state, buffer);
        } else {
            __atomic_fetch_add(&board->given_up, 1, __ATOMIC_RELAXED);
        }
        note(now_nsec() - due);
        due += 1000000000LL / rate * THREADS;
    }
    return NULL;
}

static void service(const char *path)
{
    pthread_t threads[THREADS];

    file = open(path, O_RDONLY | O_DIRECT);
    set = pages(SET_BYTES);
    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, serve, (void *)i);
    pthread_join(threads[0], NULL);
}

static void count(int worker)
{
    __atomic_fetch_add(&board->work[worker], 1, __ATOMIC_RELAXED);
}

static void work(int worker, int kind)
{
    uint64_t state = 362436069 + worker;
    size_t bytes = kind == 2 ? (size_t)board->megabytes * MIB / THREADS : MIB;
    char *memory = pages(bytes);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (uint64_t i = 0;; i++) {
        if (kind == 1)
            *(volatile uint64_t *)memory = spin(&state, SPIN);
        else if (kind == 2)
            memory[random_next(&state) % (bytes / PAGE) * PAGE]++;
        else if (pwrite(file, memory, MIB, (worker * 64 + (off_t)(i % 64)) * MIB) != MIB)
            exit(3);
        count(worker);
    }
}

static void batch(const char *path)
{
    pid_t workers[THREADS] = {0};
    uint32_t kind = 0;

    file = open(path, O_WRONLY | O_CREAT | O_DIRECT, 0600);
    for (;; sleep_until(now_nsec() + 20000000)) {
        if (board->kind == kind)
            continue;
        for (int i = 0; i < THREADS && kind; i++)
            kill(workers[i], SIGKILL);
        for (int i = 0; i < THREADS && kind; i++)
            waitpid(workers[i], NULL, 0);
        kind = board->kind;
        for (int i = 0; i < THREADS && kind; i++) {
            workers[i] = fork();
            if (!workers[i])
                work(i, kind);
        }
    }
}

static volatile uint32_t *field(const char *name)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strncmp(names[i], name, strlen(names[i])))
            return &board->rate + i;
    fprintf(stderr, "contend: no field %s\n", name);
    exit(2);
}

static double percentile(const struct board *before, const struct board *after, uint64_t total, double percent)
{
    uint64_t seen = 0;

    for (int i = 0; i < BUCKETS; i++) {
        seen += after->late[i] - before->late[i];
        if (total && seen >= ceil(total * percent / 100))
            return pow(GROWTH, i + 0.5);
    }
    return 0;
}

static uint64_t requests_of(const struct board *before, const struct board *after)
{
    uint64_t sum = 0;

    for (int i = 0; i < BUCKETS; i++)
        sum += after->late[i] - before->late[i];
    return sum;
}

static uint64_t work_of(const struct board *before, const struct board *after)
{
    uint64_t sum = 0;

    for (int i = 0; i < THREADS; i++)
        sum += after->work[i] - before->work[i];
    return sum;
}

static int compare(const void *left, const void *right)
{
    double difference = *(const double *)left - *(const double *)right;

    return (difference > 0) - (difference < 0);
}

static double median(double *values, int count)
{
    qsort(values, count, sizeof *values, compare);
    return count ? values[count / 2] : 0;
}

/* Look every second: the medians of what the seconds were like stand beside what the whole window was like. */
static void window(int seconds, char **words)
{
    static struct board boards[601];
    static double slowest[600], done[600];
    uint64_t requests;
    long long began;
    int waited = 0;

    if (seconds < 1 || seconds > 600)
        exit(2);
    mlockall(MCL_CURRENT | MCL_FUTURE);
    setpriority(PRIO_PROCESS, 0, -20);
    began = now_nsec();
    for (int i = 0; i <= seconds; i++) {
        sleep_until(began + i * 1000000000LL);
        memcpy(&boards[i], board, sizeof *board);
        if (*words && i < seconds)
            *field(words[0]) = strtoul(words[1 + i / (atoi(words[3]) / 2) % 2], NULL, 10);
    }
    for (int i = 0; i < seconds; i++) {
        done[i] = work_of(&boards[i], &boards[i + 1]);
        requests = requests_of(&boards[i], &boards[i + 1]);
        if (requests)
            slowest[waited++] = percentile(&boards[i], &boards[i + 1], requests, 99);
    }
    requests = requests_of(&boards[0], &boards[seconds]);
    printf("{\"seconds\": %d, \"work\": %.3f, \"usual_work\": %.3f", seconds,
           (double)work_of(&boards[0], &boards[seconds]) / seconds, median(done, seconds));
    printf(", \"requests\": %llu, \"given_up\": %llu, \"usual_p99\": %.1f", (unsigned long long)requests,
           (unsigned long long)(boards[seconds].given_up - boards[0].given_up), median(slowest, waited));
    printf(", \"p50\": %.1f, \"p95\": %.1f, \"p99\": %.1f}\n", percentile(&boards[0], &boards[seconds], requests, 50),
           percentile(&boards[0], &boards[seconds], requests, 95),
           percentile(&boards[0], &boards[seconds], requests, 99));
}

static void map(const char *path)
{
    int opened = open(path, O_RDWR | O_CREAT, 0600);

    if (opened < 0 || ftruncate(opened, sizeof *board) < 0)
        exit(2);
    board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED, opened, 0);
    if (board == MAP_FAILED)
        exit(2);
}

int main(int count_of, char **words)
{
    if (count_of < 4)
        return 2;
    map(words[2]);
    if (!strcmp(words[1], "service"))
        service(words[3]);
    else if (!strcmp(words[1], "batch"))
        batch(words[3]);
    else if (!strcmp(words[1], "window"))
        window(atoi(words[3]), words + 4);
    else
        for (int i = 3; i < count_of; i++)
            *field(words[i]) = strtoul(strchr(words[i], '=') + 1, NULL, 10);
    return 0;
}
