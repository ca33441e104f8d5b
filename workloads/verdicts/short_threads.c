// A thread for each task of a few milliseconds, as many at a time as there are CPUs: little is to be gained.
#include "common.h"
#include <semaphore.h>

static sem_t places;

static void *work(void *unused) {
    compute(4);
    sem_post(&places);
    return unused;
}

int main(void) {
    sem_init(&places, 0, (unsigned)cpus());
    for (int i = 0; i < 300; i++) {
        pthread_t thread;
        while (sem_wait(&places)) {}
        if (pthread_create(&thread, 0, work, NULL)) return 1;
        pthread_detach(thread);
    }
    for (int i = 0; i < (int)cpus(); i++) while (sem_wait(&places)) {}
}
