/* Preloaded into a run: refuses and notes every connection that would leave this machine. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

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

static void note(const struct sockaddr *address) {
    char text[INET6_ADDRSTRLEN] = "?";
    const void *raw = address->sa_family == AF_INET
                          ? (const void *)&((const struct sockaddr_in *)address)->sin_addr
                          : (const void *)&((const struct sockaddr_in6 *)address)->sin6_addr;
    FILE *log = fopen(getenv("CONNECT_LOG"), "a");
    inet_ntop(address->sa_family, raw, text, sizeof text);
    fprintf(log, "%s\n", text);
    fclose(log);
}

int connect(int socket, const struct sockaddr *address, socklen_t length) {
    int (*real)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "connect");
    if (is_outside(address)) {
        note(address);
        errno = ENETUNREACH;
        return -1;
    }
    return real(socket, address, length);
}
