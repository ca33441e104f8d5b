// Takes 40 MiB for each of many steps and gives them back, which the allocator passes on to the kernel. The cure keeps them.
#include "common.h"

int main(int count, char **words) {
    const size_t size = 40 << 20;
    char *kept = is_cure(count, words) ? malloc(size) : 0;
    unsigned sum = 0;
    for (int step = 0; step < 60; step++) {
        char *memory = kept ? kept : malloc(size);
        memset(memory, step, size);
        for (size_t i = 0; i < size; i += 8) sum += memory[i];
        if (!kept) free(memory);
    }
    return sum == 1;
}
