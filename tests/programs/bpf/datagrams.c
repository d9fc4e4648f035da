/* SPDX-License-Identifier: MIT
 *
 * datagrams N: a tenant's traffic, of a known amount, for the eBPF programs at its cgroup.
 *
 * Sends N datagrams of UDP over loopback to a socket of its own and then receives what arrived, without waiting for
 * more. A datagram that a program at the cgroup refuses at egress fails with EPERM and is counted as refused; one that
 * is refused at ingress is counted as sent and not received.
 *
 * Prints "sent S refused R received V" and ends with 0; any other error ends it with 1.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

int main(int argc, char **argv)
{
	int in = socket(AF_INET, SOCK_DGRAM, 0), out = socket(AF_INET, SOCK_DGRAM, 0);
	int sent = 0, refused = 0, received = 0;
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(to);
	char text[100];

	if (in < 0 || out < 0) {
		perror("socket");
		return 1;
	}
	if (bind(in, (void *)&to, sizeof(to)) || getsockname(in, (void *)&to, &len)) {
		perror("bind");
		return 1;
	}
	for (int i = argc > 1 ? atoi(argv[1]) : 1; i--;) {
		if (sendto(out, text, sizeof(text), 0, (void *)&to, len) == sizeof(text))
			sent++;
		else if (errno == EPERM)
			refused++;
	}
	while (recv(in, text, sizeof(text), MSG_DONTWAIT) == sizeof(text))
		received++;
	printf("sent %d refused %d received %d\n", sent, refused, received);
	return 0;
}
