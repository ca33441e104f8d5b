// Threads that work while they hold a lock that is waited for in a loop, on a CPU. The cure works first, and takes the lock to add the result.
#include "common.h"

static atomic_flag lock = ATOMIC_FLAG_INIT;
static long sum;

static void *work(void *cure) {
    for (int part = 0; part < 400; part++) {
        if (cure) compute(1);
        while (atomic_flag_test_and_set_explicit(&lock, memory_order_acquire)) relax();
        if (!cure) compute(1);
        sum++;
        atomic_flag_clear_explicit(&lock, memory_order_release);
    }
    return NULL;
}

int main(int count, char **words) {
    run_threads((int)cpus(), work, is_cure(count, words) ? words : NULL);
}
