// One thread computes, and nothing keeps the work from being divided. The cure divides it among the CPUs.
#include "common.h"

static long units = 700;

static void *work(void *unused) {
    compute(units);
    return unused;
}

int main(int count, char **words) {
    int threads = is_cure(count, words) ? (int)cpus() : 1;
    units /= threads;
    run_threads(threads, work, NULL);
}
