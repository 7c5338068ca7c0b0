/*
 * The least that a server can do for one connection after the other: the floors that benches/run measures servers by.
 *
 *   floor plain|safe|best PORT WORD     on 127.0.0.1, in two processes with a listener each (SO_REUSEPORT), blocking
 *   floor inetd WORD                    the program that xinetd runs: a request on stdin, the reply on stdout
 *
 * The reply is the word and the end of a line, as xinetd can't say that itself.
 *
 * plain: accept, recv, send, close. A client that has sent more than was read has its reply reset.
 * safe:  accept, recv, send, shutdown, recv to the client's end, close.
 * best:  safe, but the kernel holds a connection until its request is there, the reply and the end share a segment, and the
 *        client's end is waited for later, when it has probably come: the same system calls without the waiting.
 *
 * A request is what one recv returns; that holds for the few bytes that the load generator sends. Nothing has a deadline
 * but the waiting for ends in best.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    PROCESSES = 2,
    BACKLOG = 4096,
    REQUEST_MAX = 4096, /* bytes */
    REPLY_MAX = 1024,   /* bytes */

    /* best: so many that wait for their client's end are left alone, for the oldest of more has probably come to its end. */
    CLOSING_YOUNG = 16,
    CLOSING_MAX = 64,

    /* best: how long accept, and recv of one of too many, wait while some are closing. In microseconds. */
    PATIENCE = 10 * 1000,
};

/* Connections whose reply and end were sent, from the oldest: a ring. */
struct closing {
    int sockets[CLOSING_MAX];
    unsigned first;
    unsigned count;
};

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void set(int fd, int level, int option, int value)
{
    if (setsockopt(fd, level, option, &value, sizeof value) < 0)
        fail("setsockopt");
}

static int listener(unsigned short port, int is_deferred)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd < 0)
        fail("socket");
    set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    set(fd, IPPROTO_TCP, TCP_NODELAY, 1); /* Its connections inherit it. */
    if (is_deferred)
        set(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, 1);
    if (bind(fd, (struct sockaddr *)&addr, sizeof addr) < 0)
        fail("bind");
    if (listen(fd, BACKLOG) < 0)
        fail("listen");
    return fd;
}

/* Whether there was a request that has its reply now. */
static int is_answered(int fd, const char *reply, size_t len, int flags)
{
    char request[REQUEST_MAX];

    return recv(fd, request, sizeof request, 0) > 0 && send(fd, reply, len, flags | MSG_NOSIGNAL) == (ssize_t)len;
}

/* Whether the client has ended, reading what it still sent. It has not if there is nothing to read. */
static int has_ended(int fd, int flags)
{
    char rest[REQUEST_MAX];
    ssize_t len;

    do
        len = recv(fd, rest, sizeof rest, flags);
    while (len > 0 || (len < 0 && errno == EINTR));
    return len == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}

static void serve_plain(int listening, const char *reply, size_t len)
{
    for (;;) {
        int fd = accept(listening, NULL, NULL);

        if (fd < 0)
            continue;
        (void)is_answered(fd, reply, len, 0);
        close(fd);
    }
}

static void serve_safe(int listening, const char *reply, size_t len)
{
    for (;;) {
        int fd = accept(listening, NULL, NULL);

        if (fd < 0)
            continue;
        if (is_answered(fd, reply, len, 0) && shutdown(fd, SHUT_WR) == 0)
            (void)has_ended(fd, 0);
        close(fd);
    }
}

/* How long accept waits on a listener, and recv on the connections that it accepts from now on; 0 is for ever. */
static void be_patient(int listening, long microseconds)
{
    struct timeval patience = {.tv_usec = microseconds};

    if (setsockopt(listening, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) < 0)
        fail("SO_RCVTIMEO");
}

/* Closes those that have ended, from the oldest to the first that has not, and leaves `left` of the youngest alone. */
static void close_ended(struct closing *closing, unsigned left)
{
    while (closing->count > left) {
        int fd = closing->sockets[closing->first];

        if (!has_ended(fd, MSG_DONTWAIT)) {
            if (closing->count < CLOSING_MAX)
                return;
            (void)has_ended(fd, 0); /* within the patience */
        }
        close(fd);
        closing->first = (closing->first + 1) % CLOSING_MAX;
        closing->count--;
    }
}

static void serve_best(int listening, const char *reply, size_t len)
{
    struct closing closing = {.count = 0};

    for (;;) {
        int fd = accept(listening, NULL, NULL);

        if (fd < 0) {
            /* Nobody came within the patience: nobody is left waiting either. */
            close_ended(&closing, 0);
            if (closing.count == 0)
                be_patient(listening, 0);
            continue;
        }
        /* The shutdown sends what MSG_MORE held back, and the end with it. */
        if (!is_answered(fd, reply, len, MSG_MORE) || shutdown(fd, SHUT_WR) < 0) {
            close(fd);
            continue;
        }
        if (closing.count == 0)
            be_patient(listening, PATIENCE);
        closing.sockets[(closing.first + closing.count++) % CLOSING_MAX] = fd;
        close_ended(&closing, CLOSING_YOUNG);
    }
}

static int serve(const char *mode, unsigned short port, const char *reply, size_t len)
{
    if (strcmp(mode, "plain") == 0)
        serve_plain(listener(port, 0), reply, len);
    else if (strcmp(mode, "safe") == 0)
        serve_safe(listener(port, 0), reply, len);
    else if (strcmp(mode, "best") == 0)
        serve_best(listener(port, 1), reply, len);
    fprintf(stderr, "floor: no mode %s\n", mode);
    return 64;
}

static int serve_inetd(const char *reply, size_t len)
{
    char request[REQUEST_MAX];

    return !(read(STDIN_FILENO, request, sizeof request) > 0 && write(STDOUT_FILENO, reply, len) == (ssize_t)len);
}

int main(int argc, char **argv)
{
    char reply[REPLY_MAX];
    size_t len = argc < 3 ? 0 : strlen(argv[argc - 1]);

    if (len == 0 || len >= sizeof reply) {
        fputs("usage: floor plain|safe|best PORT WORD\n       floor inetd WORD\n", stderr);
        return 64;
    }
    memcpy(reply, argv[argc - 1], len);
    reply[len++] = '\n';
    if (argc == 3)
        return serve_inetd(reply, len);
    for (int process = 0; process < PROCESSES; process++) {
        pid_t parent = getpid();
        pid_t child = fork();

        if (child < 0)
            fail("fork");
        if (child == 0) {
            /* Ends with its parent, also if that ended before this was said. */
            prctl(PR_SET_PDEATHSIG, SIGTERM);
            if (getppid() != parent)
                return 1;
            return serve(argv[1], (unsigned short)atoi(argv[2]), reply, len);
        }
    }
    /* One that ends has failed. The other one then ends with this. */
    wait(NULL);
    return 1;
}
