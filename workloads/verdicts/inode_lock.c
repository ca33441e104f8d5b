// Threads that write blocks to one file: the kernel lets one writer at a time into a file. The cure has a file for each.
#include "common.h"
#include <fcntl.h>

enum { BLOCK = 1 << 20, BLOCKS = 1000 };

static int files[4], cured;
static atomic_int next_thread;
static char block[BLOCK];

static void *work(void *unused) {
    int number = atomic_fetch_add(&next_thread, 1);
    int file = files[cured ? number : 0];
    for (int i = 0; i < BLOCKS; i++)
        if (pwrite(file, block, BLOCK, (off_t)(number * 8 + i % 8) * BLOCK) != BLOCK) {
            perror("pwrite");
            exit(1);
        }
    return unused;
}

int main(int count, char **words) {
    cured = is_cure(count, words);
    for (int i = 0; i < 4; i++)
        if ((files[i] = open("/dev/shm", O_RDWR | O_TMPFILE, 0600)) < 0) {
            perror("/dev/shm");
            return 1;
        }
    run_threads(4, work, NULL);
}
