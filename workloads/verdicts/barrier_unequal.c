// Threads that meet at a barrier after each step; the first has most of the work. The cure divides it equally.
#include "common.h"

static pthread_barrier_t barrier;
static atomic_int next_thread;
static int cured;

static void *work(void *unused) {
    int is_first = !atomic_fetch_add(&next_thread, 1);
    for (int step = 0; step < 100; step++) {
        compute_us(cured ? 4000 : is_first ? 7400 : 600);
        pthread_barrier_wait(&barrier);
    }
    return unused;
}

int main(int count, char **words) {
    cured = is_cure(count, words);
    pthread_barrier_init(&barrier, 0, 2);
    run_threads(2, work, NULL);
}
