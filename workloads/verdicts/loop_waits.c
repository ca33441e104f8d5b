// An epoll loop whose handler waits for a device in line, while other events are ready. The cure waits for it in the loop, with a timer.
#include "common.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

enum { EVENTS = 12, ROUNDS = 6, WAIT_US = 10000 };

static void add(int poll, int file) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = file};
    epoll_ctl(poll, EPOLL_CTL_ADD, file, &event);
}

int main(int count, char **words) {
    int cured = is_cure(count, words), poll = epoll_create1(0), left = EVENTS * ROUNDS, events[EVENTS], timers[EVENTS];
    uint64_t one = 1, value;
    for (int i = 0; i < EVENTS; i++) {
        events[i] = eventfd(0, EFD_NONBLOCK);
        timers[i] = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
        add(poll, events[i]);
        add(poll, timers[i]);
        if (write(events[i], &one, sizeof one) < 0) return 1;
    }
    int rounds_left[EVENTS];
    for (int i = 0; i < EVENTS; i++) rounds_left[i] = ROUNDS;
    while (left) {
        struct epoll_event ready[2 * EVENTS];
        int number = epoll_wait(poll, ready, 2 * EVENTS, -1);
        for (int k = 0; k < number; k++)
            for (int i = 0; i < EVENTS; i++) {
                if (ready[k].data.fd == events[i] && read(events[i], &value, sizeof value) > 0) {
                    compute_us(300);
                    if (cured) {
                        struct itimerspec wait = {.it_value.tv_nsec = WAIT_US * 1000};
                        timerfd_settime(timers[i], 0, &wait, 0);
                        continue;
                    }
                    sleep_us(WAIT_US);
                } else if (ready[k].data.fd != timers[i] || read(timers[i], &value, sizeof value) <= 0) {
                    continue;
                }
                left--;
                if (--rounds_left[i] && write(events[i], &one, sizeof one) < 0) return 1;
            }
    }
}
