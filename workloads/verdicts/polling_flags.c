// Idle workers that look at a flag twenty thousand times a second while a job waits for a disk. In the cure they wait for a condition.
// It takes as long, and next to no CPU.
#include "common.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static atomic_int stopped;
static int cured;

static void *work(void *unused) {
    if (cured) {
        pthread_mutex_lock(&lock);
        while (!atomic_load(&stopped)) pthread_cond_wait(&changed, &lock);
        pthread_mutex_unlock(&lock);
    } else {
        while (!atomic_load(&stopped)) sleep_us(50);
    }
    return unused;
}

int main(int count, char **words) {
    pthread_t threads[8];
    cured = is_cure(count, words);
    for (int i = 0; i < 8; i++) pthread_create(&threads[i], 0, work, NULL);
    for (int i = 0; i < 10; i++) sleep_us(100000);
    pthread_mutex_lock(&lock);
    atomic_store(&stopped, 1);
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    for (int i = 0; i < 8; i++) pthread_join(threads[i], 0);
}
