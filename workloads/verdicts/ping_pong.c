// Two threads hand each item to each other and wait for it to come back. The cure hands over five hundred at a time.
#include "common.h"

enum { ITEMS = 120000 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int turn, batch;

static void take_turns(int mine) {
    for (int done = 0; done < ITEMS; done += batch) {
        pthread_mutex_lock(&lock);
        while (turn != mine) pthread_cond_wait(&changed, &lock);
        turn = !mine;
        pthread_cond_signal(&changed);
        pthread_mutex_unlock(&lock);
        compute_us(batch / 2);
    }
}

static void *answer(void *unused) {
    take_turns(1);
    return unused;
}

int main(int count, char **words) {
    pthread_t thread;
    batch = is_cure(count, words) ? 500 : 1;
    pthread_create(&thread, 0, answer, NULL);
    take_turns(0);
    pthread_join(thread, 0);
}
