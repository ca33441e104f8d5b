// Rounds of work whose threads wait for each other in a loop, as those of OpenMP do for a while, and one of them has four times as much to
// do. The cure divides each round evenly.
#include "common.h"

enum { ROUNDS = 100 };
static atomic_int arrived;
static int evenly;

static void *work(void *thread) {
    const long units = evenly ? 5 : thread ? 2 : 8;
    for (int round = 1; round <= ROUNDS; round++) {
        compute(units);
        atomic_fetch_add(&arrived, 1);
        while (atomic_load(&arrived) < 2 * round) relax();
    }
    return NULL;
}

int main(int count, char **words) {
    evenly = is_cure(count, words);
    pthread_t thread;
    if (pthread_create(&thread, 0, work, words)) return 1;
    work(NULL);
    pthread_join(thread, 0);
}
