// Idle workers that look for jobs all the time, beside two threads that compute: looking takes a good part of the CPUs.
// In the cure they wait for a condition.
#include "common.h"

enum { IDLE = 24 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static atomic_int stopped;
static int cured;

static void *look(void *unused) {
    if (cured) {
        pthread_mutex_lock(&lock);
        while (!atomic_load(&stopped)) pthread_cond_wait(&changed, &lock);
        pthread_mutex_unlock(&lock);
    } else {
        while (!atomic_load(&stopped)) {
            pthread_mutex_lock(&lock);
            compute_us(3);
            pthread_mutex_unlock(&lock);
            sleep_us(20);
        }
    }
    return unused;
}

static void *work(void *unused) {
    compute(400);
    return unused;
}

int main(int count, char **words) {
    pthread_t threads[IDLE];
    cured = is_cure(count, words);
    for (int i = 0; i < IDLE; i++) pthread_create(&threads[i], 0, look, NULL);
    run_threads(2, work, NULL);
    pthread_mutex_lock(&lock);
    atomic_store(&stopped, 1);
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    for (int i = 0; i < IDLE; i++) pthread_join(threads[i], 0);
}
