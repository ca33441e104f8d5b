// Threads that take memory for each step, fill it and give it back: the kernel has to clear it, and the threads wait for each other at the
// lock of the address space. The cure keeps it, which ends both.
#include "common.h"
#include <sys/mman.h>

enum { SIZE = 256 << 10, ROUNDS = 2500 };
static int keeps;

static char *take(void) {
    char *memory = mmap(0, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    return memory;
}

static void *work(void *unused) {
    char *kept = keeps ? take() : 0;
    for (int round = 0; round < ROUNDS; round++) {
        char *memory = keeps ? kept : take();
        for (int filled = 0; filled < 4; filled++) memset(memory, round + filled, SIZE);
        if (!keeps) munmap(memory, SIZE);
    }
    return unused;
}

int main(int count, char **words) {
    keeps = is_cure(count, words);
    run_threads(4, work, NULL);
}
