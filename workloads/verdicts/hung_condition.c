// A condition is signalled before anyone waits for it, and nobody looks at what it stands for: all wait for ever. The cure looks.
#include "common.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t started = PTHREAD_COND_INITIALIZER;
static int has_started, cured;

static void *work(void *unused) {
    compute(50);
    pthread_mutex_lock(&lock);
    while (!cured || !has_started) pthread_cond_wait(&started, &lock);
    pthread_mutex_unlock(&lock);
    compute(300);
    return unused;
}

int main(int count, char **words) {
    cured = is_cure(count, words);
    pthread_mutex_lock(&lock);
    has_started = 1;
    pthread_cond_broadcast(&started);
    pthread_mutex_unlock(&lock);
    run_threads(3, work, NULL);
}
