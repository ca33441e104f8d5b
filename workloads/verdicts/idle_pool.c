// A thread pool that waits for jobs; every 200 ms there are six of a few milliseconds. All is well.
#include "common.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int jobs, stopped;

static void *work(void *unused) {
    for (;;) {
        pthread_mutex_lock(&lock);
        while (!jobs && !stopped) pthread_cond_wait(&changed, &lock);
        if (!jobs) {
            pthread_mutex_unlock(&lock);
            return unused;
        }
        jobs--;
        pthread_mutex_unlock(&lock);
        compute(8);
    }
}

int main(void) {
    pthread_t threads[6];
    for (int i = 0; i < 6; i++) pthread_create(&threads[i], 0, work, NULL);
    for (int i = 0; i < 6; i++) {
        pthread_mutex_lock(&lock);
        jobs += 6;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&lock);
        sleep_us(200000);
    }
    pthread_mutex_lock(&lock);
    stopped = 1;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    for (int i = 0; i < 6; i++) pthread_join(threads[i], 0);
}
