/* The load of the benchmark: one process, poll, OpenSSL.
 *
 *     c_load MODE PORT CONNECTIONS WARMUP SECONDS VERSION
 *
 * MODE is handshake, resume, download, upload, message or idle; VERSION is 1.2 or 1.3. After WARMUP seconds it prints a
 * line {"event": "begin"}, SECONDS later {"event": "end", "units": ..., "cpu": ...}, and then waits for a line or the end
 * of its input before it goes away, so that whoever measures can look at the server in peace. In idle mode it also waits
 * after "begin", and CONNECTIONS are made as fast as they can be.
 *
 * A client does more public-key work for a handshake than a server, and both get one core here. So that the load is not
 * the limit, it leaves out work of its own that the server cannot notice: it takes the server's signature as good, and it
 * makes one ephemeral key and uses it in every handshake. Every byte that the server gets and all work that it does stay
 * the same. These two functions replace those of libcrypto.
 */
#include "c_tls.h"

int EVP_DigestVerify(EVP_MD_CTX *ctx, const unsigned char *sig, size_t siglen, const unsigned char *tbs, size_t tbslen)
{
    (void)ctx, (void)sig, (void)siglen, (void)tbs, (void)tbslen;
    return 1;
}

int EVP_PKEY_keygen(EVP_PKEY_CTX *key_ctx, EVP_PKEY **key)
{
    static EVP_PKEY *kept;
    if (!EVP_PKEY_CTX_is_a(key_ctx, "X25519"))
        return EVP_PKEY_generate(key_ctx, key);
    if (!kept && EVP_PKEY_generate(key_ctx, &kept) != 1)
        return -1;
    EVP_PKEY_up_ref(kept);
    *key = kept;
    return 1;
}

enum { BUFFER = 256 * 1024, WRITE = 16 * 1024, MESSAGE = 64, FIRST = 16 };
static const long long DOWNLOAD = 256LL << 20, UPLOAD = 64LL << 20;

enum phase { SHAKING, ASKING, GIVING, TAKING, CLOSING, CLOSED };

struct peer {
    SSL *ssl;
    enum phase phase;
    long long left;
    char line[32];
    int line_length;
};

static const char *mode;
static int port, resumed_wanted;
static SSL_CTX *ctx;
static SSL_SESSION *session;
static long long units;
static char buffer[BUFFER];

static int is(const char *name)
{
    return !strcmp(mode, name);
}

static void open_peer(struct peer *p, struct pollfd *slot)
{
    slot->fd = dial("127.0.0.1", port);
    slot->events = POLLOUT;
    memset(p, 0, sizeof *p);
    if (!(p->ssl = SSL_new(ctx)) || SSL_set_fd(p->ssl, slot->fd) != 1)
        fail("SSL_new");
    SSL_set_tlsext_host_name(p->ssl, "localhost");
    if (session)
        SSL_set_session(p->ssl, session);
    SSL_set_connect_state(p->ssl);
}

