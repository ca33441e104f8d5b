// Rounds of two new threads, of which one has four times as much to do, so that the other core is free for most of each round. The cure
// divides each round evenly.
#include "common.h"

static void *work(void *units) {
    compute((long)(intptr_t)units);
    return NULL;
}

int main(int count, char **words) {
    const long parts[2] = {is_cure(count, words) ? 5 : 8, is_cure(count, words) ? 5 : 2};
    for (int round = 0; round < 100; round++) {
        pthread_t threads[2];
        for (int i = 0; i < 2; i++)
            if (pthread_create(&threads[i], 0, work, (void *)(intptr_t)parts[i])) return 1;
        for (int i = 0; i < 2; i++) pthread_join(threads[i], 0);
    }
}
