// compute THREADS UNITS: so many threads, or one for each CPU with 0, do that many units together, about a millisecond each.
#include "common.h"

static long units;

static void *work(void *unused) {
    compute(units);
    return unused;
}

int main(int count, char **words) {
    if (count != 3) return 2;
    int threads = atoi(words[1]) ? atoi(words[1]) : (int)cpus();
    units = atol(words[2]) / threads;
    run_threads(threads, work, NULL);
}
