// Threads that hold one lock for most of their work. The cure has a lock for each part of the table.
#include "common.h"

static pthread_mutex_t locks[64];
static atomic_int cured, next_part;

static void *work(void *unused) {
    int part = atomic_fetch_add(&next_part, 1);
    for (int i = 0; i < 250; i++) {
        pthread_mutex_t *lock = &locks[atomic_load(&cured) ? part : 0];
        pthread_mutex_lock(lock);
        compute_us(800);
        pthread_mutex_unlock(lock);
        compute_us(100);
    }
    return unused;
}

int main(int count, char **words) {
    cured = is_cure(count, words);
    for (int i = 0; i < 64; i++) pthread_mutex_init(&locks[i], 0);
    run_threads(4, work, NULL);
}