/* The server has closed: a reset takes its side out of TIME_WAIT, so that the ports do not run out. */
static void close_peer(struct peer *p, struct pollfd *slot)
{
    struct linger hard = {.l_onoff = 1};
    setsockopt(slot->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    SSL_free(p->ssl);
    close(slot->fd);
}

static void ask(struct peer *p)
{
    p->phase = ASKING;
    p->left = is("download") ? DOWNLOAD : UPLOAD;
    if (is("message"))
        p->line_length = snprintf(p->line, sizeof p->line, "E\n");
    else
        p->line_length = snprintf(p->line, sizeof p->line, "%c %lld\n", is("download") ? 'D' : 'U', p->left);
}

static void shaken(struct peer *p)
{
    if (SSL_session_reused(p->ssl) != resumed_wanted)
        fail(resumed_wanted ? "a connection was not resumed" : "a connection was resumed");
    if (is("handshake") || is("resume")) {
        SSL_shutdown(p->ssl);
        p->phase = CLOSING;
    } else {
        ask(p);
    }
}

/* One step of a peer; what OpenSSL returned for it. */
static int step(struct peer *p, int fd)
{
    int result;
    switch (p->phase) {
    case SHAKING:
        if ((result = SSL_do_handshake(p->ssl)) == 1)
            shaken(p);
        return result;
    case ASKING:
        if ((result = SSL_write(p->ssl, p->line, p->line_length)) > 0) {
            p->phase = is("download") ? TAKING : GIVING;
            p->left = is("message") ? MESSAGE : p->left;
        }
        return result;
    case GIVING:
        result = SSL_write(p->ssl, buffer, p->left < WRITE ? (int)p->left : WRITE);
        if (result > 0) {
            p->left -= result;
            units += is("upload") ? result : 0;
        }
        if (result > 0 && !p->left) {
            p->phase = TAKING;
            p->left = is("message") ? MESSAGE : 1;
        }
        return result;
    case TAKING:
        if ((result = SSL_read(p->ssl, buffer, sizeof buffer)) <= 0)
            return result;
        if (is("upload")) {
            if (buffer[result - 1] == '\n')
                ask(p);
            return result;
        }
        p->left -= result;
        units += is("download") ? result : 0;
        if (!p->left && is("message")) {
            units++;
            p->phase = GIVING;
            p->left = MESSAGE;
        } else if (!p->left) {
            ask(p);
        }
        return result;
    case CLOSING:
        result = SSL_read(p->ssl, buffer, sizeof buffer);
        if (result <= 0 && SSL_get_error(p->ssl, result) == SSL_ERROR_ZERO_RETURN) {
            p->phase = CLOSED;
            return 1;
        }
        return result;
    default:
        return (int)recv(fd, buffer, sizeof buffer, 0);
    }
}

static void advance(struct peer *p, struct pollfd *slot)
{
    /* Bulk goes on for a while and messages for one round, so that no peer starves the others. */
    for (int turns = 0; turns < 64; turns++) {
        ERR_clear_error();
        errno = 0;
        int result = step(p, slot->fd);
        if (result > 0)
            continue;
        if (p->phase == CLOSED) {
            if (result < 0 && (errno == EAGAIN || errno == EINTR)) {
                slot->events = POLLIN;
                return;
            }
            units++;
            close_peer(p, slot);
            open_peer(p, slot);
            continue;
        }
        if (!(slot->events = awaited(p->ssl, result)))
            fail(p->phase == SHAKING ? "handshake" : "the server has closed");
        return;
    }
    slot->events = POLLIN | POLLOUT;
}

/* A whole conversation that asks for one byte, so that tickets have arrived; blocks in poll. */
static void visit(struct peer *p, struct pollfd *slot)
{
    int result;
    open_peer(p, slot);
    while ((result = SSL_do_handshake(p->ssl)) != 1) {
        if (!(slot->events = awaited(p->ssl, result)))
            fail("handshake");
        poll(slot, 1, -1);
    }
    if (SSL_write(p->ssl, "D 1\n", 4) != 4)
        fail("write");
    while ((result = SSL_read(p->ssl, buffer, sizeof buffer)) != 1) {
        if (!(slot->events = awaited(p->ssl, result)))
            fail("read");
        poll(slot, 1, -1);
    }
}

static void tell(const char *event, double elapsed, double cpu)
{
    printf("{\"event\": \"%s\", \"units\": %lld, \"elapsed\": %.6f, \"cpu\": %.6f}\n", event, units, elapsed, cpu);
    fflush(stdout);
}

static void wait_for_reader(void)
{
    char line[8];
    if (!fgets(line, sizeof line, stdin))
        return;
}

static void keep_idle(int connections)
{
    struct peer p;
    struct pollfd slot;
    double begin = now(), cpu = cpu_time();
    for (int i = 0; i < FIRST; i++)
        visit(&p, &slot);
    usleep(200000);
    tell("begin", 0, 0);
    wait_for_reader();
    for (int i = 0; i < connections; i++, units++)
        visit(&p, &slot);
    usleep(300000);
    tell("end", now() - begin, cpu_time() - cpu);
}

static void work(int connections, double warmup, double seconds)
{
    struct peer *peers = calloc((size_t)connections, sizeof *peers);
    struct pollfd *slots = calloc((size_t)connections, sizeof *slots);
    double begin = now() + warmup, cpu = 0, time;
    int begun = 0;
    for (int i = 0; i < connections; i++)
        open_peer(&peers[i], &slots[i]);
    while ((time = now()) < begin + seconds) {
        if (!begun && time >= begin) {
            begun = 1, begin = time, units = 0, cpu = cpu_time();
            tell("begin", 0, 0);
        }
        double left = (begun ? begin + seconds : begin) - time;
        poll(slots, (nfds_t)connections, 1 + (int)(left * 1000));
        for (int i = 0; i < connections; i++)
            if (slots[i].revents)
                advance(&peers[i], &slots[i]);
    }
    tell("end", time - begin, cpu_time() - cpu);
}

int main(int argc, char **argv)
{
    if (argc != 7)
        return fprintf(stderr, "c_load MODE PORT CONNECTIONS WARMUP SECONDS VERSION\n"), 2;
    mode = argv[1], port = atoi(argv[2]);
    int connections = atoi(argv[3]), version = strcmp(argv[6], "1.2") ? TLS1_3_VERSION : TLS1_2_VERSION;
    signal(SIGPIPE, SIG_IGN);
    if (!(ctx = SSL_CTX_new(TLS_client_method())) || !SSL_CTX_set_min_proto_version(ctx, version)
        || !SSL_CTX_set_max_proto_version(ctx, version) || !SSL_CTX_set1_groups_list(ctx, "X25519:P-256")
        || !SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256")
        || !SSL_CTX_set_cipher_list(ctx, "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"))
        fail("context");
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_options(ctx, SSL_OP_IGNORE_UNEXPECTED_EOF);
    if (is("download")) {
        SSL_CTX_set_read_ahead(ctx, 1);
        SSL_CTX_set_default_read_buffer_len(ctx, BUFFER);
    }
    if (is("resume")) {
        struct peer first;
        struct pollfd slot;
        visit(&first, &slot);
        if (!SSL_SESSION_is_resumable(SSL_get0_session(first.ssl)))
            fail("the server gave no session");
        session = SSL_get1_session(first.ssl);
        resumed_wanted = 1;
    }
    if (is("idle"))
        keep_idle(connections);
    else
        work(connections, atof(argv[4]), atof(argv[5]));
    wait_for_reader();
    return 0;
}
