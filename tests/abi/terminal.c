/* SPDX-License-Identifier: MIT
 *
 * Problem: shells and editors need line editing, modes and job control as on any Unix.
 *
 * Idea: ptys stand for terminals: what is typed goes into the master, what is read comes from the slave, in a session
 * of its own where the rules of sessions are the matter.
 *
 * Contract: prints ok or not ok for each case, with the same result on Linux, which is the oracle.
 *
 * Locks: none.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include "abi.h"

static int master, slave;

static void open_pair(void)
{
	int n, unlock = 0;
	char name[32];

	master = open("/dev/ptmx", O_RDWR | O_NOCTTY);
	want(master >= 0);
	want_eq(ioctl(master, TIOCGPTN, &n), 0);
	snprintf(name, sizeof(name), "/dev/pts/%d", n);
	want_errno(open(name, O_RDWR | O_NOCTTY), EIO); /* locked */
	want_eq(ioctl(master, TIOCSPTLCK, &unlock), 0);
	slave = open(name, O_RDWR | O_NOCTTY);
	want(slave >= 0);
	want_eq(isatty(slave), 1);
}

static void close_pair(void)
{
	close(slave);
	close(master);
}

static void typed(const char *s)
{
	want_eq(write(master, s, strlen(s)), (long)strlen(s));
}

static void expect(int fd, const char *s)
{
	char buf[256];
	long n, at = 0;

	while (at < (long)strlen(s)) {
		n = read(fd, buf + at, sizeof(buf) - at);
		want(n > 0);
		at += n;
	}
	want_eq(at, (long)strlen(s));
	want(!memcmp(buf, s, at));
}

CASE(lines)
{
	char buf[16];

	open_pair();
	typed("ab\177c\r");
	expect(master, "ab\b \bc\r\n");
	expect(slave, "ac\n");
	want_eq(write(slave, "x\n", 2), 2);
	expect(master, "x\r\n");
	typed("\004");
	want_eq(read(slave, buf, 16), 0);
	typed("long line\n");
	want_eq(read(slave, buf, 4), 4);
	expect(slave, " line\n");
	close_pair();
}

/* More than any buffer, typed faster than it is read: nothing is lost. */
CASE(pasted)
{
	char line[64], got[64];
	FILE *in;

	open_pair();
	if (!fork()) {
		for (int i = 0; i < 700; i++) {
			snprintf(line, sizeof(line), "%058d\n", i);
			typed(line);
		}
		_exit(0);
	}
	in = fdopen(dup(slave), "r");
	for (int i = 0; i < 700; i++) {
		snprintf(line, sizeof(line), "%058d\n", i);
		want(fgets(got, sizeof(got), in) && !strcmp(got, line));
		while (poll(&(struct pollfd){ .fd = master, .events = POLLIN }, 1, 0) == 1)
			want(read(master, got, sizeof(got)) > 0); /* the echo */
	}
	fclose(in);
	want(wait(NULL) > 0);
	close_pair();
}

CASE(modes)
{
	struct pollfd p;
	struct termios t;
	char buf[8];
	int n;

	open_pair();
	want_eq(tcgetattr(slave, &t), 0);
	want(t.c_lflag & ICANON && t.c_lflag & ECHO && t.c_cc[VEOF] == 4 && t.c_cc[VMIN] == 1);
	cfmakeraw(&t);
	t.c_cc[VMIN] = 0;
	t.c_cc[VTIME] = 0;
	want_eq(tcsetattr(slave, TCSANOW, &t), 0);
	want_eq(read(slave, buf, 8), 0);
	typed("\003\r");
	expect(slave, "\003\r");
	t.c_cc[VMIN] = 3;
	want_eq(tcsetattr(slave, TCSANOW, &t), 0);
	typed("abc");
	p = (struct pollfd){ slave, POLLIN, 0 };
	want_eq(poll(&p, 1, -1), 1); /* ready when VMIN bytes are there */
	want_eq(p.revents, POLLIN);
	want_eq(ioctl(slave, FIONREAD, &n), 0);
	want_eq(n, 3);
	p.events = POLLOUT;
	want_eq(poll(&p, 1, -1), 1);
	want_eq(tcflush(slave, TCIFLUSH), 0);
	want_eq(ioctl(slave, FIONREAD, &n), 0);
	want_eq(n, 0);
	want_errno(ioctl(slave, 0x5499, 0), ENOTTY);
	close_pair();
}

static volatile int last_signal;

static void note(int sig)
{
	last_signal = sig;
}

/* In a session of its own, with the slave as controlling terminal. */
static void in_session(void (*fn)(void))
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		abi_pid = -1;
		want(setsid() > 0);
		want_eq(ioctl(slave, TIOCSCTTY, 0), 0);
		fn();
		_exit(0);
	}
	want_eq(waitpid(pid, &status, 0), pid);
	want_eq(status, 0);
}

