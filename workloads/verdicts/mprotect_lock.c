// Threads that change the protection of their own pages, as a JIT compiler does: the lock of the address space is taken each time.
// The cure has processes.
#include "common.h"
#include <sys/mman.h>

enum { SIZE = 256 << 10, PAGE = 4096, ROUNDS = 12000 };

static void *work(void *unused) {
    char *memory = mmap(0, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    for (int round = 0; round < ROUNDS; round++) {
        mprotect(memory, SIZE, PROT_READ | PROT_WRITE);
        for (int offset = 0; offset < SIZE; offset += PAGE) memory[offset]++;
        mprotect(memory, SIZE, PROT_READ);
    }
    return unused;
}

int main(int count, char **words) {
    if (is_cure(count, words))
        run_processes(4, work, NULL);
    else
        run_threads(4, work, NULL);
}
