/* Preloaded into a run: refuses and notes every connection, and every look-up of a name, outside this machine. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int is_outside(const struct sockaddr *address) {
    if (address->sa_family == AF_INET)
        return (ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr) >> 24) != 127;
    if (address->sa_family == AF_INET6) {
        const struct in6_addr *a = &((const struct sockaddr_in6 *)address)->sin6_addr;
        int mapped_loopback = IN6_IS_ADDR_V4MAPPED(a) && a->s6_addr[12] == 127;
        return !IN6_IS_ADDR_LOOPBACK(a) && !mapped_loopback;
    }
    return 0; /* a Unix socket */
}

static void note(const char *text) {
    FILE *log = fopen(getenv("CONNECT_LOG"), "a");
    fprintf(log, "%s\n", text);
    fclose(log);
}

static void note_address(const struct sockaddr *address) {
    char text[INET6_ADDRSTRLEN] = "?";
    const void *raw = address->sa_family == AF_INET
                          ? (const void *)&((const struct sockaddr_in *)address)->sin_addr
                          : (const void *)&((const struct sockaddr_in6 *)address)->sin6_addr;
    inet_ntop(address->sa_family, raw, text, sizeof text);
    note(text);
}

static int is_outside_name(const char *name) {
    unsigned char buffer[sizeof(struct in6_addr)];
    char own[256] = "";
    gethostname(own, sizeof own - 1);
    return strcmp(name, "localhost") && strcmp(name, own) && inet_pton(AF_INET, name, buffer) != 1 &&
           inet_pton(AF_INET6, name, buffer) != 1;
}

int connect(int socket, const struct sockaddr *address, socklen_t length) {
    int (*real)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "connect");
    if (is_outside(address)) {
        note_address(address);
        errno = ENETUNREACH;
        return -1;
    }
    return real(socket, address, length);
}

ssize_t sendto(int socket, const void *data, size_t size, int flags, const struct sockaddr *address, socklen_t length) {
    ssize_t (*real)(int, const void *, size_t, int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "sendto");
    if (address && is_outside(address)) {
        note_address(address);
        errno = ENETUNREACH;
        return -1;
    }
    return real(socket, data, size, flags, address, length);
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **result) {
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
        dlsym(RTLD_NEXT, "getaddrinfo");
    if (name && is_outside_name(name)) {
        note(name);
        return EAI_NONAME;
    }
    return real(name, service, hints, result);
}
