// Reads blocks at random from a disk, past the page cache, one at a time. The cure has eight threads do it.
#include "common.h"
#include <fcntl.h>

enum { BLOCK = 4096, BLOCKS = 16384, READS = 12000 };

static int file, threads;

static void *work(void *unused) {
    void *block;
    unsigned state = (unsigned)(uintptr_t)&block;
    if (posix_memalign(&block, BLOCK, BLOCK)) exit(1);
    for (int i = 0; i < READS / threads; i++) {
        state = state * 1664525 + 1013904223;
        if (pread(file, block, BLOCK, (off_t)(state >> 8) % BLOCKS * BLOCK) != BLOCK) {
            perror("pread");
            exit(1);
        }
    }
    return unused;
}

int main(int count, char **words) {
    static char data[1 << 20];
    threads = is_cure(count, words) ? 8 : 1;
    if ((file = open("/var/tmp", O_RDWR | O_TMPFILE | O_DIRECT, 0600)) < 0) {
        perror("/var/tmp");
        return 1;
    }
    void *block;
    if (posix_memalign(&block, BLOCK, sizeof data)) return 1;
    memset(block, 1, sizeof data);
    for (int i = 0; i < BLOCKS / 256; i++)
        if (write(file, block, sizeof data) != sizeof data) {
            perror("write");
            return 1;
        }
    run_threads(threads, work, NULL);
}
