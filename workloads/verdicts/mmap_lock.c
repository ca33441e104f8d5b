// Threads that map and unmap memory, one address space for all. The cure has a process, and so an address space, for each. They use one
// page of each mapping: with more, what the kernel clears for them would take longer than what they wait (see memory_threads.c).
#include "common.h"
#include <sys/mman.h>

enum { SIZE = 64 << 10, ROUNDS = 40000 };

static void *work(void *unused) {
    for (int round = 0; round < ROUNDS; round++) {
        char *memory = mmap(0, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) {
            perror("mmap");
            exit(1);
        }
        memory[0] = 1;
        munmap(memory, SIZE);
    }
    return unused;
}

int main(int count, char **words) {
    if (is_cure(count, words))
        run_processes(4, work, NULL);
    else
        run_threads(4, work, NULL);
}
