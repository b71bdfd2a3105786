/* The floor: a plain TLS server in C, one process, epoll, OpenSSL with its defaults.
 *
 *     c_server PORT CERT KEY
 *
 * After the handshake it reads lines: "D n" sends n bytes, "U n" takes n bytes and answers "OK n", "E" echoes everything
 * from then on. At SIGTERM it prints how many handshakes it has completed. ONLY_X25519=1 restricts it to X25519 and
 * AES-128-GCM, so that every client that is measured against it does the same work.
 */
#include "c_tls.h"
#include <sys/epoll.h>

enum { CHUNK = 256 * 1024, RECORD = 16 * 1024, EVENTS = 256 };
enum state { LINE, DOWNLOAD, UPLOAD, ECHO };

struct connection {
    int fd;
    SSL *ssl;
    enum state state;
    long long left, total;
    int line_length, answer_length;
    char line[32];
    char *answer;
};

static char zeros[CHUNK], input[RECORD];
static volatile sig_atomic_t ended;

static void end(int number)
{
    (void)number;
    ended = 1;
}

static SSL_CTX *context(const char *cert, const char *key)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (!ctx || SSL_CTX_use_certificate_chain_file(ctx, cert) != 1
        || SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
        fail("certificate");
    if (getenv("ONLY_X25519")
        && (SSL_CTX_set1_groups_list(ctx, "X25519") != 1 || SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256") != 1))
        fail("ONLY_X25519");
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"c_server", 8);
    return ctx;
}

static int listener(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 1024) < 0)
        fail("listen");
    set_up_socket(fd);
    return fd;
}

/* Does what a complete line says. */
static void command(struct connection *c)
{
    c->line[c->line_length] = 0;
    c->line_length = 0;
    if (c->line[0] == 'E') {
        c->state = ECHO;
        return;
    }
    c->total = c->left = atoll(c->line + 1);
    c->state = c->line[0] == 'U' ? UPLOAD : DOWNLOAD;
}

/* Room for what waits to be written, which few connections ever need. */
static char *answer(struct connection *c)
{
    if (!c->answer && !(c->answer = malloc(RECORD)))
        fail("malloc");
    return c->answer;
}

/* Takes what was received. What follows a "D n" before it is answered is not expected, and dropped. */
static void take(struct connection *c, const char *data, int length)
{
    while (length > 0) {
        if (c->state == ECHO) {
            memcpy(answer(c), data, (size_t)length);
            c->answer_length = length;
            return;
        }
        if (c->state == UPLOAD) {
            int taken = length < c->left ? length : (int)c->left;
            c->left -= taken, data += taken, length -= taken;
            if (!c->left) {
                c->state = LINE;
                c->answer_length = snprintf(answer(c), RECORD, "OK %lld\n", c->total);
            }
            continue;
        }
        if (c->state == DOWNLOAD)
            return;
        char byte = *data++;
        length--;
        if (byte == '\n')
            command(c);
        else if (c->line_length < (int)sizeof c->line - 1)
            c->line[c->line_length++] = byte;
    }
}

/* Goes on until the descriptor can take or give no more; 0 when the connection is over. */
static int advance(struct connection *c)
{
    for (;;) {
        int result;
        ERR_clear_error();
        if (c->answer_length) {
            result = SSL_write(c->ssl, c->answer, c->answer_length);
            if (result > 0) {
                c->answer_length -= result;
                memmove(c->answer, c->answer + result, (size_t)c->answer_length);
            }
        } else if (c->state == DOWNLOAD) {
            result = c->left ? SSL_write(c->ssl, zeros, c->left < CHUNK ? (int)c->left : CHUNK) : 1;
            if (result > 0 && !(c->left -= c->left ? result : 0))
                c->state = LINE;
        } else {
            result = SSL_read(c->ssl, input, sizeof input);
            if (result > 0)
                take(c, input, result);
        }
        if (result <= 0) {
            if (awaited(c->ssl, result))
                return 1;
            if (SSL_get_error(c->ssl, result) == SSL_ERROR_ZERO_RETURN)
                SSL_shutdown(c->ssl);
            return 0;
        }
    }
}

static void drop(struct connection *c)
{
    SSL_free(c->ssl);
    close(c->fd);
    free(c->answer);
    free(c);
}

/* Edge-triggered for both directions once and for all, so that the set never changes. */
static void take_connections(int set, int listening, SSL_CTX *ctx)
{
    int fd;
    while ((fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        struct connection *c = calloc(1, sizeof *c);
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
        set_up_socket(fd);
        if (!c || !(c->ssl = SSL_new(ctx)) || SSL_set_fd(c->ssl, fd) != 1)
            fail("connection");
        c->fd = fd;
        SSL_set_accept_state(c->ssl);
        if (epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) < 0)
            fail("epoll_ctl");
    }
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return fprintf(stderr, "c_server PORT CERT KEY\n"), 2;
    struct sigaction action = {.sa_handler = end};
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);

    SSL_CTX *ctx = context(argv[2], argv[3]);
    int listening = listener(atoi(argv[1])), set = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event events[EVENTS], event = {.events = EPOLLIN, .data.ptr = NULL};
    if (set < 0 || epoll_ctl(set, EPOLL_CTL_ADD, listening, &event) < 0)
        fail("epoll");
    fprintf(stderr, "ready %s\n", OpenSSL_version(OPENSSL_VERSION));

    while (!ended) {
        int count = epoll_wait(set, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            struct connection *c = events[i].data.ptr;
            if (!c)
                take_connections(set, listening, ctx);
            else if (!advance(c))
                drop(c);
        }
    }
    printf("{\"handshakes\": %ld, \"resumed\": %ld}\n", SSL_CTX_sess_accept_good(ctx), SSL_CTX_sess_hits(ctx));
    return 0;
}
