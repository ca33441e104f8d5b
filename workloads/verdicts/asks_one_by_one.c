// A client and a server that wait in epoll, and one value at a time between them. The cure asks for a thousand at a time.
#include "common.h"
#include <sys/epoll.h>
#include <sys/socket.h>

enum { QUESTIONS = 60000, MOST = 1000 };

static int ready(int socket) {
    struct epoll_event event = {.events = EPOLLIN};
    int poll = epoll_create1(0);
    if (poll < 0 || epoll_ctl(poll, EPOLL_CTL_ADD, socket, &event)) exit(1);
    return poll;
}

// Waits for so many bytes.
static void take(int poll, int socket, char *bytes, size_t count) {
    for (size_t got = 0; got < count;) {
        struct epoll_event event;
        if (epoll_wait(poll, &event, 1, -1) < 1) continue;
        ssize_t more = recv(socket, bytes + got, count - got, MSG_DONTWAIT);
        if (more <= 0) exit(1);
        got += (size_t)more;
    }
}

int main(int count, char **words) {
    const size_t batch = is_cure(count, words) ? MOST : 1;
    static char bytes[MOST];
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends)) return 1;
    pid_t server = fork();
    int own = ends[server == 0], poll = ready(own);
    for (size_t i = 0; i < QUESTIONS; i += batch) {
        if (server && send(own, bytes, batch, 0) < 0) return 1;
        take(poll, own, bytes, batch);
        if (!server && send(own, bytes, batch, 0) < 0) return 1;
    }
    if (server) wait(0);
}
