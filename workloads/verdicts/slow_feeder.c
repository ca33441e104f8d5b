// One thread parses and feeds three that have little to do with each item. In the cure two threads parse.
#include "common.h"

enum { ITEMS = 800, WORKERS = 3, PLACES = 8 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int queued, parsed, taken, parsers;

static void *parse(void *unused) {
    for (int i = 0; i < ITEMS / parsers; i++) {
        compute_us(1000);
        pthread_mutex_lock(&lock);
        while (queued == PLACES) pthread_cond_wait(&changed, &lock);
        queued++;
        parsed++;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&lock);
    }
    return unused;
}

static void *work(void *unused) {
    for (;;) {
        pthread_mutex_lock(&lock);
        while (!queued && taken < ITEMS) pthread_cond_wait(&changed, &lock);
        if (taken == ITEMS) {
            pthread_mutex_unlock(&lock);
            return unused;
        }
        queued--;
        taken++;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&lock);
        compute_us(100);
    }
}

int main(int count, char **words) {
    pthread_t threads[2 + WORKERS];
    parsers = is_cure(count, words) ? 2 : 1;
    for (int i = 0; i < parsers; i++) pthread_create(&threads[i], 0, parse, NULL);
    for (int i = 0; i < WORKERS; i++) pthread_create(&threads[parsers + i], 0, work, NULL);
    for (int i = 0; i < parsers + WORKERS; i++) pthread_join(threads[i], 0);
}
