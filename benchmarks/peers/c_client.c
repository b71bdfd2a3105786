/* The floor of the clients: verified connections in C, one process, poll, OpenSSL.
 *
 *     c_client HOST PORT CA N CONCURRENCY RESUME
 *
 * Makes N connections, CONCURRENCY at a time, each sends "D 1", reads a byte and closes in order. Prints one line of JSON
 * with the time and the CPU time of these; max(N / 4, CONCURRENCY) connections come before them. With RESUME 1 all
 * resume the session of one that was made first.
 */
#include "c_tls.h"

enum phase { SHAKING, ASKING, TAKING, CLOSING, CLOSED, DONE };

struct peer {
    SSL *ssl;
    enum phase phase;
};

static const char *host;
static int port, todo, resumed;
static SSL_CTX *ctx;
static SSL_SESSION *session, *kept;

static void open_peer(struct peer *p, struct pollfd *slot)
{
    if (!todo) {
        p->phase = DONE;
        slot->fd = -1;
        return;
    }
    todo--;
    slot->fd = dial(host, port);
    slot->events = POLLOUT;
    p->phase = SHAKING;
    if (!(p->ssl = SSL_new(ctx)) || SSL_set_fd(p->ssl, slot->fd) != 1 || SSL_set1_host(p->ssl, "localhost") != 1)
        fail("SSL_new");
    SSL_set_tlsext_host_name(p->ssl, "localhost");
    if (session)
        SSL_set_session(p->ssl, session);
    SSL_set_connect_state(p->ssl);
}

static int step(struct peer *p, int fd)
{
    char data[256];
    int result;
    switch (p->phase) {
    case SHAKING:
        if ((result = SSL_do_handshake(p->ssl)) == 1) {
            resumed += SSL_session_reused(p->ssl);
            p->phase = ASKING;
        }
        return result;
    case ASKING:
        if ((result = SSL_write(p->ssl, "D 1\n", 4)) > 0)
            p->phase = TAKING;
        return result;
    case TAKING:
        if ((result = SSL_read(p->ssl, data, sizeof data)) > 0) {
            if (!kept)
                kept = SSL_get1_session(p->ssl);
            SSL_shutdown(p->ssl);
            p->phase = CLOSING;
        }
        return result;
    case CLOSING:
        result = SSL_read(p->ssl, data, sizeof data);
        if (result <= 0 && SSL_get_error(p->ssl, result) == SSL_ERROR_ZERO_RETURN) {
            p->phase = CLOSED;
            return 1;
        }
        return result;
    default:
        return (int)recv(fd, data, sizeof data, 0);
    }
}

static void advance(struct peer *p, struct pollfd *slot)
{
    while (p->phase != DONE) {
        ERR_clear_error();
        errno = 0;
        int result = step(p, slot->fd);
        if (result > 0)
            continue;
        if (p->phase == CLOSED && result == 0) {
            SSL_free(p->ssl);
            close(slot->fd);
            open_peer(p, slot);
            continue;
        }
        slot->events = p->phase == CLOSED ? (errno == EAGAIN ? POLLIN : 0) : awaited(p->ssl, result);
        if (!slot->events)
            fail(p->phase == SHAKING ? "handshake" : "the server has closed");
        return;
    }
}

static void many(int count, int concurrency)
{
    struct peer *peers = calloc((size_t)concurrency, sizeof *peers);
    struct pollfd *slots = calloc((size_t)concurrency, sizeof *slots);
    int open = 0;
    todo = count;
    for (int i = 0; i < concurrency; i++)
        open_peer(&peers[i], &slots[i]);
    do {
        poll(slots, (nfds_t)concurrency, -1);
        open = 0;
        for (int i = 0; i < concurrency; i++) {
            if (slots[i].fd >= 0 && slots[i].revents)
                advance(&peers[i], &slots[i]);
            open += peers[i].phase != DONE;
        }
    } while (open);
    free(peers);
    free(slots);
}

int main(int argc, char **argv)
{
    if (argc != 7)
        return fprintf(stderr, "c_client HOST PORT CA N CONCURRENCY RESUME\n"), 2;
    host = argv[1], port = atoi(argv[2]);
    int count = atoi(argv[4]), concurrency = atoi(argv[5]), resume = atoi(argv[6]);
    int warmup = count / 4 > concurrency ? count / 4 : concurrency;
    signal(SIGPIPE, SIG_IGN);
    if (!(ctx = SSL_CTX_new(TLS_client_method())) || !SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION)
        || !SSL_CTX_set1_groups_list(ctx, "X25519") || SSL_CTX_load_verify_locations(ctx, argv[3], NULL) != 1)
        fail("context");
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    if (resume) {
        many(1, 1);
        session = kept;
    }
    many(warmup, concurrency);
    resumed = 0;
    double elapsed = now(), cpu = cpu_time();
    many(count, concurrency);
    elapsed = now() - elapsed, cpu = cpu_time() - cpu;
    printf("{\"n\": %d, \"warmup\": %d, \"resumed\": %d, \"elapsed\": %.6f, \"cpu\": %.6f, \"version\": \"%s\"}\n", count,
           warmup + (resume ? 1 : 0), resumed, elapsed, cpu, OpenSSL_version(OPENSSL_VERSION));
    return 0;
}
