// Workers that pin themselves, all to the same CPU: each counts CPUs from 0, as if it were alone. The cure leaves placing to the kernel.
#include "common.h"

static void *work(void *argument) {
    if (!argument) {
        cpu_set_t mask, allowed;
        int first = 0;
        sched_getaffinity(0, sizeof allowed, &allowed);
        while (!CPU_ISSET(first, &allowed)) first++;
        CPU_ZERO(&mask);
        CPU_SET(first, &mask);
        sched_setaffinity(0, sizeof mask, &mask);
    }
    compute(350);
    return 0;
}

int main(int count, char **words) {
    run_threads(2, work, is_cure(count, words) ? "" : NULL);
}
