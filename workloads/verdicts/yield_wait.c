// Processes that yield in a loop until another has computed what they wait for. In the cure they sleep until then: it takes as long
// where CPUs are free, and half the CPU time.
#include "common.h"
#include <semaphore.h>
#include <sys/mman.h>

enum { WAITING = 3 };

static struct shared {
    atomic_int done;
    sem_t told;
} *shared;
static int cured;

static void *wait_for_it(void *unused) {
    if (cured)
        while (sem_wait(&shared->told)) {}
    else
        while (!atomic_load(&shared->done)) sched_yield();
    return unused;
}

int main(int count, char **words) {
    cured = is_cure(count, words);
    shared = mmap(0, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED || sem_init(&shared->told, 1, 0)) return 1;
    if (!fork()) {
        compute(700);
        atomic_store(&shared->done, 1);
        for (int i = 0; i < WAITING; i++) sem_post(&shared->told);
        _exit(0);
    }
    run_processes(WAITING, wait_for_it, NULL);
}
