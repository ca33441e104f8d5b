// Six workers do the steps of a task in turn, and those whose turn it is not yield until it is; others have work of their own.
// In the cure they wait for a semaphore.
#include "common.h"
#include <semaphore.h>

enum { WORKERS = 6, ROUNDS = 60 };

static atomic_int turn, next_worker;
static int cured;
static sem_t turns[WORKERS];

static void *take_turns(void *unused) {
    int mine = atomic_fetch_add(&next_worker, 1);
    for (int i = 0; i < ROUNDS; i++) {
        if (cured)
            while (sem_wait(&turns[mine])) {}
        else
            while (atomic_load(&turn) % WORKERS != mine) sched_yield();
        compute_us(1000);
        atomic_fetch_add(&turn, 1);
        sem_post(&turns[(mine + 1) % WORKERS]);
    }
    return unused;
}

static void *work(void *unused) {
    compute(250);
    return unused;
}

int main(int count, char **words) {
    pthread_t threads[2];
    cured = is_cure(count, words);
    for (int i = 0; i < WORKERS; i++) sem_init(&turns[i], 0, i == 0);
    for (int i = 0; i < 2; i++) pthread_create(&threads[i], 0, work, NULL);
    run_threads(WORKERS, take_turns, NULL);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], 0);
}
