// Four processes that compute little between meetings, and yield in a loop until the last one is there. The cure has the kernel wake them.
#include "common.h"
#include <sys/mman.h>

enum { PROCESSES = 4, STEPS = 400 };

static struct shared {
    pthread_barrier_t barrier;
    atomic_int arrived, next_process;
} *shared;
static int cured;

static void *work(void *unused) {
    int mine = atomic_fetch_add(&shared->next_process, 1);
    for (int step = 0; step < STEPS; step++) {
        compute_us(mine == step % PROCESSES ? 2000 : 100);
        if (cured) {
            pthread_barrier_wait(&shared->barrier);
            continue;
        }
        atomic_fetch_add(&shared->arrived, 1);
        while (atomic_load(&shared->arrived) < (step + 1) * PROCESSES) sched_yield();
    }
    return unused;
}

int main(int count, char **words) {
    pthread_barrierattr_t attributes;
    cured = is_cure(count, words);
    shared = mmap(0, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) return 1;
    pthread_barrierattr_init(&attributes);
    pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(&shared->barrier, &attributes, PROCESSES);
    run_processes(PROCESSES, work, NULL);
}
