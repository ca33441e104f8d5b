// What the C programs share: work of a known size, and threads to do it.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static inline int is_cure(int count, char **words) { return count > 1 && !strcmp(words[1], "cure"); }

// Computes for about a microsecond for each unit.
static inline void compute_us(long units) {
    volatile uint32_t state = 1;
    for (long i = 0; i < units * 400; i++) state = state * 1664525 + 1013904223;
}

// About a millisecond for each.
static inline void compute(long units) { compute_us(units * 1000); }

// For loops that wait for another thread.
static inline void relax(void) {
#if defined __x86_64__
    __builtin_ia32_pause();
#elif defined __aarch64__
    __asm__ volatile("yield");
#endif
}

static inline void sleep_us(long us) {
    struct timespec time = {us / 1000000, us % 1000000 * 1000};
    while (nanosleep(&time, &time) && errno == EINTR) {}
}

static inline long cpus(void) {
    cpu_set_t mask;
    sched_getaffinity(0, sizeof mask, &mask);
    return CPU_COUNT(&mask);
}

// Runs so many threads to their end, all with the same argument.
static inline void run_threads(int count, void *(*work)(void *), void *argument) {
    pthread_t threads[64];
    for (int i = 0; i < count; i++)
        if (pthread_create(&threads[i], 0, work, argument)) {
            perror("pthread_create");
            exit(1);
        }
    for (int i = 0; i < count; i++) pthread_join(threads[i], 0);
}

// The same with forked processes.
static inline void run_processes(int count, void *(*work)(void *), void *argument) {
    for (int i = 0; i < count; i++)
        if (!fork()) {
            work(argument);
            _exit(0);
        }
    while (wait(0) > 0 || errno == EINTR) {}
}