static void keyboard(void)
{
	struct winsize w = { 24, 80, 0, 0 };
	pid_t pgrp;

	signal(SIGINT, note);
	signal(SIGWINCH, note);
	want_eq(ioctl(slave, TIOCGPGRP, &pgrp), 0);
	want_eq(pgrp, getpgrp());
	want_eq(tcgetsid(slave), getpid());
	typed("\003");
	while (last_signal != SIGINT)
		usleep(1000);
	want_eq(ioctl(master, TIOCSWINSZ, &w), 0);
	while (last_signal != SIGWINCH)
		usleep(1000);
	memset(&w, 0, sizeof(w));
	want_eq(ioctl(slave, TIOCGWINSZ, &w), 0);
	want(w.ws_row == 24 && w.ws_col == 80);
	want(open("/dev/tty", O_RDWR) >= 0);
}

/* The kernel's struct termios: four words, the line discipline, 19 characters. */
struct kernel_termios {
	unsigned iflag, oflag, cflag, lflag;
	unsigned char line, cc[19];
};

CASE(locked_modes)
{
	struct kernel_termios k, no = { 0 }, lock = { .iflag = ICRNL, .lflag = ECHO | ISIG, .cc = { [VINTR] = 1 } };
	int status;
	pid_t p;

	open_pair();
	want_eq(ioctl(slave, TIOCGLCKTRMIOS, &k), 0);
	want(!memcmp(&k, &no, sizeof(k)));
	want_eq(ioctl(slave, TIOCSLCKTRMIOS, &lock), 0);
	want_eq(ioctl(master, TIOCGLCKTRMIOS, &k), 0); /* the pair has one state */
	want(!memcmp(&k, &lock, sizeof(k)));
	want_eq(ioctl(slave, TCGETS, &k), 0);
	want(k.lflag & ECHO && k.lflag & ISIG && k.lflag & ICANON && k.iflag & ICRNL);
	k.lflag &= ~(unsigned)(ECHO | ISIG | ICANON);
	k.iflag = IXON;
	k.cc[VINTR] = 'x';
	k.cc[VQUIT] = 'y';
	want_eq(ioctl(slave, TCSETS, &k), 0);
	want_eq(ioctl(slave, TCGETS, &k), 0);
	want(k.lflag & ECHO && k.lflag & ISIG && !(k.lflag & ICANON));
	want_eq(k.iflag, ICRNL | IXON);
	want_eq(k.cc[VINTR], 3);
	want_eq(k.cc[VQUIT], 'y');
	want_errno(ioctl(slave, TIOCSLCKTRMIOS, 1L), EFAULT);
	want_errno(ioctl(slave, TIOCGLCKTRMIOS, 1L), EFAULT);
	p = fork();
	if (!p) {
		if (setuid(1000))
			_exit(2);
		_exit(ioctl(slave, TIOCSLCKTRMIOS, &no) != -1 || errno != EPERM || ioctl(slave, TIOCGLCKTRMIOS, &k));
	}
	want(waitpid(p, &status, 0) == p && !status);
	want_eq(ioctl(slave, TIOCSLCKTRMIOS, &no), 0);
	k.lflag &= ~(unsigned)ECHO;
	want_eq(ioctl(slave, TCSETSW, &k), 0);
	want_eq(ioctl(slave, TCGETS, &k), 0);
	want(!(k.lflag & ECHO));
	close_pair();
}

CASE(session)
{
	open_pair();
	in_session(keyboard);
	close_pair();
}

static void jobs(void)
{
	int status;
	pid_t pid = fork();
	char c;

	if (!pid) {
		setpgid(0, 0);
		_exit(read(slave, &c, 1) == 1 ? 0 : 1); /* in the background: stops */
	}
	setpgid(pid, pid);
	want_eq(waitpid(pid, &status, WUNTRACED), pid);
	want(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTTIN);
	signal(SIGTTOU, SIG_IGN);
	want_eq(tcsetpgrp(slave, pid), 0);
	typed("y\n");
	kill(pid, SIGCONT);
	want_eq(waitpid(pid, &status, 0), pid);
	want_eq(status, 0);
	want_eq(tcsetpgrp(slave, getpgrp()), 0);
	want_errno(tcsetpgrp(slave, 1), EPERM);
}

CASE(job_control)
{
	open_pair();
	in_session(jobs);
	close_pair();
}

CASE(hang_up)
{
	char c;

	open_pair();
	close(slave);
	want_errno(read(master, &c, 1), EIO);
	close(master);
	open_pair();
	close(master);
	want_eq(read(slave, &c, 1), 0);
	want_errno(write(slave, "x", 1), EIO);
	close(slave);
}

int main(void)
{
	RUN(lines);
	RUN(pasted);
	RUN(modes);
	RUN(locked_modes);
	RUN(session);
	RUN(job_control);
	RUN(hang_up);
	return abi_status();
}
