// Threads that write each record to the disk while they hold a lock. The cure writes records together: whoever gets the lock writes what
// all have left, and the others find theirs written.
#include "common.h"
#include <fcntl.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int file, cured;
static atomic_long left, written;

static void *work(void *unused) {
    char record[512] = {0};
    for (int i = 0; i < 150; i++) {
        compute_us(100);
        long own = atomic_fetch_add(&left, 1) + 1;
        pthread_mutex_lock(&lock);
        if (!cured || written < own) {
            long all = left;
            for (long n = cured ? written : all - 1; n < all; n++)
                if (write(file, record, sizeof record) < 0) exit(1);
            fdatasync(file);
            written = all;
        }
        pthread_mutex_unlock(&lock);
    }
    return unused;
}

int main(int count, char **words) {
    char name[] = "records-XXXXXX";
    cured = is_cure(count, words);
    if ((file = mkstemp(name)) < 0) return 1;
    unlink(name);
    run_threads(8, work, NULL);
}
